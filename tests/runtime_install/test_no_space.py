# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that is too small, or fills up in the middle: told as such, nothing half is left."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from geo_sam2.runtime import environment
from tests.runtime_install import installs


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 2 GB that can be made smaller; skip where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"mounting is not possible: {error}; the file size limit stands for it")
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed: {mounted.stderr}; the file size limit stands for it")
    yield folder
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


def shrink(disk: Path, free_bytes: int) -> None:
    """Leave so much room on a mounted disk and no more."""
    size = shutil.disk_usage(disk).used + free_bytes
    subprocess.run(["/bin/mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_disk_that_is_too_small_is_refused_before_anything_is_fetched(small_disk, tmp_path):
    shrink(small_disk, 300_000_000)
    home = small_disk / "home"
    done = installs.run(
        home, "install", "--variant", "cpu", variables=installs.without_sources(tmp_path / "cache")
    )
    assert done.returncode == 1
    assert "1.4 GB are needed, and 0.3 GB are free" in done.stderr
    assert not (home / "env").exists()
    assert not (home / "uv").exists()


@pytest.mark.parametrize(("moment", "subject"), [("[ 10%]", "The packages"), ("[ 25%]", "PyTorch")])
def test_disk_that_fills_up_is_told_with_the_package_and_is_left_clean(
    small_disk, variables, moment, subject
):
    home = small_disk / "home"
    with installs.running_until(
        home, "install", "--variant", "cpu", words=moment, variables=variables
    ) as process:
        shrink(small_disk, 50_000_000)
        rest = process.stdout.read()
        assert process.wait(120) == 1
    assert f"{subject} (" in rest
    assert "could not be installed: there is no space left on the disk." in rest
    assert environment.find(home) is None
    assert installs.folders_of(home) == set()


def test_file_size_limit_is_told_as_no_space_and_is_left_clean(home, variables):
    """A library of torch is larger than the limit: uv is ended by SIGXFSZ, without a word."""
    limited = installs.run(
        home,
        "install",
        "--variant",
        "cpu",
        # Linked from the cache, files would not be written.
        variables={**variables, "UV_LINK_MODE": "copy"},
        file_size_limit=150_000,
    )
    assert limited.returncode == 1
    words = r"^PyTorch( \(torch\))? could not be installed: there is no space left on the disk\.$"
    assert re.search(words, limited.stderr, re.MULTILINE), limited.stderr
    assert environment.find(home) is None
    assert installs.folders_of(home) == set()

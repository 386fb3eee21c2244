# SPDX-License-Identifier: GPL-3.0-or-later
"""Offline kits: written with a network, installed without any."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from geo_sam2.runtime import environment, kit
from tests.runtime_install import installs


@pytest.fixture(scope="module")
def written_kit(big_folder: Path, variables: dict[str, str]) -> Iterator[Path]:
    """Write a kit once."""
    folder = big_folder / "my kit"
    done = installs.run(big_folder / "kit home", "kit", "--variant", "cpu", str(folder), variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_kit_holds_wheels_only_and_a_digest_of_each_file(written_kit):
    read = kit.read(written_kit)
    names = {path.relative_to(written_kit).as_posix() for path in written_kit.rglob("*") if path.is_file()}
    assert names == {*read.files, kit.MANIFEST_NAME}
    wheels = [name for name in names if name.startswith("wheels/")]
    assert all(name.endswith(".whl") for name in wheels)
    for package in ("sam2", "iopath", "antlr4_python3_runtime", "torch"):
        assert sum(name.startswith(f"wheels/{package}-") for name in wheels) == 1
    assert not [name for name in wheels if "torchvision" in name or name.startswith("wheels/pip-")]
    assert not written_kit.with_name("my kit.part").exists()
    assert installs.folders_of(written_kit.parent / "kit home") == set()


def test_kit_installs_with_no_network_at_all(written_kit, home, tmp_path):
    done = installs.run(
        home,
        "install",
        "--kit",
        str(written_kit),
        variables=installs.without_sources(tmp_path / "cache"),
        prefix=installs.network_namespace(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert installs.status(home)["state"] == "ready"
    assert environment.require(home).record["from_kit"] is True


def test_without_kit_and_network_the_first_thing_that_is_missing_is_named(home, tmp_path):
    done = installs.run(
        home,
        "install",
        "--variant",
        "cpu",
        variables=installs.without_sources(tmp_path / "cache"),
        prefix=installs.network_namespace(),
    )
    assert done.returncode == 1
    assert "uv, which does the installing, could not be fetched: pypi.org cannot be reached" in done.stderr
    assert "use an offline kit" in done.stderr
    assert environment.find(home) is None


def test_damaged_kit_is_refused_by_the_name_of_the_file(written_kit, home, variables):
    wheel = next((written_kit / "wheels").glob("numpy-*.whl"))
    content = wheel.read_bytes()
    try:
        wheel.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
        done = installs.run(home, "install", "--kit", str(written_kit), variables=variables)
    finally:
        wheel.write_bytes(content)
    assert done.returncode == 1
    assert f"The kit is damaged: wheels/{wheel.name} is not the file that was put in." in done.stderr
    assert installs.folders_of(home) == set()

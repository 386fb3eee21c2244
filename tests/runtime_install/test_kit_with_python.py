# SPDX-License-Identifier: GPL-3.0-or-later
"""A kit that brings its own Python, for machines that have none that serves.

The real archives are on a host that tests need not reach; one with the same layout is made
from the distribution's Python and given to uv as its only download.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from geo_sam2.runtime import environment, kit
from geo_sam2.runtime.download import sha256_of
from tests.runtime_install import installs

DRIVER = Path(__file__).with_name("kit_with_python.py")
RELEASE = "20261110"
# The address that uv replaces by the mirror's.
BASE = "https://github.com/astral-sh/python-build-standalone/releases/download"


def make_archive(mirror: Path) -> tuple[Path, str]:
    """Pack the distribution's Python as python-build-standalone would; return archive and version."""
    facts = subprocess.run(
        [
            "/usr/bin/python3",
            "-I",
            "-c",
            "import platform, sys; print(platform.python_version(), sys.executable)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    version, minor = facts[0], ".".join(facts[0].split(".")[:2])
    name = f"cpython-{version}+{RELEASE}-{platform.machine()}-unknown-linux-gnu-install_only_stripped.tar.gz"
    stage = mirror / "stage" / "python"
    (stage / "bin").mkdir(parents=True)
    program = stage / "bin" / f"python{minor}"
    shutil.copy(Path("/usr/bin/python3").resolve(), program)
    (stage / "bin" / "python3").symlink_to(program.name)
    shutil.copytree(
        f"/usr/lib/python{minor}",
        stage / "lib" / f"python{minor}",
        ignore=shutil.ignore_patterns("__pycache__", "test", "dist-packages", "config-*"),
    )
    archive = mirror / RELEASE / name
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        packed.add(stage, "python")
    shutil.rmtree(mirror / "stage")
    return archive, version


def list_of_downloads(archive: Path, version: str) -> dict[str, object]:
    """Return the list of downloads, in uv's format, that has this one archive."""
    major, minor, patch = (int(part) for part in version.split("."))
    architecture = platform.machine()
    return {
        f"cpython-{version}-linux-{architecture}-gnu": {
            "name": "cpython",
            "arch": {"family": architecture, "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": major,
            "minor": minor,
            "patch": patch,
            "prerelease": "",
            "url": f"{BASE}/{RELEASE}/{archive.name.replace('+', '%2B')}",
            "sha256": sha256_of(archive),
            "variant": None,
            "build": RELEASE,
        }
    }


@pytest.mark.skipif(
    Path(f"/usr/lib/python{sysconfig.get_python_version()}/os.py").exists() is False,
    reason="the distribution's Python is laid out otherwise",
)
def test_kit_with_its_own_python_installs_where_there_is_none(big_folder, home, variables, tmp_path):
    archive, version = make_archive(tmp_path)
    downloads = tmp_path / "downloads.json"
    downloads.write_text(json.dumps(list_of_downloads(archive, version)))
    written = big_folder / "kit with python"

    def run(
        mirror: str, run_home: Path, prefix: list[str], variables: dict[str, str], *arguments: str
    ) -> None:
        line = [
            *prefix,
            sys.executable,
            str(DRIVER),
            mirror,
            str(downloads),
            version,
            "--home",
            str(run_home),
        ]
        done = subprocess.run(
            [*line, *arguments],
            env=variables,
            capture_output=True,
            text=True,
            timeout=installs.LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run(
            tmp_path.as_uri(), big_folder / "kit home", [], variables, "kit", "--variant", "cpu", str(written)
        )
        read = kit.read(written)
        assert read.has_python
        assert f"python/{RELEASE}/{archive.name}" in read.files
        archive.unlink()  # from here on the kit's own copy is the only one
        nothing = installs.without_sources(tmp_path / "cache")
        run("file:///nowhere", home, installs.network_namespace(), nothing, "install", "--kit", str(written))
    finally:
        shutil.rmtree(written, ignore_errors=True)
    found = environment.require(home)
    base = subprocess.run(
        [str(found.python), "-I", "-c", "import sys; print(sys.base_prefix)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert Path(base).is_relative_to(home / "python")
    assert installs.status(home)["state"] == "ready"

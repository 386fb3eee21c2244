# SPDX-License-Identifier: GPL-3.0-or-later
"""Install from nothing, upgrades that fail or are killed, damage and repair."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from geo_sam2.runtime import disk, environment, pins
from geo_sam2.runtime.torch_variant import TorchVariant
from tests.runtime_install import installs

MOMENTS = ("[ 10%]", "[ 25%]", "[ 80%]", "[ 90%]")


@pytest.fixture(scope="module")
def installed_home(big_folder: Path, variables: dict[str, str]) -> Iterator[Path]:
    """Install once, from nothing; tests of this module leave it working."""
    folder = big_folder / "installed"
    done = installs.run(folder, "install", "--variant", "cpu", variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_install_from_nothing_gives_a_working_environment(installed_home):
    told = installs.status(installed_home)
    assert told["state"] == "ready"
    assert told["torch"] == f"{pins.TORCH.version}+cpu"
    assert told["sam2"] == pins.SAM2.version
    assert [device["id"] for device in told["devices"]] == ["cpu"]
    assert 5e8 < told["size_bytes"] < 1.4e9
    assert told["free_bytes"] > 0
    found = environment.find(installed_home)
    assert found is not None
    assert found.record["tile_seconds"] > 0
    assert installs.folders_of(installed_home) == {found.folder.name}


def test_room_asked_for_beforehand_is_enough_and_not_much_too_much(installed_home):
    used = disk.used_bytes(installed_home)
    assert used < TorchVariant("cpu", "").needed_bytes < 2 * used


def test_set_of_pins_is_closed(installed_home, variables):
    """Only torchvision is missed by uv, which sam2's model code does not import."""
    uv = installed_home / "uv" / pins.UV_VERSION / "uv"
    python = environment.require(installed_home).python
    checked = subprocess.run(
        [str(uv), "pip", "check", "--python", str(python)],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in checked.stderr.splitlines() if "requires" in line]
    assert len(complaints) == 1, checked.stderr
    assert "torchvision" in complaints[0]
    installed = subprocess.run(
        [str(uv), "pip", "freeze", "--python", str(python)],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    pinned = {pin.name.lower() for pin in (*pins.WHEELS, *pins.SDISTS, pins.TORCH)} - {"colorama"}
    assert {line.partition("==")[0].lower() for line in installed} == pinned


def test_failed_upgrade_names_package_and_cause_and_the_old_environment_stays(installed_home, tmp_path):
    before = environment.require(installed_home)
    done = installs.run(
        installed_home, "install", "--variant", "cpu", variables=installs.without_sources(tmp_path / "cache")
    )
    assert done.returncode == 1
    assert "could not be installed: pypi.org cannot be reached." in done.stderr
    assert "The packages (" in done.stderr
    assert environment.require(installed_home) == before
    assert installs.folders_of(installed_home) == {before.folder.name}


def test_killed_upgrade_leaves_the_old_environment_working(installed_home, variables):
    before = environment.require(installed_home)
    installs.kill_when(installed_home, "[ 80%]", variables)
    assert environment.require(installed_home) == before
    assert installs.status(installed_home)["state"] == "ready"


def test_cancelled_upgrade_ends_its_children_and_leaves_the_old_environment(installed_home, variables):
    before = environment.require(installed_home)
    with installs.running_until(
        installed_home, "install", "--variant", "cpu", words="[ 25%]", variables=variables
    ) as process:
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 130
    assert "The installation was cancelled." in rest
    assert installs.processes_below(installed_home) == []
    assert environment.require(installed_home) == before
    assert installs.folders_of(installed_home) == {before.folder.name}


def test_damaged_environment_is_told_and_mended_by_another_install(installed_home, variables):
    before = environment.require(installed_home)
    packages = environment.site_packages(before.folder)
    library = next((packages / "torch" / "lib").glob("libtorch_cpu*"))
    library.unlink()
    told = installs.status(installed_home)
    assert told["state"] == "damaged"
    assert library.name in told["problem"]
    shutil.rmtree(packages / "torch")
    assert "lacks torch" in installs.status(installed_home, "--quick")["problem"]
    done = installs.run(installed_home, "install", "--variant", "cpu", variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installs.status(installed_home)["state"] == "ready"
    assert not before.folder.exists()


def test_install_killed_at_any_moment_leaves_none_and_the_next_try_works(home, variables):
    for words in MOMENTS:
        installs.kill_when(home, words, variables)
        assert environment.find(home) is None, words
        assert installs.status(home, "--quick")["state"] == "not installed"
    done = installs.run(home, "install", "--variant", "cpu", variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installs.folders_of(home) == {environment.require(home).folder.name}
    removed = installs.run(home, "remove", variables=variables)
    assert removed.returncode == 0
    assert environment.find(home) is None
    assert {path.name for path in home.iterdir()} == {"install.lock"}

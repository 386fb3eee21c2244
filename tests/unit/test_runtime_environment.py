# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment on disk: found when whole, told when not, switched and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geo_sam2.errors import EnvironmentMissingError, InstallError
from geo_sam2.runtime import disk, environment, file_lock, pins
from geo_sam2.runtime.folders import Folders

ROOT = Path(__file__).resolve().parents[2]


def make_environment(folder: Path, **record: object) -> Path:
    """Lay out what an environment has on disk, a file of each kind."""
    python = environment.python_in(folder)
    python.parent.mkdir(parents=True)
    python.write_text("")
    packages = folder / ("Lib/site-packages" if sys.platform == "win32" else "lib/python3.11/site-packages")
    for name in ("torch", "sam2", "numpy", "safetensors"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text("# code\n")
    listing = packages / "torch-2.13.0+cpu.dist-info" / "RECORD"
    listing.parent.mkdir()
    listing.write_text(
        "torch/__init__.py,sha256=x,7\n"
        '"torch/with, comma.py",sha256=x,3\n'
        "torch/__pycache__/__init__.cpython-311.pyc,,\n"
        "torch-2.13.0+cpu.dist-info/RECORD,,\n"
    )
    (packages / "torch" / "with, comma.py").write_text("abc")
    disk.write_json(folder / environment.RECORD_NAME, {"pins": pins.pins_id(), "variant": "cpu", **record})
    return packages


@pytest.fixture
def places(tmp_path) -> Folders:
    return Folders(tmp_path / "home")


def test_nothing_installed_is_told_with_what_to_do(places):
    assert environment.find(places.home) is None
    with pytest.raises(EnvironmentMissingError, match="is not installed") as caught:
        environment.require(places.home)
    assert "geo_sam2.runtime install" in caught.value.hint
    assert not places.home.exists()


def test_environment_is_found_after_the_switch_and_not_before(places):
    make_environment(places.environments / "a1", fallback_reason="no CUDA")
    assert environment.find(places.home) is None
    switched = environment.switch_to(places, places.environments / "a1")
    found = environment.find(places.home)
    assert found == switched
    assert found.folder == places.environments / "a1"
    assert found.python == environment.python_in(found.folder)
    assert (found.variant, found.fallback_reason, found.is_current) == ("cpu", "no CUDA", True)
    assert environment.require(places.home) == found
    assert environment.problem(places.home) is None


def test_environment_of_other_pins_is_found_but_not_current(places):
    make_environment(places.environments / "a1", pins="00000000")
    environment.switch_to(places, places.environments / "a1")
    assert environment.require(places.home).is_current is False


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder, packages: environment.python_in(folder).unlink(), "its Python interpreter"),
        (lambda folder, packages: disk.remove_tree(packages), "its packages"),
        (lambda folder, packages: disk.remove_tree(packages / "torch"), "torch"),
        (lambda folder, packages: (packages / "sam2" / "__init__.py").unlink(), "sam2"),
        (lambda folder, packages: (folder / environment.RECORD_NAME).unlink(), "the record"),
        (lambda folder, packages: (folder / environment.RECORD_NAME).write_text("{"), "the record"),
        (lambda folder, packages: disk.remove_tree(folder), "its Python interpreter"),
    ],
)
def test_damaged_environment_is_not_found_and_told(places, damage, words):
    folder = places.environments / "a1"
    packages = make_environment(folder)
    environment.switch_to(places, folder)
    damage(folder, packages)
    assert environment.find(places.home) is None
    with pytest.raises(EnvironmentMissingError, match=f"damaged: it lacks .*{words}"):
        environment.require(places.home)


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_interpreter_whose_base_is_gone_is_missing(places):
    folder = places.environments / "a1"
    make_environment(folder)
    environment.switch_to(places, folder)
    python = environment.python_in(folder)
    python.unlink()
    python.symlink_to("/usr/bin/python3.0")
    assert environment.find(places.home) is None


@pytest.mark.parametrize("name", ["../a1", "", ".", "..", "/etc", 7, None, ["a1"]])
def test_pointer_never_leads_elsewhere(places, name):
    make_environment(places.home / "a1")
    make_environment(places.environments / "b2")
    disk.write_json(places.pointer, {"environment": name})
    assert environment.find(places.home) is None


def test_damaged_pointer_is_no_environment(places):
    make_environment(places.environments / "a1")
    places.pointer.write_text('{"environment": "a1"')
    assert environment.find(places.home) is None


def test_files_gone_or_cut_short_are_found_by_the_packages_own_lists(places):
    folder = places.environments / "a1"
    packages = make_environment(folder)
    assert environment.damaged_files(folder) == []
    (packages / "torch" / "with, comma.py").write_text("ab")
    (packages / "torch" / "__init__.py").unlink()
    assert environment.damaged_files(folder) == ["torch/__init__.py", "torch/with, comma.py"]
    assert environment.damaged_files(folder, at_most=1) == ["torch/__init__.py"]


def test_leftovers_go_and_the_environment_in_use_stays(places):
    for name in ("a1", "b2", "c3"):
        make_environment(places.environments / name)
    environment.switch_to(places, places.environments / "b2")
    (places.environments / "stray file").write_text("x")
    elsewhere = make_environment(places.home / "elsewhere")
    (places.environments / "link").symlink_to(elsewhere)
    assert environment.remove_leftovers(places) == []
    assert [path.name for path in places.environments.iterdir()] == ["b2"]
    assert (elsewhere / "torch" / "__init__.py").exists()


def test_new_folders_never_meet(places):
    names = {environment.new_folder(places).name for _ in range(50)}
    assert len(names) == 50
    assert all(len(name) <= 12 for name in names)


def test_remove_keeps_models_and_whatever_is_not_ours(places):
    make_environment(places.environments / "a1")
    environment.switch_to(places, places.environments / "a1")
    for path in (
        places.models / "tiny.pt",
        places.uv / "x" / "uv",
        places.cache / "y",
        places.home / "mine.txt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert environment.remove(places.home) == []
    left = {path.relative_to(places.home).as_posix() for path in places.home.rglob("*") if path.is_file()}
    assert left == {"models/tiny.pt", "mine.txt", "install.lock"}
    assert environment.find(places.home) is None


def test_remove_of_nothing_makes_nothing(places):
    assert environment.remove(places.home) == []
    assert not places.home.exists()


HOLDER = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from geo_sam2.runtime import file_lock
with file_lock.held(pathlib.Path(sys.argv[2]), "Installing"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_install_is_refused_while_the_first_lives_and_its_death_frees_the_lock(places):
    command = [sys.executable, "-c", HOLDER, str(ROOT), str(places.lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(InstallError, match="another install or removal is under way"):
            environment.remove(places.home)
        holder.kill()
        holder.wait()
    environment.remove(places.home)


def test_lock_is_free_again_after_an_error(places):
    with pytest.raises(KeyError), file_lock.held(places.lock, "Installing"):
        raise KeyError
    with file_lock.held(places.lock, "Installing"):
        assert places.lock.read_text().strip() == str(os.getpid())


def test_home_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InstallError, match="cannot be written"),
        file_lock.held(tmp_path / "file" / "install.lock", "Installing"),
    ):
        pass


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    disk.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        disk.write_json(path, {"a": object()})
    assert disk.read_json(path) == {"a": 1}
    path.write_text(json.dumps([1]))
    assert disk.read_json(path) == {}


@pytest.mark.skipif(not hasattr(os, "link"), reason="hard links")
def test_used_room_counts_a_linked_file_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert disk.used_bytes(tmp_path) == 1000


def test_too_little_room_is_refused_with_both_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 300_000_000)
    disk.refuse_small(tmp_path, 300_000_000, "the engine")
    with pytest.raises(InstallError, match=r"1\.4 GB are needed, and 0\.3 GB are free"):
        disk.refuse_small(tmp_path, 1_400_000_000, "the engine")


def test_free_room_of_a_folder_that_is_not_there_is_that_of_its_parent(tmp_path):
    assert disk.free_bytes(tmp_path / "a" / "b") > 0


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("win32", "env/Scripts/python.exe"), ("linux", "env/bin/python"), ("darwin", "env/bin/python")],
)
def test_interpreter_is_where_the_system_has_it(platform, expected):
    assert environment.python_in(Path("env"), platform).as_posix() == expected

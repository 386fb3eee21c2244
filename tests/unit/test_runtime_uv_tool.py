# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding uv, and fetching it: from the index's page to a program that runs."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from geo_sam2.errors import InstallError
from geo_sam2.runtime import pins, uv_tool
from geo_sam2.runtime.folders import Folders
from geo_sam2.runtime.machine import Machine

LINUX = Machine("linux", "x86_64")
WHEEL = "uv-0.13.9-py3-none-manylinux_2_28_x86_64.whl"
PAGE_URL = "https://mirror.example/simple/uv/"

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for uv")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (
            f'<a href="https://files.example/a/{WHEEL}#sha256=00">x</a>',
            f"https://files.example/a/{WHEEL}",
        ),
        (
            f"<A HREF = '../../a/{WHEEL}?token=1&amp;b=2'>x</A>",
            f"https://mirror.example/a/{WHEEL}?token=1&b=2",
        ),
        (f'<a href="{WHEEL}.metadata">x</a><a href="{WHEEL}">x</a>', f"{PAGE_URL}{WHEEL}"),
        (f'<a href="{WHEEL.replace("_", "%5F")}">x</a>', f"{PAGE_URL}{WHEEL.replace('_', '%5F')}"),
        ('<a href="uv-0.13.8-py3-none-manylinux_2_28_x86_64.whl">x</a>', ""),
        (f"<p>{WHEEL}</p>", ""),
        ("", ""),
    ],
)
def test_link_is_found_however_the_index_writes_it(page, expected):
    assert uv_tool.link_in_page(page, PAGE_URL, WHEEL) == expected


@pytest.mark.parametrize(
    ("version", "accepted"),
    [((0, 13, 0), True), ((0, 13, 99), True), ((0, 12, 9), False), ((0, 14, 0), False), (None, False)],
)
def test_only_a_uv_of_the_same_series_is_accepted(version, accepted):
    assert uv_tool.is_acceptable(version) is accepted


def test_each_machine_has_its_wheel_and_others_are_refused():
    assert "win_arm64" in uv_tool.wheel_for(Machine("windows", "aarch64")).name
    with pytest.raises(InstallError, match="riscv64"):
        uv_tool.wheel_for(Machine("linux", "riscv64"))


def test_program_has_the_name_that_the_system_wants():
    places = Folders(Path("/home/ada"))
    assert uv_tool.program_path(places, Machine("windows", "x86_64")).name == "uv.exe"
    assert uv_tool.program_path(places, LINUX) == Path(f"/home/ada/uv/{pins.UV_VERSION}/uv")


def script(version: str) -> str:
    return f"#!/bin/sh\necho 'uv {version} (fake)'\n"


def write_program(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(version))
    path.chmod(0o755)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index on disk with a wheel of a fake uv, pinned by its true digest."""
    folder = tmp_path / "simple" / "uv"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("uv/__init__.py", "")
        archive.writestr("uv-0.13.9.data/scripts/uv", script("0.13.9"))
        archive.writestr("uv-0.13.9.data/scripts/uvx", "never unpacked")
    (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    digest = hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()
    pinned = pins.PinnedFile(WHEEL, 1, digest)
    monkeypatch.setitem(pins.UV_WHEELS, ("linux", "x86_64"), pinned)
    return (tmp_path / "simple").as_uri()


@posix_only
def test_wheel_is_fetched_checked_and_only_the_program_kept(tmp_path, index):
    places = Folders(tmp_path / "home")
    lines: list[str] = []
    found = uv_tool.find_or_fetch(places, LINUX, search_path="", indexes=[index], on_line=lines.append)
    assert found == places.uv / pins.UV_VERSION / "uv"
    assert uv_tool.version_of(found) == (0, 13, 9)
    assert [path.name for path in found.parent.iterdir()] == ["uv"]
    assert lines == ["Fetching uv 0.13.9 (0 MB)"]
    # The second time nothing is fetched.
    assert uv_tool.find_or_fetch(places, LINUX, search_path="", indexes=[]) == found


@posix_only
def test_altered_wheel_is_refused_and_nothing_is_kept(tmp_path, index):
    wheel = tmp_path / "simple" / "uv" / WHEEL
    wheel.write_bytes(wheel.read_bytes() + b"!")
    places = Folders(tmp_path / "home")
    with pytest.raises(InstallError, match="uv, which does the installing, could not be fetched: .*SHA-256"):
        uv_tool.find_or_fetch(places, LINUX, search_path="", indexes=[index])
    assert not [path for path in tmp_path.joinpath("home").rglob("*") if path.is_file()]


@posix_only
def test_find_links_folder_is_asked_before_the_index(tmp_path, index):
    found = uv_tool.find_or_fetch(
        Folders(tmp_path / "home"),
        LINUX,
        search_path="",
        find_links=["https://elsewhere.example", str(tmp_path / "simple" / "uv")],
        indexes=[],
    )
    assert uv_tool.version_of(found) == (0, 13, 9)
    assert (tmp_path / "simple" / "uv" / WHEEL).exists()


@posix_only
def test_wheel_with_a_wrong_digest_in_a_folder_is_passed_over(tmp_path, index):
    pinned = uv_tool.wheel_for(LINUX)
    assert uv_tool.wheel_in_folders(pinned, [str(tmp_path), index + "/uv"]) is not None
    (tmp_path / "simple" / "uv" / WHEEL).write_bytes(b"other")
    assert uv_tool.wheel_in_folders(pinned, [index + "/uv"]) is None


@posix_only
def test_uv_on_path_is_taken_when_its_series_is_right(tmp_path, index):
    right = write_program(tmp_path / "right" / "uv", "0.13.2")
    write_program(tmp_path / "old" / "uv", "0.9.1")
    options = {"indexes": [index]}
    places = Folders(tmp_path / "home")
    assert uv_tool.find_or_fetch(places, LINUX, search_path=str(right.parent), **options) == right
    found = uv_tool.find_or_fetch(places, LINUX, search_path=str(tmp_path / "old"), **options)
    assert found == uv_tool.program_path(places, LINUX)


@posix_only
def test_uv_asked_for_is_taken_whatever_its_series_or_refused(tmp_path):
    other = write_program(tmp_path / "uv", "0.20.0")
    places = Folders(tmp_path / "home")
    assert uv_tool.find_or_fetch(places, LINUX, asked_for=other) == other
    with pytest.raises(InstallError, match="is not a uv program"):
        uv_tool.find_or_fetch(places, LINUX, asked_for=tmp_path / "nothing")


@posix_only
def test_damaged_own_uv_is_fetched_again(tmp_path, index):
    places = Folders(tmp_path / "home")
    own = write_program(uv_tool.program_path(places, LINUX), "0.13.9")
    own.write_text("")
    assert uv_tool.find_or_fetch(places, LINUX, search_path="", indexes=[index]) == own
    assert uv_tool.version_of(own) == (0, 13, 9)


@posix_only
def test_fetched_uv_that_does_not_start_is_told(tmp_path, index, monkeypatch):
    monkeypatch.setattr(uv_tool, "version_of", lambda program: None)
    with pytest.raises(InstallError, match="does not start"):
        uv_tool.find_or_fetch(Folders(tmp_path / "home"), LINUX, search_path="", indexes=[index])


def test_index_without_the_wheel_or_without_answer_is_told(tmp_path):
    folder = tmp_path / "simple" / "uv"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<a href='other.whl'>x</a>")
    options = {"search_path": "", "indexes": [(tmp_path / "simple").as_uri()]}
    with pytest.raises(InstallError, match="the package index has no|The package index has no"):
        uv_tool.find_or_fetch(Folders(tmp_path / "home"), LINUX, **options)
    with pytest.raises(InstallError, match="could not be fetched"):
        uv_tool.find_or_fetch(Folders(tmp_path / "home"), LINUX, search_path="", indexes=["file:///nowhere"])


def test_archive_without_the_program_is_refused(tmp_path):
    wheel = tmp_path / "uv.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv/uv", "not in its place")
    with pytest.raises(InstallError, match=r"holds no uv\.exe"):
        uv_tool.unpack(wheel, tmp_path / "bin" / "uv.exe")

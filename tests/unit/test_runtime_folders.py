# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the environment and the models live, per system and per wish."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from geo_sam2.runtime.folders import HOME_VARIABLE, Folders, default_home, folders

HOME = Path("/home/ada")


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {}, "/home/ada/.local/share/geo_sam2"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/geo_sam2"),
        ("linux", {"XDG_DATA_HOME": ""}, "/home/ada/.local/share/geo_sam2"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/home/ada/.local/share/geo_sam2"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "/home/ada/Library/Application Support/geo_sam2"),
        ("win32", {"LOCALAPPDATA": "/c/local", "APPDATA": "/c/roaming"}, "/c/local/geo_sam2"),
        ("win32", {"APPDATA": "/c/roaming"}, "/home/ada/AppData/Local/geo_sam2"),
    ],
)
def test_home_follows_the_rules_of_the_system(platform, environ, expected):
    assert PurePosixPath(default_home(environ, platform, HOME).as_posix()) == PurePosixPath(expected)


def test_argument_wins_over_variable_and_variable_over_default(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "by variable"))
    assert folders().home == tmp_path / "by variable"
    assert folders(tmp_path / "by argument").home == tmp_path / "by argument"
    monkeypatch.setenv(HOME_VARIABLE, "")
    assert folders().home.name == "geo_sam2"


def test_home_may_be_given_with_a_tilde_or_relative(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert folders("~/x").home == tmp_path / "x"
    assert folders("x").home == tmp_path / "x"


def test_everything_lies_below_home_and_nothing_is_created(tmp_path):
    places = Folders(tmp_path / "home")
    below = [
        places.pointer,
        places.environments,
        places.pythons,
        places.uv,
        places.cache,
        places.models,
        places.lock,
        places.log,
    ]
    assert all(path.parent == places.home for path in below)
    assert len(set(below)) == len(below)
    assert not places.home.exists()

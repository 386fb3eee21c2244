# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the private environment, the tools that make it and the models live.

One folder in the user's *local* data directory, outside the plugin, so that a plugin
upgrade leaves it alone::

    <home>/environment.json      names the environment in use; switched by one rename
    <home>/env/<id>/             environments: the one in use, and one being made
    <home>/python/               managed CPython (Windows, macOS, old Linux)
    <home>/uv/<version>/         uv, where it was fetched
    <home>/cache/                downloads of an install under way
    <home>/models/               model files
    <home>/install.lock          held while an install, removal or kit is under way
    <home>/install.log           the lines of the last install

Names are short because Windows programs may stop at 260 characters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

HOME_VARIABLE = "GEO_SAM2_HOME"
_NAME = "geo_sam2"

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Folders:
    """The places below one home folder; nothing is created by asking."""

    home: Path

    @property
    def pointer(self) -> Path:
        """The file that names the environment in use."""
        return self.home / "environment.json"

    @property
    def environments(self) -> Path:
        """The folder of environments, finished or being made."""
        return self.home / "env"

    @property
    def pythons(self) -> Path:
        """Where uv unpacks the CPythons that it manages for us."""
        return self.home / "python"

    @property
    def uv(self) -> Path:
        """Where fetched uv programs live, one folder a version."""
        return self.home / "uv"

    @property
    def cache(self) -> Path:
        """Our own uv cache; holds the downloads of an install that failed, for the next one."""
        return self.home / "cache"

    @property
    def models(self) -> Path:
        """Downloaded model files."""
        return self.home / "models"

    @property
    def lock(self) -> Path:
        """The file whose lock tells that an install is under way."""
        return self.home / "install.lock"

    @property
    def log(self) -> Path:
        """The lines of the last install."""
        return self.home / "install.log"


def default_home(environ: Mapping[str, str], platform: str, user_home: Path) -> Path:
    """Return the home folder that a system's own rules give.

    Args:
        environ: The process environment.
        platform: As in ``sys.platform``.
        user_home: The user's home directory.
    """
    if platform == "win32":
        # Never APPDATA: the roaming folder is copied over the network at each logon.
        local = environ.get("LOCALAPPDATA")
        return (Path(local) if local else user_home / "AppData" / "Local") / _NAME
    if platform == "darwin":
        return user_home / "Library" / "Application Support" / _NAME
    data = environ.get("XDG_DATA_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    return (Path(data) if data.startswith("/") else user_home / ".local" / "share") / _NAME


def folders(home: PathLike | None = None) -> Folders:
    """Return the folders below ``home``, else below GEO_SAM2_HOME, else in the user's data directory."""
    chosen = home or os.environ.get(HOME_VARIABLE) or ""
    if chosen:
        return Folders(Path(chosen).expanduser().resolve())
    return Folders(default_home(os.environ, sys.platform, Path.home()))

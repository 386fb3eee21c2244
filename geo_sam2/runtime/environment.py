# SPDX-License-Identifier: GPL-3.0-or-later
"""The private environment on disk: find it, tell whether it is whole, remove it.

Each environment is built in a folder of its own, ``env/<id>``, and stays there: paths are
written into a virtual environment, and on Windows a folder whose DLLs are loaded cannot be
renamed. What switches is the pointer file, by one atomic rename, after the new environment
has proved itself. So whatever is interrupted leaves the old environment or none, and a running
engine keeps its own until it ends. A folder that the pointer does not name is a leftover.
"""

from __future__ import annotations

import csv
import secrets
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geo_sam2.errors import EnvironmentMissingError
from geo_sam2.runtime import file_lock, pins
from geo_sam2.runtime.disk import read_json, remove_tree, write_json
from geo_sam2.runtime.folders import Folders, PathLike, folders

RECORD_NAME = "geo_sam2_environment.json"
RECORD_FORMAT = 1

# Without these no engine starts; looked for on each start, so only a handful.
_ESSENTIAL = ("torch/__init__.py", "sam2/__init__.py", "numpy/__init__.py", "safetensors/__init__.py")

_INSTALL_HINT = "Install it from the settings, or with: python3 -m geo_sam2.runtime install"
_REPAIR_HINT = "Install again: what is damaged is replaced."


@dataclass(frozen=True)
class Environment:
    """One environment: its folder, its interpreter and the record of its install."""

    folder: Path
    python: Path
    record: dict[str, Any]

    @property
    def variant(self) -> str:
        """The torch variant, as uv names it."""
        return str(self.record.get("variant", ""))

    @property
    def fallback_reason(self) -> str:
        """Why the CPU build was taken although another was chosen; empty otherwise."""
        return str(self.record.get("fallback_reason", ""))

    @property
    def is_current(self) -> bool:
        """Whether it is made of the versions that this release pins."""
        return self.record.get("pins") == pins.pins_id()


def python_in(folder: Path, platform: str = sys.platform) -> Path:
    """Return the interpreter of a virtual environment."""
    return folder / "Scripts" / "python.exe" if platform == "win32" else folder / "bin" / "python"


def site_packages(folder: Path, platform: str = sys.platform) -> Path | None:
    """Return where a virtual environment keeps its packages, None when there is no such folder."""
    if platform == "win32":
        found = folder / "Lib" / "site-packages"
        return found if found.is_dir() else None
    return next(iter(sorted((folder / "lib").glob("python3.*/site-packages"))), None)


def new_folder(places: Folders) -> Path:
    """Return the name of an environment to be made; short, unused, in the order of time."""
    return places.environments / f"{int(time.time()):x}{secrets.token_hex(2)}"


def _named_by_pointer(places: Folders) -> Path | None:
    name = read_json(places.pointer).get("environment")
    # The pointer is a file that anyone may edit: a name, never a path that leads elsewhere.
    if not isinstance(name, str) or not name or Path(name).name != name or name in (".", ".."):
        return None
    return places.environments / name


def missing_parts(folder: Path) -> list[str]:
    """Return what an environment lacks to start at all; quick, nothing is run."""
    missing = []
    if not python_in(folder).exists():  # also when a symlink's target has gone
        missing.append("its Python interpreter")
    packages = site_packages(folder)
    if packages is None:
        missing.append("its packages")
    else:
        missing.extend(name.split("/")[0] for name in _ESSENTIAL if not (packages / name).is_file())
    if not read_json(folder / RECORD_NAME):
        missing.append("the record of its install")
    return missing


def damaged_files(folder: Path, at_most: int = 20) -> list[str]:
    """Return files that the packages' own lists (RECORD) name and that are gone or cut short.

    Reads no file's content: a fifth of a second for the 20,000 files of an environment.
    """
    packages = site_packages(folder)
    found: list[str] = []
    for listing in sorted(packages.glob("*.dist-info/RECORD")) if packages else ():
        for name, size in _recorded_files(listing):
            try:
                actual = (packages / name).stat().st_size  # type: ignore[operator]
            except OSError:
                actual = -1
            if actual < 0 or (size >= 0 and actual != size):
                found.append(name)
                if len(found) >= at_most:
                    return found
    return found


def _recorded_files(listing: Path) -> Iterable[tuple[str, int]]:
    """Yield name and size (-1 when not told) from a RECORD; byte code is not looked for."""
    with listing.open(encoding="utf-8", newline="") as stream:
        for row in csv.reader(stream):
            if row and not row[0].endswith(".pyc"):
                yield row[0], int(row[2]) if len(row) > 2 and row[2].isdigit() else -1


def find(home: PathLike | None = None) -> Environment | None:
    """Return the environment in use, None when there is none that could start.

    Quick enough for every engine start; ``require`` says what is wrong instead.
    """
    places = folders(home)
    folder = _named_by_pointer(places)
    if folder is None or missing_parts(folder):
        return None
    return Environment(folder, python_in(folder), read_json(folder / RECORD_NAME))


def problem(home: PathLike | None = None) -> EnvironmentMissingError | None:
    """Return why ``find`` finds nothing, None when it does."""
    places = folders(home)
    folder = _named_by_pointer(places)
    if folder is None:
        return EnvironmentMissingError(f"The engine is not installed in {places.home}.", _INSTALL_HINT)
    missing = missing_parts(folder)
    if missing:
        return EnvironmentMissingError(
            f"The engine's environment is damaged: it lacks {', '.join(missing)}.", _REPAIR_HINT
        )
    return None


def require(home: PathLike | None = None) -> Environment:
    """Return the environment in use; EnvironmentMissingError says what is wrong."""
    found = find(home)
    if found is None:
        raise problem(home) or EnvironmentMissingError("The engine is not installed.", _INSTALL_HINT)
    return found


def switch_to(places: Folders, folder: Path) -> Environment:
    """Make a finished environment the one in use."""
    write_json(places.pointer, {"format": RECORD_FORMAT, "environment": folder.name})
    return Environment(folder, python_in(folder), read_json(folder / RECORD_NAME))


def remove_leftovers(places: Folders) -> list[Path]:
    """Delete every environment folder that is not in use; return those that resist.

    The caller holds the lock. What an engine still runs from resists on Windows, and goes with
    the next install.
    """
    in_use = _named_by_pointer(places)
    if not places.environments.is_dir():
        return []
    leftovers = [path for path in places.environments.iterdir() if path != in_use]
    return [path for path in leftovers if not remove_tree(path)]


def remove(home: PathLike | None = None) -> list[Path]:
    """Remove the environment, the fetched tools and the caches; models stay. Return what resists."""
    places = folders(home)
    if not places.home.is_dir():
        return []
    with file_lock.held(places.lock, "Removing"):
        # The pointer first: from here on there is no environment, also when we are killed.
        places.pointer.unlink(missing_ok=True)
        kept = remove_leftovers(places)
        for folder in (places.environments, places.pythons, places.uv, places.cache):
            if folder.exists() and not remove_tree(folder) and folder not in kept:
                kept.append(folder)
        places.log.unlink(missing_ok=True)
        return kept

# SPDX-License-Identifier: GPL-3.0-or-later
"""An offline kit as its reader sees it: its layout, its manifest, and whether it is whole.

::

    <kit>/manifest.json     format, platform, Python, variant, pins, size and SHA-256 of each file
    <kit>/uv/<wheel>        uv's own wheel
    <kit>/wheels/*.whl      every package, source distributions already built
    <kit>/python/...        the managed CPython's archive, laid out as its mirror, where it is ours
    <kit>/models/*          model files, where they were asked for
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geo_sam2.errors import CancelledError, InstallError
from geo_sam2.runtime import pins
from geo_sam2.runtime.child_process import IsCancelled, never_cancelled
from geo_sam2.runtime.disk import read_json
from geo_sam2.runtime.download import sha256_of
from geo_sam2.runtime.machine import Machine

MANIFEST_NAME = "manifest.json"
FORMAT = 1
UV_FOLDER, WHEELS_FOLDER, PYTHON_FOLDER, MODELS_FOLDER = "uv", "wheels", "python", "models"

_MAKE_ANEW = "Make the kit anew, or copy it again."


@dataclass(frozen=True)
class Kit:
    """A kit whose manifest has been read; its files may still be damaged."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def variant(self) -> str:
        """The torch variant that its wheels are for."""
        return str(self.manifest["variant"])

    @property
    def python_minor(self) -> str:
        """The Python that its wheels are for, such as ``3.11``."""
        return str(self.manifest["python"])

    @property
    def has_python(self) -> bool:
        """Whether it brings a managed CPython."""
        return bool(self.manifest.get("managed_python"))

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Relative posix path to ``{"bytes": ..., "sha256": ...}``."""
        return dict(self.manifest["files"])


def read(folder: Path) -> Kit:
    """Read a kit's manifest; InstallError when there is none that this release understands."""
    manifest = read_json(folder / MANIFEST_NAME)
    if not manifest:
        raise InstallError(f"{folder} is not an offline kit: it has no {MANIFEST_NAME}.", _MAKE_ANEW)
    wanted = {"variant": str, "python": str, "system": str, "architecture": str, "pins": str, "files": dict}
    if manifest.get("format") != FORMAT or any(
        not isinstance(manifest.get(key), kind) for key, kind in wanted.items()
    ):
        raise InstallError(f"The manifest of {folder} is damaged or of another release.", _MAKE_ANEW)
    return Kit(folder, manifest)


def refuse_unfit(kit: Kit, machine: Machine) -> None:
    """Raise InstallError when a kit is for another machine or another release of Geo-SAM2."""
    made_for = (kit.manifest["system"], kit.manifest["architecture"])
    if made_for != (machine.system, machine.architecture):
        raise InstallError(
            f"The kit is for {made_for[0]} on {made_for[1]}, and this is {machine.system} on "
            f"{machine.architecture}.",
            "Make the kit on a machine like this one.",
        )
    if kit.manifest["pins"] != pins.pins_id():
        raise InstallError(
            "The kit was made by another release of Geo-SAM2 and holds other versions.",
            "Make the kit with the release that is installed here.",
        )


def verify(kit: Kit, is_cancelled: IsCancelled = never_cancelled) -> None:
    """Check each file's size and SHA-256; InstallError names the first that is wrong."""
    for name, facts in sorted(kit.files.items()):
        if is_cancelled():
            raise CancelledError("The installation was cancelled.")
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
            raise InstallError(f"The manifest of the kit names a file outside of it ({name}).", _MAKE_ANEW)
        path = kit.folder / place
        if not path.is_file():
            raise InstallError(f"The kit is damaged: {name} is missing.", _MAKE_ANEW)
        if path.stat().st_size != facts.get("bytes") or sha256_of(path) != facts.get("sha256"):
            raise InstallError(f"The kit is damaged: {name} is not the file that was put in.", _MAKE_ANEW)


def open_whole(folder: Path, machine: Machine, is_cancelled: IsCancelled = never_cancelled) -> Kit:
    """Read a kit, refuse one that does not fit the machine, check every file."""
    kit = read(folder)
    refuse_unfit(kit, machine)
    verify(kit, is_cancelled)
    return kit

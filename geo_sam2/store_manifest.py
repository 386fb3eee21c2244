# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a feature store, and which names in its folder are ours.

``manifest.json`` is written first, atomically, and read without trust. Names that lead out
of the folder, by their text or by links, are refused here for every other module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geo_sam2.atomic_file import write_atomically
from geo_sam2.errors import StoreError
from geo_sam2.json_record import JsonRecord
from geo_sam2.model_info import ModelInfo
from geo_sam2.source_info import SourceInfo

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
DECODER_NAME = "decoder.safetensors"
INDEX_NAME = "tiles.gpkg"
LOCK_NAME = "writer.lock"
TILES_NAME = "tiles"
TILE_DTYPE = "float16"

# A CRS takes a few kB; what is larger is no manifest and would only fill the memory.
_MAX_MANIFEST_BYTES = 4_000_000
_UUID = re.compile(r"[0-9a-f]{32}")
_TILE_FILE = re.compile(r"tiles/(\d{1,2})/x(\d{8,10})_y(\d{8,10})\.(\d{1,6})\.safetensors")
_RESTORE = "Restore it from a copy, or encode again."


@dataclass(frozen=True)
class TileFileName:
    """What the name of a tile file says: the place of its window and how often that was encoded."""

    level: int
    xoff: int
    yoff: int
    generation: int

    @classmethod
    def parse(cls, name: str) -> TileFileName | None:
        """Read a path relative to the store; None when it is not the name of a tile."""
        match = _TILE_FILE.fullmatch(name)
        return cls(*(int(part) for part in match.groups())) if match else None

    @property
    def place(self) -> tuple[int, int, int]:
        """Level, xoff and yoff; windows of one place share a series of generations."""
        return self.level, self.xoff, self.yoff


@dataclass(frozen=True)
class StoreManifest(JsonRecord):
    """What a store says of itself.

    Attributes:
        format_version: 1.
        uuid: Made once per store, 32 hexadecimal digits; every tile repeats it.
        dtype: Of the features in tile files.
        source: The raster, its grid and how it was read.
        model: Which model made the features and how to decode them.
        software: Versions of what the store was made with, by name; for people and bug reports.
    """

    format_version: int
    uuid: str
    dtype: str
    source: SourceInfo = field(metadata={"record": SourceInfo})
    model: ModelInfo = field(metadata={"record": ModelInfo})
    software: dict[str, str]

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise StoreError(f"format_version is {self.format_version}.")
        if self.dtype != TILE_DTYPE:
            raise StoreError(f"dtype is {self.dtype!r:.20}.")
        if not _UUID.fullmatch(self.uuid):
            raise StoreError(f"uuid is {self.uuid!r:.40}.")


def read_manifest(folder: Path) -> StoreManifest:
    """Read the manifest of the store in a folder.

    Raises:
        StoreError: There is none, it is damaged, or it needs a newer version of the plugin.
    """
    content = _read_json(folder)
    version = content.get("format_version") if isinstance(content, Mapping) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise StoreError(
            f"The store in {folder} has format version {version}; this is known up to {FORMAT_VERSION}.",
            "Update Geo-SAM2.",
        )
    try:
        return StoreManifest.from_json(content, "manifest")
    except StoreError as error:
        raise StoreError(f"{folder / MANIFEST_NAME} is damaged: {error.text}", _RESTORE) from error


def write_manifest(folder: Path, manifest: StoreManifest) -> None:
    """Write the manifest; keys that a newer version put into the old one are kept.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        old = _read_json(folder)
    except StoreError:
        old = {}
    content = _merged(old if isinstance(old, Mapping) else {}, manifest.to_json())
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomically(folder / MANIFEST_NAME, text.encode())


def inside(folder: Path, name: str) -> Path:
    """Return the path of a name in the store, which may not exist yet.

    Raises:
        StoreError: A link on the way leads out of the store.
    """
    path = folder / name
    root = folder.resolve()
    # Resolving follows links, wherever on the way they are, and a missing end is fine.
    if root not in path.resolve().parents:
        raise StoreError(f"{path} leads out of the store.", "The store was changed or damaged.")
    return path


def tile_path(folder: Path, name: str) -> Path:
    """Return the path of a tile file.

    Raises:
        StoreError: The name is not one that this format gives, or leads out of the folder.
    """
    if TileFileName.parse(name) is None:
        raise StoreError(f"“{name}” is not the name of a tile.", "The store was changed or damaged.")
    return inside(folder, name)


def no_store(folder: Path) -> StoreError:
    """Return the error for a folder in which somebody expected a store."""
    return StoreError(
        f"There is no feature store in {folder}.",
        "Choose the folder of one, or make one with the algorithm “Encode raster”.",
    )


def _read_json(folder: Path) -> Any:
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_MANIFEST_BYTES + 1)
        if len(content) > _MAX_MANIFEST_BYTES:
            raise StoreError(f"{path} is damaged: it is too large.", _RESTORE)
        return json.loads(content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_store(folder) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged.", _RESTORE) from error


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new values, and beside them what only the old ones have."""
    result = {**old, **new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            result[key] = _merged(before, value)
    return result

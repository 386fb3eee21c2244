# SPDX-License-Identifier: GPL-3.0-or-later
"""The feature store: a folder that says for itself what it was made from.

Owns the manifest, the names of tiles and the layout of the folder, format version 1::

    manifest.json             what the features are and how to decode them
    decoder.safetensors       prompt encoder, mask decoder and no_mem_embed
    tiles/<level>/x00001024_y00000000.<n>.safetensors

Standard library only; used by both processes. What is in a tile file is the engine's
business (``engine.tile_io``).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geo_sam2.atomic_file import write_atomically
from geo_sam2.errors import StoreError
from geo_sam2.json_record import JsonRecord
from geo_sam2.model_info import ModelInfo
from geo_sam2.tile_window import TileWindow, read_tile_window

# The window is a matter of its own, but whoever works with a store needs it.
__all__ = ["FeatureStore", "StoreManifest", "TileWindow", "read_tile_window"]

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
DECODER_NAME = "decoder.safetensors"
TILE_DTYPE = "float16"
_TILE_FILE = re.compile(r"tiles/(\d{1,2})/x(\d{8,10})_y(\d{8,10})\.(\d{1,6})\.safetensors")


@dataclass(frozen=True)
class StoreManifest(JsonRecord):
    """What a store says of itself.

    Attributes:
        format_version: 1.
        uuid: Made once per store; every tile repeats it.
        dtype: Of the features in tile files.
        model: Which model made them and how to decode them.
    """

    format_version: int
    uuid: str
    dtype: str
    model: ModelInfo = field(metadata={"record": ModelInfo})


class FeatureStore:
    """A store on disk.

    Args:
        folder: The store's folder, absolute.
        manifest: What was read from it.
    """

    def __init__(self, folder: Path, manifest: StoreManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def create(cls, folder: Path, model: ModelInfo) -> FeatureStore:
        """Make a new store; the folder may exist but must hold no store.

        Raises:
            StoreError: There is a store already, or the folder cannot be written.
        """
        if (folder / MANIFEST_NAME).exists():
            raise StoreError(f"There is a feature store in {folder} already.", "Choose another folder.")
        manifest = StoreManifest(FORMAT_VERSION, uuid.uuid4().hex, TILE_DTYPE, model)
        try:
            (folder / "tiles").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made: {error.strerror or error}.") from error
        text = json.dumps(manifest.to_json(), indent=1)
        write_atomically(folder / MANIFEST_NAME, text.encode())
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a store for reading or writing; nothing in it is trusted.

        Raises:
            StoreError: There is none, it is damaged, or it needs a newer version of the plugin.
        """
        path = folder / MANIFEST_NAME
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise StoreError(f"There is no feature store in {folder}.", "Choose another folder.") from error
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
        except ValueError as error:
            raise StoreError(f"{path} is damaged.", "Restore it from a copy, or encode again.") from error
        version = content.get("format_version") if isinstance(content, Mapping) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise StoreError(
                f"The store in {folder} has format version {version}; this is known up to {FORMAT_VERSION}.",
                "Update Geo-SAM2.",
            )
        manifest = StoreManifest.from_json(content, "manifest")
        if manifest.format_version != FORMAT_VERSION or manifest.dtype != TILE_DTYPE:
            raise StoreError(f"{path} is damaged.", "Restore it from a copy, or encode again.")
        return cls(folder, manifest)

    @property
    def decoder_path(self) -> Path:
        """The file with the weights that decoding needs."""
        return self.folder / DECODER_NAME

    def tile_path(self, name: str) -> Path:
        """Return the path of a tile file.

        Raises:
            StoreError: The name is not one that this format gives, so it might leave the folder.
        """
        if not _TILE_FILE.fullmatch(name):
            raise StoreError(f"“{name}” is not the name of a tile.", "The store was changed or damaged.")
        return self.folder / name

# SPDX-License-Identifier: GPL-3.0-or-later
"""The feature store: a folder that says for itself what it was made from and whether it is whole.

The front of what both processes do with a store, format version 1::

    manifest.json             what the features are and how to decode them  (store_manifest)
    tiles.gpkg                which window is in which state and file       (store_index)
    decoder.safetensors       prompt encoder, mask decoder and no_mem_embed (engine.tile_io)
    tiles/<level>/x00001024_y00000000.<n>.safetensors                       (tile_file)
    writer.lock               who writes                                    (store_lock)

Standard library and NumPy only. The engine reads the manifest and tiles, never the index.
"""

from __future__ import annotations

import platform
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import (
    StoreError,
    StoreExistsError,
    StoreMismatchError,
)
from geo_sam2.model_info import ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_aside import recover
from geo_sam2.store_files import write_index
from geo_sam2.store_index import TileIndex, TileRecord, TileState, mark_failed
from geo_sam2.store_lock import WriterLock
from geo_sam2.store_manifest import (
    DECODER_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    TILE_DTYPE,
    TILES_NAME,
    StoreManifest,
    inside,
    no_store,
    read_manifest,
    tile_path,
    write_manifest,
)
from geo_sam2.store_readable_index import ReadableIndex
from geo_sam2.store_sqlite import writing
from geo_sam2.store_writer import StoreWriter
from geo_sam2.tile_window import TileWindow, read_tile_window

# What whoever works with a store needs of its modules.
__all__ = [
    "FeatureStore",
    "StoreManifest",
    "StoreWriter",
    "TileIndex",
    "TileRecord",
    "TileState",
    "TileWindow",
    "read_tile_window",
]

# Marking a tile may happen while a person waits.
_MARK_TIMEOUT_S = 1.0

_OVERWRITE = "Choose another folder, or let it be overwritten."


class FeatureStore:
    """A store on disk.

    Args:
        folder: The store's folder, absolute.
        manifest: What was read from it.

    Attributes:
        tiling: The windows of level 0 over the store's grid.
    """

    def __init__(self, folder: Path, manifest: StoreManifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.tiling = Tiling(manifest.source.grid.width, manifest.source.grid.height)
        self._index: ReadableIndex | None = None

    @classmethod
    def create(
        cls,
        folder: Path,
        model: ModelInfo,
        source: SourceInfo,
        software: Mapping[str, str] | None = None,
    ) -> FeatureStore:
        """Make a new store; the folder may exist but must be empty.

        Args:
            folder: Where, absolute.
            model: Which model will make the features.
            source: What they will be made from.
            software: Versions of what is at work beside Python, NumPy and SQLite, by name.

        Raises:
            StoreExistsError: There is a store already.
            StoreLockedError: Another process is making one just now.
            StoreError: There is something else, or the folder cannot be written.
        """
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "sqlite": sqlite3.sqlite_version,
            **(software or {}),
        }
        _refuse_occupied(folder)
        try:
            (folder / TILES_NAME).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be made: {error.strerror or error}.", "Choose another folder."
            ) from error
        with WriterLock(folder):
            _refuse_occupied(folder)  # another process may have had the same idea
            manifest = StoreManifest(
                FORMAT_VERSION, uuid.uuid4().hex, TILE_DTYPE, source.seen_from(folder), model, versions
            )
            write_manifest(folder, manifest)
            write_index(folder / INDEX_NAME, manifest, [])
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """Open a store for reading or writing; nothing in it is trusted.

        A store that a killed replacement left aside is brought back first.

        Raises:
            StoreError: There is none, it is damaged, or it needs a newer version of the plugin.
        """
        recover(folder)
        return cls(folder, read_manifest(folder))

    # What it is made from

    def check_matches(self, model: ModelInfo, source: SourceInfo) -> None:
        """Refuse a store that was made from something else than what is asked for.

        Where the raster lies, and its file's size and time, make no difference.

        Raises:
            StoreMismatchError: The text names the first difference.
        """
        difference = self.manifest.source.difference_to(source) or _model_difference(
            self.manifest.model, model
        )
        if difference:
            raise StoreMismatchError(
                f"The store in {self.folder} was made from something else: {difference}.", _OVERWRITE
            )

    def locate_source(self) -> str | None:
        """Find the raster that the store was made from; None when it is not there."""
        return self.manifest.source.locate(self.folder)

    def remember_source(self, source: SourceInfo) -> None:
        """Note where the raster lies now, and its size and time, after it was found to match.

        Raises:
            StoreError: The manifest cannot be written.
        """
        seen = source.seen_from(self.folder)
        moved = replace(
            self.manifest.source,
            path_absolute=seen.path_absolute,
            path_relative=seen.path_relative,
            size_bytes=seen.size_bytes,
            modified=seen.modified,
        )
        if moved != self.manifest.source:
            manifest = replace(self.manifest, source=moved)
            write_manifest(self.folder, manifest)
            self.manifest = manifest

    # Tiles

    @property
    def index(self) -> TileIndex:
        """The index, for reading; one that is lost or damaged is rebuilt from the tiles first.

        Raises:
            StoreError: It can neither be read nor rebuilt.
        """
        path = inside(self.folder, INDEX_NAME)
        if self._index is None or not (self._index.is_spare or path.exists()):
            self._index = ReadableIndex(self.folder, self.manifest, path)
        return self._index.index

    @property
    def is_partial(self) -> bool:
        """Whether windows that were asked for are missing, or might be: the index was rebuilt."""
        counts = self.index.counts()
        is_settled = any(counts.values()) and not counts[TileState.PENDING] and not counts[TileState.FAILED]
        return not is_settled or self.index.is_rebuilt

    def tile_at(self, x: float, y: float) -> TileRecord | None:
        """Return the row of the tile under a point of the grid.

        Where windows overlap, one that is done comes first, then the one that ``Tiling`` names.

        Args:
            x: Grid pixels from the left.
            y: Grid pixels from the top.

        Returns:
            None outside the grid, and where no window was asked for.
        """
        named = self.tiling.window_at(x, y)
        if named is None:
            return None
        tiling = self.tiling
        last = tiling.window(tiling.columns - 1, tiling.rows - 1)
        # The windows of the last column and row are shifted inward and overlap the ones before.
        lefts = [named.xoff] + [last.xoff] * (named.xoff < last.xoff <= x)
        tops = [named.yoff] + [last.yoff] * (named.yoff < last.yoff <= y)
        records = self.index.get_all(
            TileWindow(0, left, top, named.width, named.height) for top in tops for left in lefts
        )
        done = [record for record in records if record.state is TileState.DONE]
        return next(iter(done or (record for record in records if record.window == named)), None)

    def mark_failed(self, record: TileRecord) -> bool:
        """Mark a tile that was found damaged, so that the next encode makes it again.

        Needs no writer's lock: it is one short transaction, and it does nothing if the tile has
        been encoded again meanwhile.

        Returns:
            Whether the index was changed; False as well where it cannot be written, or is held by
            another program: the tile will be found damaged again.
        """
        try:
            with writing(inside(self.folder, INDEX_NAME), _MARK_TIMEOUT_S) as connection:
                return mark_failed(connection, record)
        except StoreError:
            return False

    def writer(self) -> StoreWriter:
        """Return the store's writer, a context manager; see there."""
        return StoreWriter(self.folder, self.manifest)

    # Files

    @property
    def decoder_path(self) -> Path:
        """The file with the weights that decoding needs.

        Raises:
            StoreError: It is a link that leads out of the store.
        """
        return inside(self.folder, DECODER_NAME)

    def tile_path(self, name: str) -> Path:
        """Return the path of a tile file.

        Raises:
            StoreError: The name is not one that this format gives, or leads out of the folder.
        """
        return tile_path(self.folder, name)

    def new_tile_path(self, name: str) -> Path:
        """Return the path for a tile file that is going to be written; its folder is made.

        Raises:
            StoreError: As ``tile_path``; or the store has been moved or deleted, and half of one
                must not come to lie in its place.
        """
        path = self.tile_path(name)
        if not (self.folder / MANIFEST_NAME).is_file():
            raise no_store(self.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _refuse_occupied(folder: Path) -> None:
    """Raise StoreError unless a folder is free: absent, empty, or left by a creation that was killed."""
    if (folder / MANIFEST_NAME).exists():
        raise StoreExistsError(f"There is a feature store in {folder} already.", "Choose another folder.")
    try:
        names = {path.name for path in folder.iterdir()}
        tiles = any(path.is_file() for path in (folder / TILES_NAME).rglob("*"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be made: {error.strerror or error}.", "Choose another folder."
        ) from error
    strange = {name for name in names if not name.startswith((f"{MANIFEST_NAME}.", INDEX_NAME))}
    if tiles or strange - {TILES_NAME, LOCK_NAME}:
        raise StoreError(f"{folder} holds other files already.", "Choose a new folder, or one that is empty.")


def _model_difference(mine: ModelInfo, theirs: ModelInfo) -> str | None:
    if mine == theirs:
        return None
    if mine.id != theirs.id:
        return f"the model is {mine.id} instead of {theirs.id}"
    if mine.checkpoint_sha256 != theirs.checkpoint_sha256:
        return f"the weights of the model {mine.id} differ"
    return f"the settings of the model {mine.id} differ"

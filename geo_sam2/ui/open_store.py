# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground that the dock works on: a grid with its tiles, with or without a feature store yet.

A store's index is copied once and grows with each tile that is encoded, so that no click asks the
disk. Ignorant of widgets; used on the main thread, but read on a worker (``OpenStore.read``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.grid_tiles import GridTiles
from geo_sam2.segmentation.prompt_placement import grid_crs
from geo_sam2.tile_window import TileWindow


class Ground:
    """A grid on which prompts lie, before anything of it is encoded.

    Attributes:
        grid: The grid.
        crs: Its CRS as QGIS knows it; invalid without one.
        tiling: The windows of the grid.
        tiles: Those of them that can be decoded on.
    """

    def __init__(self, grid: PixelGrid) -> None:
        self.grid = grid
        self.crs = grid_crs(grid)
        self.tiling = Tiling(grid.width, grid.height)
        self.tiles = GridTiles(self.tiling)

    def state(self, window: TileWindow) -> TileState | None:
        """Return what is known of a window; None if it was never asked for."""
        return None


class OpenStore(Ground):
    """A store with its records.

    Args:
        store: The store.
        records: Of its index; those of level 0 count.

    Attributes:
        store: The store.
        records: What is known of windows, by window; grows while tiles are encoded.
    """

    def __init__(self, store: FeatureStore, records: Iterable[TileRecord]) -> None:
        super().__init__(store.manifest.source.grid)
        self.store = store
        self.records: dict[TileWindow, TileRecord] = {}
        for record in records:
            if record.window.level == 0:
                self.settle(record)

    @classmethod
    def read(cls, folder: Path) -> OpenStore:
        """Open a store; on a worker, since an index of many tiles takes a while.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        store = FeatureStore.open(folder.absolute())
        return cls(store, store.index.records())

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.store.folder

    @property
    def done(self) -> int:
        """How many tiles can be decoded on."""
        return len(self.tiles)

    def settle(self, record: TileRecord) -> None:
        """Take note of what became of a window."""
        self.records[record.window] = record
        if record.state is TileState.DONE:
            self.tiles.add(record.window)
        else:
            self.tiles.discard(record.window)

    def state(self, window: TileWindow) -> TileState | None:
        """Return what is known of a window; None if it was never asked for."""
        record = self.records.get(window)
        return None if record is None else record.state

# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of a large store: how long it takes to open it and to find the tile under a point."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.timing import median_ms
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.feature_store import FeatureStore
from geo_sam2.model_info import ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_index import TileRecord, TileState, put_records
from geo_sam2.store_sqlite import writing

_OPENINGS = 50
_LOOKUPS = 1000


def make_store(folder: Path, model: ModelInfo, columns: int, rows: int) -> FeatureStore:
    """Make a store whose index says that all tiles are done; there are no tile files."""
    source = SourceInfo.of_pixels(columns * 1024, rows * 1024)
    store = FeatureStore.create(folder, model, source)
    records = [
        TileRecord(
            window,
            TileState.DONE,
            file=f"tiles/0/x{window.xoff:08d}_y{window.yoff:08d}.1.safetensors",
            bytes=8_389_000,
            crc32=number,
            seconds=0.8,
            encoded_at="2026-11-22T17:20:00.000Z",
        )
        for number, window in enumerate(Tiling(source.grid.width, source.grid.height))
    ]
    with store.writer(), writing(store.index.path) as connection:
        put_records(connection, source.grid, records)
    return store


def measure(folder: Path, model: ModelInfo, columns: int = 100, rows: int = 100) -> dict[str, float]:
    """Return milliseconds to open a store and count its tiles, and to find the tile under a point."""
    made = make_store(folder / "large.geosam2", model, columns, rows)
    opening = []
    for _ in range(_OPENINGS):
        started = time.perf_counter()
        store = FeatureStore.open(made.folder)
        assert len(store.index) == columns * rows
        opening.append(time.perf_counter() - started)
    rng = np.random.default_rng(0)
    looking = []
    for x, y in rng.uniform(0, (columns * 1024, rows * 1024), (_LOOKUPS, 2)).tolist():
        started = time.perf_counter()
        record = store.tile_at(x, y)
        looking.append(time.perf_counter() - started)
        assert record is not None
        assert record.window.xoff == x // 1024 * 1024
    return {
        "store_open_ms": median_ms(opening),
        "tile_lookup_ms": median_ms(looking),
        "store_open_tiles": columns * rows,
    }

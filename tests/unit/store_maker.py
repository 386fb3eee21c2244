# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores with tiles of a few hundred bytes, for tests; also run as a process that writes one.

``python store_maker.py FOLDER LOG COLUMNS ROWS BATCH`` encodes all windows of a store as
``encode`` does, one line in LOG for each tile before it is written, until it is done or killed.
"""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from geo_sam2.atomic_file import write_atomically
from geo_sam2.feature_store import TileRecord, TileState
from geo_sam2.model_info import DecoderSettings, FeatureShapes, ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_opening import store_for_encoding
from geo_sam2.tile_file import pack_tile

MODEL = ModelInfo(
    id="tiny",
    architecture="tiny",
    config="sam2.1_hiera_t.yaml",
    checkpoint_sha256="0" * 64,
    feature_shapes=FeatureShapes((2, 4, 4), (1, 8, 8), (1, 4, 4)),
    decoder=DecoderSettings(1024, 16, 8, 4, True, True, 0.05, 0.98, True),
)
# 3 × 2 windows, the last column and row shifted inward.
SOURCE = SourceInfo.of_pixels(3000, 2000)


def write_tile(store, window, generation, value=0.0):
    """Write a tile file as the engine does; returns its row."""
    shapes = store.manifest.model.feature_shapes.to_json()
    arrays = {name: np.full(shape, value, np.float16) for name, shape in shapes.items()}
    content = pack_tile(store.manifest.uuid, window, arrays)
    file = window.file_name(generation)
    path = store.new_tile_path(file)
    write_atomically(path, content)
    return TileRecord(
        window, TileState.DONE, file, len(content), zlib.crc32(content), 0.5, "2026-11-22T17:20:00.000Z"
    )


def encode(store, windows=None, batch=1, on_tile=lambda window: None):
    """Encode what is missing of some windows, or of all; returns the windows that were encoded."""
    with store.writer() as writer:
        missing = writer.add_pending(store.tiling if windows is None else windows)
        for start in range(0, len(missing), batch):
            rows = []
            for window in missing[start : start + batch]:
                on_tile(window)
                rows.append(write_tile(store, window, writer.next_generation(window), window.xoff / 1024))
            writer.record(rows)
        return missing


def encode_some(store, count):
    """Ask for all windows and encode the first few of what is missing, as a job that is cancelled."""
    with store.writer() as writer:
        for window in writer.add_pending(store.tiling)[:count]:
            writer.record([write_tile(store, window, writer.next_generation(window))])


def check_whole_tiles(store):
    """Fail unless every tile that is said to be done is there, byte by byte."""
    for record in store.index.records([TileState.DONE]):
        content = store.tile_path(record.file).read_bytes()
        assert (len(content), zlib.crc32(content)) == (record.bytes, record.crc32), record


def files_of(store):
    """Return the names of all files in the store's folder of tiles."""
    return sorted(path.name for path in (store.folder / "tiles").rglob("*") if path.is_file())


def main(folder, log, columns, rows, batch):
    source = SourceInfo.of_pixels(int(columns) * 1024, int(rows) * 1024)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    store = store_for_encoding(Path(folder), MODEL, source)
    encode(
        store, None, int(batch), lambda window: os.write(stream, f"{window.xoff} {window.yoff}\n".encode())
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

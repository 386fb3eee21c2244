# SPDX-License-Identifier: GPL-3.0-or-later
"""Many prompts over several tiles: in batches as ``geo_sam2:segment_prompts`` decodes them, and one by one.

Both ways go through the same code, engine and store; what differs is that one by one the prompts
come in the order of their layer and each waits for the answer to the one before it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.mosaic import read_windows, write_mosaic
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.segmentation.batch_decoder import BatchDecoder, DecodeOptions
from geo_sam2.segmentation.prompts import Click, ObjectPrompts
from geo_sam2.segmentation.store_tiles import StoreTiles
from geo_sam2.segmentation.tile_choice import PlacedObject, place
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow

_COLUMNS = _ROWS = 3
_WINDOW_PX = 1024


def make_store(engine: EngineClient, folder: Path, checkpoint: Path) -> FeatureStore:
    """Encode nine windows of real imagery."""
    model = {"checkpoint": str(checkpoint), "device": "cpu"}
    loaded = engine.request({"type": "load_model", "model": model}).result()
    source = SourceInfo.of_pixels(_COLUMNS * _WINDOW_PX, _ROWS * _WINDOW_PX)
    store = FeatureStore.create(
        folder / "batch.geosam2", ModelInfo.from_json(loaded.fields["model_info"]), source
    )
    place_fields = {"store": str(store.folder), "model": model}
    engine.request({"type": "write_decoder", **place_fields}).result()
    write_mosaic(folder / "batch.vrt", _COLUMNS, _ROWS)
    windows = [
        TileWindow(0, column * _WINDOW_PX, row * _WINDOW_PX, _WINDOW_PX, _WINDOW_PX)
        for row in range(_ROWS)
        for column in range(_COLUMNS)
    ]
    with store.writer() as writer:
        for window, image_hwc in zip(windows, read_windows(folder / "batch.vrt")):
            tiles = [{"window": window.to_json(), "generation": writer.next_generation(window)}]
            request = {"type": "encode", **place_fields, "tiles": tiles}
            (tile,) = engine.request(request, {"image_0": image_hwc}).result().fields["tiles"]
            named = {name: tile[name] for name in ("file", "bytes", "crc32")}
            writer.record([TileRecord(window, TileState.DONE, **named)])
    return store


def measure(engine: EngineClient, folder: Path, checkpoint: Path, count: int = 2000) -> dict[str, float]:
    """Return prompts per second in batches, and over those one by one.

    Args:
        engine: The client.
        folder: For store and raster.
        checkpoint: The model file.
        count: Prompts, spread over all tiles in no order.
    """
    store = make_store(engine, folder, checkpoint)
    tiles = StoreTiles(store)
    rng = np.random.default_rng(0)
    places = rng.uniform(0, (_COLUMNS * _WINDOW_PX, _ROWS * _WINDOW_PX), (count, 2)).tolist()
    objects = [
        place(ObjectPrompts(clicks=(Click(x, y, 1, index),)), tiles.encoded)
        for index, (x, y) in enumerate(places)
    ]
    decoder = BatchDecoder(engine, store, tiles.records, DecodeOptions())

    def seconds(portions: list[list[PlacedObject]]) -> float:
        started = time.perf_counter()
        found = sum(
            1 for portion in portions for _ in decoder.run(portion, lambda done, total: None, lambda: False)
        )
        assert found == sum(map(len, portions))
        return time.perf_counter() - started

    seconds([objects[:64]])  # the engine has its memory then
    batches = [seconds([objects])]
    one_by_one = seconds([[item] for item in objects])
    batches.append(seconds([objects]))
    in_batches = statistics.mean(batches)
    return {
        "batch_prompts_speedup": one_by_one / in_batches,
        "batch_prompts_per_s": count / in_batches,
        "batch_prompts_count": count,
    }

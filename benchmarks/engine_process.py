# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as its users have it: a process behind pipes, on a store on disk."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import median_ms, percentile
from geo_sam2.engine.decode_objects import ObjectDecoder, ObjectRequest, TileReference
from geo_sam2.engine.device import choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.outlines import OutlineOptions, outline_logits
from geo_sam2.engine.prompt_steps import read_steps
from geo_sam2.engine.sam2_model import Sam2Model
from geo_sam2.feature_store import FeatureStore
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.runtime.engine_command import engine_command
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow

WINDOW = TileWindow(0, 0, 0, 1024, 1024)
CLICKS = 40


@contextlib.contextmanager
def running_engine(folder: Path) -> Iterator[EngineClient]:
    """Start an engine on this interpreter."""
    command = engine_command(Path(sys.executable))
    with EngineClient(command, folder / "engine.log") as engine:
        yield engine


class Site:
    """A store with one encoded tile, made through an engine.

    Args:
        engine: The client.
        folder: Where to make the store.
        checkpoint: The model file.
        image_hwc: Pixels of the tile.
    """

    def __init__(self, engine: EngineClient, folder: Path, checkpoint: Path, image_hwc: np.ndarray) -> None:
        self.engine = engine
        self.model = {"checkpoint": str(checkpoint), "device": "cpu"}
        self.image_hwc = image_hwc
        loaded = engine.request({"type": "load_model", "model": self.model}).result()
        self.store = FeatureStore.create(
            folder, ModelInfo.from_json(loaded.fields["model_info"]), SourceInfo.of_pixels(1024, 1024)
        )
        self.place = {"store": str(folder), "model": self.model}
        engine.request({"type": "write_decoder", **self.place}).result()
        record = self.encode().result().fields["tiles"][0]
        self.tile = {"window": WINDOW.to_json(), "file": record["file"], "crc32": record["crc32"]}

    def encode(self, generation: int = 1):
        """Ask for the tile to be encoded; returns the future."""
        tiles = [{"window": WINDOW.to_json(), "generation": generation}]
        return self.engine.request(
            {"type": "encode", **self.place, "tiles": tiles}, {"image_0": self.image_hwc}
        )

    def click_fields(self, x: float, y: float) -> dict[str, Any]:
        """Return a decode request for one click."""
        steps = [{"points": [[x, y]], "labels": [1]}]
        return {
            "type": "decode",
            "store": str(self.store.folder),
            "objects": [{"tile": self.tile, "steps": steps}],
        }

    def reference(self) -> TileReference:
        """Return the tile as the engine's own code names it."""
        return TileReference(WINDOW, self.tile["file"], self.tile["crc32"])


def clicks(count: int) -> list[tuple[float, float]]:
    """Return seeded places, none twice, so that no answer is remembered."""
    rng = np.random.default_rng(count)
    return [tuple(place) for place in rng.uniform(50, 974, (count, 2)).tolist()]


def start_times(folder: Path, checkpoint: Path, image_hwc: np.ndarray) -> dict[str, float]:
    """Return seconds from nothing to ``hello`` and to the first answered click on a known store."""
    with running_engine(folder) as engine:
        site = Site(engine, folder / "start.geosam2", checkpoint, image_hwc)
    hello, first = [], []
    for x, y in clicks(5):
        started = time.perf_counter()
        with running_engine(folder) as engine:
            engine.start().result()
            hello.append(time.perf_counter() - started)
            engine.request(site.click_fields(x, y)).result()
            first.append(time.perf_counter() - started)
    return {"engine_hello_s": statistics.median(hello), "engine_start_s": statistics.median(first)}


def request_overhead(site: Site) -> dict[str, float]:
    """Return what the pipe adds to a click over the same code called in this process.

    Both find the tile prepared; the outline is part of both.
    """
    decoder = ObjectDecoder(site.store, torch.device("cpu"))
    options = OutlineOptions()
    grid = decoder.grid(WINDOW)

    def bare(x: float, y: float) -> None:
        item = ObjectRequest(site.reference(), read_steps([{"points": [[x, y]], "labels": [1]}]))
        for _, candidates in decoder.decode([item], lambda: None):
            outline_logits(candidates.logits[candidates.best].numpy(), grid, options)

    through_pipe, called = [], []
    for number, (x, y) in enumerate(clicks(2 * CLICKS)):
        started = time.perf_counter()
        site.engine.request(site.click_fields(x, y)).result()
        middle = time.perf_counter()
        bare(x, y)
        if number >= 4:
            through_pipe.append(middle - started)
            called.append(time.perf_counter() - middle)
    overhead = [pipe - call for pipe, call in zip(through_pipe, called)]
    return {"request_overhead_ms": median_ms(overhead), "request_ms": median_ms(through_pipe)}


def tile_warm_up(site: Site) -> dict[str, float]:
    """Return the time from a tile on a warm disk to one ready for clicks."""
    decoder = ObjectDecoder(site.store, torch.device("cpu"))
    seconds = []
    for _ in range(20):
        decoder.forget_tiles()
        started = time.perf_counter()
        decoder.prepare(site.reference())
        seconds.append(time.perf_counter() - started)
    size = (site.store.folder / site.tile["file"]).stat().st_size
    return {"tile_warm_up_ms": median_ms(seconds), "tile_bytes": size}


def longest_block_s(model: Sam2Model, image_hwc: np.ndarray) -> float:
    """Return the time of the slowest block of the trunk, the best of three runs for each block."""
    encoder = ImageEncoder(model, choose_precision(model.device, "auto"))
    runs = []
    for _ in range(3):
        runs.append(_block_seconds(encoder, image_hwc))
    return max(min(times) for times in zip(*runs))


def _block_seconds(encoder: ImageEncoder, image_hwc: np.ndarray) -> list[float]:
    """Return the seconds of each block of the trunk."""
    seconds: list[float] = []

    def timed(block):
        def run(x, on_step):
            started = time.perf_counter()
            result = block(x, on_step)
            seconds.append(time.perf_counter() - started)
            return result

        return run

    blocks = encoder._trunk._blocks
    encoder._trunk._blocks = [timed(block) for block in blocks]
    try:
        encoder.encode([image_hwc])
    finally:
        encoder._trunk._blocks = blocks
    return seconds


def click_while_encoding(site: Site, model: Sam2Model) -> dict[str, float]:
    """Return how long a click takes while tiles are being encoded, against what it may take at most.

    That is a click of its own plus the longest block of the trunk.
    """
    alone, meanwhile = [], []
    for x, y in clicks(CLICKS):
        started = time.perf_counter()
        site.engine.request(site.click_fields(x, y)).result()
        alone.append(time.perf_counter() - started)
    generation = 2
    encoding = [site.encode(generation)]
    for number, (x, y) in enumerate(clicks(3 * CLICKS)):
        while encoding[-1].done() or len(encoding) < 2:  # one encodes, one waits
            encoding = [future for future in encoding if not future.done()]
            generation += 1
            encoding.append(site.encode(generation))
        time.sleep(0.02 + 0.005 * (number % 13))
        started = time.perf_counter()
        site.engine.request(site.click_fields(x + 0.25, y)).result()
        meanwhile.append(time.perf_counter() - started)
    for future in encoding:
        future.result()
    bare, block = statistics.median(alone), longest_block_s(model, site.image_hwc)
    slow = percentile(meanwhile, 0.95)
    return {
        "click_while_encoding_ms": 1000 * slow,
        "longest_block_ms": 1000 * block,
        "click_while_encoding_ratio": slow / (bare + block),
    }

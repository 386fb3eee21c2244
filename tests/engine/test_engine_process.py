# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a process, on the demo model: from pixels through the pipes to polygons."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.errors import CheckpointError, PromptError, ProtocolError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.runtime.engine_command import engine_command
from geo_sam2.runtime.engine_future import Outcome
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow

MODEL = {"checkpoint": str(DEMO_FOLDER / "demo.safetensors"), "device": "cpu", "precision": "fp32"}
WINDOW = TileWindow(0, 0, 0, 1024, 1024)
PATIENCE_S = 300


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    with EngineClient(engine_command(Path(sys.executable)), log) as client:
        yield client


@pytest.fixture(scope="module")
def image():
    """Return a pond in a meadow."""
    rows, cols = np.mgrid[:1024, :1024]
    pond = np.hypot(rows - 420, cols - 560) < 170
    rng = np.random.default_rng(0)
    colour = np.where(pond[..., None], (40, 70, 110), (110, 140, 80))
    return np.clip(colour + rng.normal(0, 6, (1024, 1024, 1)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def site(engine, image, tmp_path_factory):
    """Return (store, tile) of the image, encoded by the engine."""
    folder = tmp_path_factory.mktemp("store") / "pond.demo.geosam2"
    loaded = engine.request({"type": "load_model", "model": MODEL}).result(PATIENCE_S)
    store = FeatureStore.create(
        folder, ModelInfo.from_json(loaded.fields["model_info"]), SourceInfo.of_pixels(1024, 1024)
    )
    place = {"store": str(folder), "model": MODEL}
    engine.request({"type": "write_decoder", **place}).result(PATIENCE_S)
    tiles = [{"window": WINDOW.to_json(), "generation": 1}]
    encoded = engine.request({"type": "encode", **place, "tiles": tiles}, {"image_0": image})
    record = encoded.result(PATIENCE_S).fields["tiles"][0]
    return store, {"window": WINDOW.to_json(), "file": record["file"], "crc32": record["crc32"]}


def click(site, *points, **fields):
    store, tile = site
    steps = [{"points": [list(point)], "labels": [1]} for point in points]
    return {
        "type": "decode",
        "store": str(store.folder),
        "objects": [{"tile": tile, "steps": steps}],
        **fields,
    }


def test_demo_model_is_known_by_its_name(engine):
    fields = engine.request({"type": "load_model", "model": MODEL}).result(PATIENCE_S).fields
    assert fields["model_info"]["id"] == "demo"


def test_click_on_a_pond_gives_a_polygon_around_the_click(engine, site):
    answer = engine.request(click(site, (560.0, 420.0))).result(PATIENCE_S)
    outlines = Outlines.from_arrays(**answer.arrays)
    assert len(outlines) >= 1
    largest = outlines.ring(int(outlines.polygon_offsets[int(np.argmax(outlines.area_px2))]))
    low, high = largest.min(axis=0), largest.max(axis=0)
    assert (low < (560, 420)).all()
    assert (high > (560, 420)).all()


def test_store_is_used_by_an_engine_that_has_no_model(site, tmp_path):
    with EngineClient(engine_command(Path(sys.executable)), tmp_path / "engine.log") as other:
        answer = other.request(click(site, (560.0, 420.0))).result(PATIENCE_S)
    assert answer.fields["objects"][0]["candidates"]


def test_killed_engine_gives_the_same_outline_when_it_is_back(engine, site):
    before = engine.request(click(site, (500.0, 400.0), (600.0, 450.0))).result(PATIENCE_S)
    engine.stop()
    after = engine.request(click(site, (500.0, 400.0), (600.0, 450.0))).result(PATIENCE_S)
    assert after.fields["objects"] == before.fields["objects"]
    np.testing.assert_array_equal(after.arrays["points_xy"], before.arrays["points_xy"])


def test_click_is_answered_while_tiles_are_encoded(engine, site, image):
    store, _ = site
    place = {"store": str(store.folder), "model": MODEL}
    order = []
    encodings = []
    for generation in (2, 3, 4):
        tiles = [{"window": WINDOW.to_json(), "generation": generation}]
        future = engine.request({"type": "encode", **place, "tiles": tiles}, {"image_0": image})
        future.add_done_callback(lambda _: order.append("tile"))
        encodings.append(future)
    clicked = engine.request(click(site, (300.0, 700.0)))
    clicked.add_done_callback(lambda _: order.append("click"))
    clicked.result(PATIENCE_S)
    for future in encodings:
        future.result(PATIENCE_S)
    assert order.index("click") < 2


def test_cancelled_encoding_writes_no_tile(engine, site, image):
    store, _ = site
    started = threading.Event()
    tiles = [{"window": WINDOW.to_json(), "generation": generation} for generation in range(10, 18)]
    images = {f"image_{index}": image for index in range(8)}
    fields = {"type": "encode", "store": str(store.folder), "model": MODEL, "tiles": tiles}
    future = engine.request(fields, images)
    engine.request(click(site, (310.0, 700.0))).add_done_callback(lambda _: started.set())
    assert started.wait(PATIENCE_S)
    future.cancel_request()
    assert future.result(PATIENCE_S).outcome is Outcome.CANCELLED
    assert not (store.folder / WINDOW.file_name(17)).exists()
    assert not list(store.folder.rglob("*.tmp"))


def test_errors_come_back_as_themselves(engine, site):
    with pytest.raises(PromptError, match="outside its window"):
        engine.request(click(site, (1025.0, 3.0))).result(PATIENCE_S)
    with pytest.raises(CheckpointError, match="There is no file"):
        missing = {**MODEL, "checkpoint": "/nowhere/x.pt"}
        engine.request({"type": "load_model", "model": missing}).result(PATIENCE_S)
    with pytest.raises(ProtocolError):
        engine.request({"type": "paint"}).result(PATIENCE_S)

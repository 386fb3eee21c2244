# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores of a raster layer: found again, and offered."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from qgis.core import QgsRasterLayer

from geo_sam2 import settings
from geo_sam2.encoder.crs import crs_texts
from geo_sam2.encoder.encode_request import ModelChoice
from geo_sam2.encoder.ground_resolution import ground_resolution_m, resolution_text
from geo_sam2.encoder.layer_request import layer_encode_request, layer_facts
from geo_sam2.encoder.layer_stores import find_layer_stores, layer_grid, offers, store_encode_request
from geo_sam2.encoder.model_file import model_of_store
from geo_sam2.encoder.raster_source import GdalRasterSource
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import CheckpointError, EncodeRequestError, RasterReadError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.grid import PixelGrid
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER
from tests.qgis.encode_runs import SQUARE, Feedback, encode, encoded_windows, noise, write_raster
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.live_runs import live_encoder
from tests.qgis.rasters import crs_of, gdal_exceptions

DEMO = ModelChoice(DEMO_FOLDER / "demo.safetensors")


@pytest.fixture
def raster(tmp_path):
    """Return a raster of 3 × 2 windows, two metres a pixel."""
    return write_raster(tmp_path / "lake.tif", noise(2100, 1100))


@pytest.fixture
def stores_folder(tmp_path):
    settings.set_stores_folder(tmp_path / "stores")
    yield tmp_path / "stores"
    settings.set_stores_folder(None)


@pytest.fixture
def facts(raster, stores_folder):
    return layer_facts(layer_of(raster))


def layer_of(path, name="Lake"):
    layer = QgsRasterLayer(str(path), name)
    assert layer.isValid()
    return layer


def encode_by_looking(request, windows=None):
    """Encode some windows of a request, or all, with a live encoder; returns the folder of the store."""
    from geo_sam2 import engine_session

    with live_encoder(request, engine_session.client) as (encoder, listener):
        encoder.prepare()
        listener.wait_for("went_idle")
        store = listener.told("opened")[0]
        encoder.want(store.tiling if windows is None else list(store.tiling)[:windows])
        listener.wait_for("went_idle", 2)
        assert not listener.told("failed")
    return store.folder


# Requests


def test_layer_is_encoded_beside_its_raster_in_the_bands_that_it_shows(fake_engine, tmp_path, stores_folder):
    raster = write_raster(tmp_path / "four.tif", noise(40, 40, bands=4))
    layer = layer_of(raster)
    layer.renderer().setRedBand(4)
    request = layer_encode_request(layer, "demo", device="cpu", precision="fp32")
    assert (request.shown_bands, request.folder, request.overwrite) == ((4, 2, 3), None, False)
    assert (request.model.device, request.model.precision) == ("cpu", "fp32")
    folder = encode_by_looking(request)
    assert folder == tmp_path / "four.demo.b4-2-3.geosam2"
    assert FeatureStore.open(folder).manifest.source.bands == (4, 2, 3)


def test_algorithm_and_dock_share_a_store(fake_engine, raster, stores_folder):
    folder = encode_by_looking(layer_encode_request(layer_of(raster), "demo"), windows=2)
    results, is_ok, feedback = encode(raster)
    assert is_ok, feedback.errors
    assert (results["OUTPUT"], results["TILES_ENCODED"]) == (str(folder), 4)
    assert set(encoded_windows(fake_engine).values()) == {1}


def test_services_and_broken_layers_are_refused_with_a_sentence(raster):
    xyz = QgsRasterLayer("type=xyz&url=http://localhost/{z}/{x}/{y}.png&zmax=3", "Tiles", "wms")
    with pytest.raises(EncodeRequestError, match="“Tiles” comes from a service"):
        layer_facts(xyz)
    broken = QgsRasterLayer(str(raster.with_name("nowhere.tif")), "Gone")
    with pytest.raises(EncodeRequestError, match="“Gone” has lost its file"):
        layer_encode_request(broken, "demo")


def test_model_that_is_not_here_is_named(raster, monkeypatch, tmp_path):
    monkeypatch.setenv("GEO_SAM2_HOME", str(tmp_path / "home"))
    with pytest.raises(CheckpointError, match="model tiny is not on this computer"):
        layer_encode_request(layer_of(raster), "tiny")


def test_impossible_factor_is_refused(raster):
    with pytest.raises(RasterReadError, match="factor of 0"):
        layer_encode_request(layer_of(raster), "demo", 0)


# Coarser pixels


def test_coarser_pixels_have_a_store_of_their_own_and_are_found_again(fake_engine, raster, facts):
    native = encode_by_looking(layer_encode_request(facts, "demo"), windows=1)
    coarse = encode_by_looking(layer_encode_request(facts, "demo", 2))
    assert (native.name, coarse.name) == ("lake.demo.geosam2", "lake.demo.x2.geosam2")
    assert encode_by_looking(layer_encode_request(facts, "demo", 2)) == coarse
    grid = FeatureStore.open(coarse).manifest.source.grid
    assert (grid.width, grid.height, grid.pixel_size()) == (1050, 550, (4.0, 4.0))
    found = find_layer_stores(facts)
    assert [(store.folder, store.factor, store.done, store.total) for store in found] == [
        (coarse, 2, 2, 2),
        (native, 1, 1, 6),
    ]
    assert [store.gsd_text for store in found] == ["4 m", "2 m"]
    assert [store.model_id for store in found] == ["demo", "demo"]


def test_algorithm_with_resolution_and_dock_share_a_coarser_grid(fake_engine, raster, facts, tmp_path):
    folder = tmp_path / "lake.mine.geosam2"
    _, is_ok, feedback = encode(raster, OUTPUT=str(folder), RESOLUTION=8)
    assert is_ok, feedback.errors
    made = FeatureStore.open(folder).manifest.source.grid
    assert made.difference_to(layer_grid(facts, 4)) is None
    assert [store.factor for store in find_layer_stores(facts)] == [4]


@pytest.mark.parametrize(
    ("geotransform", "sides"),
    [
        ((500000.0, 2.0, 0.0, 5000000.0, 0.0, 3.0), (4.0, 6.0)),  # south-up
        ((500000.0, 1.2, 1.6, 5000000.0, 1.6, -1.2), (4.0, 4.0)),  # rotated, two metres
    ],
)
def test_coarser_pixels_have_so_many_times_the_sides(tmp_path, geotransform, sides):
    raster = write_raster(tmp_path / "turned.tif", noise(300, 200), geotransform)
    grid = layer_grid(layer_facts(layer_of(raster)), 2)
    assert grid.pixel_size() == pytest.approx(sides)


# Finding


def test_stores_are_found_without_looking_at_pixels(fake_engine, raster, facts, monkeypatch):
    encode(raster)

    def refuse(self):
        raise AssertionError("the pixels need not be looked at")

    monkeypatch.setattr(GdalRasterSource, "fingerprint", refuse)
    (store,) = find_layer_stores(facts)
    assert (store.done, store.empty, store.failed, store.total) == (6, 0, 0, 6)
    assert (store.is_partial, store.problem) == (False, "")


def test_partial_store_says_so_and_fuller_ones_come_first(fake_engine, raster, facts, tmp_path):
    encode(raster, Feedback(cancel_at=30))
    encode(raster, OUTPUT=str(tmp_path / "all.geosam2"))
    first, second = find_layer_stores(facts)
    assert (first.folder.name, first.is_partial) == ("all.geosam2", False)
    assert (second.is_partial, second.total) == (True, 6)
    assert second.done < 6


def test_raster_and_stores_that_moved_are_known_by_their_pixels(fake_engine, raster, facts, tmp_path):
    encode(raster)
    encode_by_looking(layer_encode_request(facts, "demo", 2))
    place = tmp_path / "elsewhere"
    place.mkdir()
    for path in tmp_path.glob("lake*.geosam2"):
        shutil.move(path, place / path.name)
    shutil.move(raster, place / "pond.tif")
    moved = layer_facts(layer_of(place / "pond.tif"))
    assert sorted(store.factor for store in find_layer_stores(moved)) == [1, 2]


def test_stores_of_other_rasters_are_not_taken(fake_engine, raster, facts, tmp_path):
    for name, values, geotransform in (
        ("other.tif", noise(2100, 1100, seed=1), SQUARE),
        ("moved.tif", noise(2100, 1100), (500002.0, 2.0, 0.0, 5000000.0, 0.0, -2.0)),
    ):
        encode(write_raster(tmp_path / name, values, geotransform))
    (tmp_path / "broken.geosam2").mkdir()
    (tmp_path / "broken.geosam2" / "manifest.json").write_text("{")
    assert find_layer_stores(facts) == []


def test_store_in_the_stores_folder_is_found(fake_engine, raster, facts, stores_folder):
    encode(raster, OUTPUT=str(stores_folder / "any.geosam2"))
    assert [store.folder for store in find_layer_stores(facts)] == [stores_folder / "any.geosam2"]


def test_store_whose_index_is_damaged_is_found_with_a_sentence(fake_engine, raster, facts, tmp_path):
    encode(raster)
    (tmp_path / "lake.demo.geosam2" / "tiles.gpkg").write_bytes(b"no database at all" * 100)
    (store,) = find_layer_stores(facts)
    assert (store.done, store.is_partial) == (0, True)
    assert "tiles.gpkg" in store.problem


def test_raster_that_cannot_be_opened_has_no_stores(fake_engine, raster, facts):
    encode(raster)
    raster.write_bytes(b"no longer a raster")
    assert find_layer_stores(facts) == []
    with pytest.raises(RasterReadError, match="cannot be opened"):
        offers(facts, None)


# Going on


@pytest.mark.parametrize("parameters", [{}, {"RESOLUTION": 5}, {"CRS": "EPSG:3857"}, {"BANDS": [2]}])
def test_store_that_was_found_goes_on_as_it_was_made(fake_engine, raster, facts, tmp_path, parameters):
    folder = tmp_path / "mine.geosam2"
    _, is_ok, feedback = encode(raster, Feedback(cancel_at=30), OUTPUT=str(folder), **parameters)
    assert is_ok, feedback.errors
    (found,) = find_layer_stores(facts)
    model = model_of_store(found.model, tmp_path)
    assert model == DEMO.checkpoint
    assert encode_by_looking(store_encode_request(facts, found, DEMO)) == folder
    assert FeatureStore.open(folder).manifest.uuid == found.uuid
    (now,) = find_layer_stores(facts)
    assert now.done == now.total == len(Tiling(now.source.grid.width, now.source.grid.height))
    assert set(encoded_windows(fake_engine).values()) == {1}


def test_store_of_somebodys_own_model_cannot_go_on_by_itself(raster, facts, tmp_path):
    weights = shutil.copy(DEMO.checkpoint, tmp_path / "fine_tuned.safetensors")
    with session_of(fake_engine_command(), tmp_path / "log"):
        encode(raster, CHECKPOINT=str(weights))
    (found,) = find_layer_stores(facts)
    with pytest.raises(CheckpointError, match=f"somebody's own, {found.model_id}"):
        model_of_store(found.model, tmp_path)


def test_store_on_a_grid_that_is_gone_is_refused(fake_engine, raster, facts, tmp_path):
    encode(raster, OUTPUT=str(tmp_path / "mine.geosam2"), RESOLUTION=5)
    (found,) = find_layer_stores(facts)
    write_raster(raster, noise(2000, 1000))
    with pytest.raises(EncodeRequestError, match="its grid has 840 × 440 pixels instead of"):
        store_encode_request(facts, found, DEMO)


# Offers


def test_offers_say_tiles_bytes_and_seconds(raster, facts):
    native, half, quarter = offers(facts, 0.5)
    assert [(offer.factor, offer.gsd_text, offer.tiles) for offer in (native, half, quarter)] == [
        (1, "2 m", 6),
        (2, "4 m", 2),
        (4, "8 m", 1),
    ]
    assert [offer.seconds for offer in (native, half, quarter)] == [3.0, 1.0, 0.5]
    assert 8.3e6 < quarter.bytes < 8.5e6
    assert native.bytes == 6 * quarter.bytes
    assert native.grid.difference_to(layer_grid(facts)) is None
    assert [offer.seconds for offer in offers(facts, None)] == [None] * 3


def test_raster_without_crs_is_offered_as_it_is(tmp_path):
    raster = write_raster(tmp_path / "scan.tif", noise(100, 100), geotransform=None, crs="")
    (native,) = offers(layer_facts(layer_of(raster)), None)
    assert (native.factor, native.gsd_m, native.gsd_text) == (1, None, "1 px")


def grid_in(epsg, geotransform):
    with gdal_exceptions(False):
        wkt, authid = crs_texts(crs_of(epsg))
    return PixelGrid(100, 100, geotransform, wkt, authid)


@pytest.mark.parametrize(
    ("epsg", "geotransform", "metres", "text"),
    [
        (32633, (500000, 0.03, 0, 5000000, 0, -0.03), 0.03, "3 cm"),
        (32633, (500000, 10, 0, 5000000, 0, -10), 10.0, "10 m"),
        (3857, (0, 2, 0, 8399737.89, 0, -2), 1.0017, "1 m"),  # at 60° north
        (4326, (12, 1e-5, 0, 0.0005, 0, -1e-5), 1.1095, "1.11 m"),
        (32633, (500000, 12.5, 0, 5000000, 0, -12.5), 12.5, "12.5 m"),
        (2225, (6000000, 1, 0, 2000000, 0, -1), 0.3048, "30.5 cm"),  # US survey feet
    ],
)
def test_resolution_is_that_on_the_ground(epsg, geotransform, metres, text):
    found = ground_resolution_m(grid_in(epsg, tuple(map(float, geotransform))))
    assert found == pytest.approx(metres, rel=1e-3)
    assert resolution_text(found) == text


# What a tile takes


def test_what_a_tile_takes_is_remembered_by_model_and_device(fake_engine, raster):
    assert settings.tile_seconds("demo", "cpu") is None
    results, _, _ = encode(raster, DEVICE="cpu")
    assert settings.tile_seconds("demo", "cpu") == pytest.approx(results["SECONDS"] / 6, abs=1e-3)
    assert settings.tile_seconds("demo", "cuda") is None
    settings.remember_tile_seconds("demo", "cpu", 7.25)
    assert settings.tile_seconds("demo", "cpu") == 7.25


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"demo cpu": "much"}', '{"demo cpu": -1.0}', '{"demo cpu": NaN}']
)
def test_damaged_memory_of_times_is_no_memory(text):
    settings._write("tile_seconds", text)
    try:
        assert settings.tile_seconds("demo", "cpu") is None
        settings.remember_tile_seconds("demo", "cpu", 1.5)
        assert settings.tile_seconds("demo", "cpu") == 1.5
    finally:
        settings._write("tile_seconds", "")


def test_times_of_many_models_do_not_pile_up():
    for number in range(60):
        settings.remember_tile_seconds(f"tiny-{number}", "auto", 1.0)
    assert settings.tile_seconds("tiny-9", "auto") is None
    assert settings.tile_seconds("tiny-59", "auto") == 1.0
    settings._write("tile_seconds", "")


def test_coarser_pixels_average_the_raster(fake_engine, tmp_path, stores_folder):
    values = np.zeros((1, 400, 400), np.uint8)
    values[0, ::2, ::2] = 200
    raster = write_raster(tmp_path / "board.tif", values)
    with GdalRasterSource.open(layer_encode_request(layer_of(raster), "demo", 2).raster) as source:
        window = Tiling(source.grid.width, source.grid.height).window(0, 0)
        assert (source.read(window)[20:180, 20:180] == 50).all()

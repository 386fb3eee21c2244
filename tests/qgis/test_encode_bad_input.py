# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be encoded is refused with a sentence that says what to do, before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from qgis.core import QgsProcessing, QgsProcessingUtils, QgsProject, QgsRasterLayer, QgsVectorLayer

from geo_sam2.runtime.model_catalogue import DEMO_FOLDER
from tests.qgis.encode_runs import encode, noise, refusal, write_raster


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "small.tif", noise(64, 48, bands=4))


@pytest.fixture(autouse=True)
def nothing_is_written(fake_engine, tmp_path):
    yield
    assert not list(tmp_path.rglob("*.geosam2"))
    assert not list(tmp_path.rglob("manifest.json"))


CASES = {
    "four bands": ({"BANDS": [1, 2, 3, 4]}, "4 bands are chosen; the model sees at most three"),
    "band beyond": ({"BANDS": [5]}, "The raster has no band 5. Its bands are 1 to 4."),
    "band zero": ({"BANDS": [0]}, "“0” is no band number"),
    "extent outside": ({"EXTENT": "0,10,0,10 [EPSG:32633]"}, "The extent lies outside the raster"),
    "empty extent": ({"EXTENT": "5,5,7,7 [EPSG:32633]"}, "is empty or no extent"),
    "no extent": ({"EXTENT": "here"}, "The extent “here” is empty or no extent"),
    "range upside down": ({"RANGE": [5, 1]}, "its minimum must be below its maximum"),
    "range of one value": ({"RANGE": "3,3"}, "its minimum must be below its maximum"),
    "resolution zero": ({"RESOLUTION": 0}, "“0” is no resolution"),
    "negative resolution": ({"RESOLUTION": -2}, "“-2” is no resolution"),
    "absurd resolution": ({"RESOLUTION": 1e-7}, "tiles"),
    "no CRS": ({"CRS": "EPSG:0815"}, "“EPSG:0815” is no CRS"),
    "no checkpoint": ({"CHECKPOINT": "/nowhere/x.pt"}, "There is no file of model weights at /nowhere/x.pt"),
    "model not here": ({"MODEL": "large"}, "The file of the model large is not on this computer"),
    "temporary": ({"OUTPUT": QgsProcessing.TEMPORARY_OUTPUT}, "A feature store cannot be temporary"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_with_a_sentence(raster, tmp_path, monkeypatch, case):
    # No official model is there, whatever this machine has.
    monkeypatch.setenv("GEO_SAM2_HOME", str(tmp_path / "home"))
    parameters, sentence = CASES[case]
    text = refusal(raster, **parameters)
    assert sentence in text
    assert text.count(".") >= 2 or len(text.split(". ")) >= 2  # a hint follows


def test_temporary_folder_of_processing_is_refused(raster):
    text = refusal(raster, OUTPUT=str(Path(QgsProcessingUtils.tempFolder()) / "store"))
    assert "A feature store cannot be temporary" in text


def test_output_inside_a_file_is_refused(raster, tmp_path):
    text = refusal(raster, OUTPUT=str(raster / "store"))
    assert f"A feature store is a folder, and {raster} is a file." in text
    assert f"and {raster} is a file" in refusal(raster, OUTPUT=str(raster))


def test_folder_that_holds_other_files_is_refused(raster, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear all")
    assert "holds other files already" in refusal(raster, OUTPUT=str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "letter.txt").read_text() == "Dear all"


def test_checkpoint_of_another_variant_is_refused(raster, tmp_path):
    weights = shutil.copy(DEMO_FOLDER / "demo.safetensors", tmp_path / "fine_tuned.safetensors")
    text = refusal(raster, MODEL="large", CHECKPOINT=str(weights))
    assert "fine_tuned.safetensors holds weights of the variant tiny, not of large" in text


def test_vector_layer_is_refused_by_name(tmp_path):
    layer = QgsVectorLayer("Point?crs=EPSG:32633", "wells", "memory")
    QgsProject.instance().addMapLayer(layer)
    assert "“wells” is no raster layer" in refusal(layer)
    assert "“wells” is no raster layer" in refusal(layer.id()).replace(layer.id(), "wells")


def test_vector_file_is_refused(tmp_path):
    path = tmp_path / "wells.geojson"
    path.write_text('{"type":"FeatureCollection","features":[]}')
    assert "wells.geojson" in refusal(path)


def test_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "letter.tif"
    path.write_text("Dear all")
    assert f"The raster “{path}” cannot be opened" in refusal(path)
    assert "cannot be opened" in refusal(tmp_path / "nowhere.tif")


@pytest.mark.parametrize(
    "uri",
    [
        "type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png&zmax=5&zmin=0",
        "crs=EPSG:3857&format=image/png&layers=a&styles=&url=http://127.0.0.1:9/wms",
    ],
)
def test_layer_of_a_service_is_refused_until_its_time_comes(uri):
    layer = QgsRasterLayer(uri, "tiles of the web", "wms")
    QgsProject.instance().addMapLayer(layer)
    text = refusal(layer)
    assert "wms" in text
    assert "GeoTIFF" in text


def test_constant_image_is_refused(tmp_path):
    raster = write_raster(tmp_path / "flat.tif", np.full((1, 40, 40), 700, np.uint16))
    assert "The image is constant" in refusal(raster)


def test_resolution_in_metres_without_crs_is_refused(tmp_path):
    raster = write_raster(tmp_path / "plain.tif", noise(40, 40), None, None)
    text = refusal(raster, CRS="EPSG:32633", RESOLUTION=0.5)
    assert "CRS" in text


def test_complex_numbers_are_refused(tmp_path):
    raster = write_raster(tmp_path / "radar.tif", np.ones((1, 40, 40), np.complex64))
    assert "complex numbers" in refusal(raster)


def test_environment_that_is_missing_is_named_with_the_way_to_make_it(raster, tmp_path, monkeypatch):
    from geo_sam2 import engine_session

    monkeypatch.setenv("GEO_SAM2_HOME", str(tmp_path / "nothing here"))
    session = engine_session.EngineSession(engine_session._installed_engine, lambda: tmp_path / "log")
    monkeypatch.setattr(engine_session, "_session", session)
    text = refusal(raster)
    assert f"The engine is not installed in {tmp_path / 'nothing here'}" in text
    assert "python3 -m geo_sam2.runtime" in text
    assert "install" in text


def test_raster_without_a_valid_pixel_makes_a_store_of_empty_tiles_only_if_its_range_is_known(tmp_path):
    raster = write_raster(tmp_path / "void.tif", np.full((1, 40, 40), -9999, np.int16), nodata=-9999)
    assert "No valid pixel" in refusal(raster)


def test_unknown_model_device_or_precision_is_refused_by_qgis(raster):
    for name in ("MODEL", "DEVICE", "PRECISION"):
        _, is_ok, _ = encode(raster, **{name: "best"})
        assert not is_ok

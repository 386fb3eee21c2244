# SPDX-License-Identifier: GPL-3.0-or-later
"""The algorithm as Processing sees it: each parameter has an effect, each output says something."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from qgis.core import (
    QgsApplication,
    QgsMultiBandColorRenderer,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingOutputFolder,
    QgsProcessingParameterDefinition,
    QgsProject,
    QgsRasterLayer,
    QgsSettings,
    QgsSingleBandGrayRenderer,
)

from geo_sam2 import settings, store_loading
from geo_sam2.encoder.encode_algorithm import EncodeAlgorithm
from geo_sam2.encoder.encode_job import EncodeJob
from geo_sam2.feature_store import FeatureStore
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER
from tests.qgis.encode_runs import Feedback, arrived, encode, encoded_windows, noise, write_raster

NAMES = [
    "INPUT",
    "BANDS",
    "EXTENT",
    "CRS",
    "RESOLUTION",
    "RANGE",
    "MODEL",
    "CHECKPOINT",
    "DEVICE",
    "PRECISION",
    "BATCH_SIZE",
    "OUTPUT",
    "LOAD",
    "OVERWRITE",
]
ADVANCED = {
    "CRS",
    "RESOLUTION",
    "RANGE",
    "CHECKPOINT",
    "DEVICE",
    "PRECISION",
    "BATCH_SIZE",
    "OVERWRITE",
}


@pytest.fixture
def definitions():
    algorithm = EncodeAlgorithm().create()
    yield {definition.name(): definition for definition in algorithm.parameterDefinitions()}
    del algorithm  # it owns the definitions


def test_parameters_are_those_that_are_promised(definitions):
    assert list(definitions) == NAMES
    flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    assert {name for name, item in definitions.items() if item.flags() & flag} == ADVANCED
    assert all(item.help() for item in definitions.values())


def test_empty_output_is_not_offered_as_no_output(definitions):
    """QGIS calls an optional destination without a value “[Skip output]”; here it is a place."""
    assert not definitions["OUTPUT"].isDestination()


def test_only_the_raster_has_to_be_given(definitions):
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    needed = [
        name
        for name, item in definitions.items()
        if not item.flags() & optional and item.defaultValue() is None
    ]
    assert needed == ["INPUT"]


@pytest.mark.parametrize(
    ("name", "options", "default"),
    [
        ("MODEL", ["demo", "tiny", "small", "base_plus", "large"], "demo"),
        ("DEVICE", None, "auto"),
        ("PRECISION", ["auto", "fp32", "bf16", "fp16"], "auto"),
    ],
)
def test_choices_are_names(definitions, name, options, default):
    assert definitions[name].usesStaticStrings()
    assert definitions[name].defaultValue() == default
    assert options is None or definitions[name].options() == options


def test_default_model_is_the_official_one_last_used_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("GEO_SAM2_HOME", str(tmp_path))
    assert settings.default_model() == "demo"
    settings.remember_model("small")
    settings.remember_model("demo")  # is no choice to come back to
    assert settings.default_model() == "demo"
    (tmp_path / "models").mkdir()
    for name, size in (("sam2.1_hiera_tiny.pt", 156008466), ("sam2.1_hiera_small.pt", 184416285)):
        with (tmp_path / "models" / name).open("wb") as file:
            file.truncate(size)
    assert settings.default_model() == "small"
    algorithm = EncodeAlgorithm().create()
    assert algorithm.parameterDefinition("MODEL").defaultValue() == "small"
    QgsSettings().remove("geo_sam2/last_model")
    assert settings.default_model() == "tiny"


def test_help_icon_and_names():
    algorithm = EncodeAlgorithm().create()
    assert algorithm.name() == "encode"
    assert "feature store" in algorithm.shortHelpString()
    assert not algorithm.icon().pixmap(24, 24).toImage().isNull()
    outputs = {item.name(): item for item in algorithm.outputDefinitions()}
    assert isinstance(outputs["OUTPUT"], QgsProcessingOutputFolder)
    assert {"TILES", "TILES_ENCODED", "TILES_EMPTY", "TILES_FAILED", "TILES_LEFT", "IS_PARTIAL"} < set(
        outputs
    )


def test_outputs_say_what_was_done(fake_engine, tmp_path):
    raster = write_raster(tmp_path / "lake.tif", noise(1100, 90))
    results, is_ok, feedback = encode(raster)
    assert is_ok
    seconds = results.pop("SECONDS")
    assert seconds > 0
    assert results == {
        "OUTPUT": str(tmp_path / "lake.demo.geosam2"),
        "TILES": 2,
        "TILES_ENCODED": 2,
        "TILES_EMPTY": 0,
        "TILES_FAILED": 0,
        "TILES_LEFT": 0,
        "IS_PARTIAL": False,
    }
    assert feedback.percents[0] == 0
    assert feedback.percents[-1] == 100
    assert sorted(feedback.percents) == feedback.percents


def test_bands_are_those_asked_for_in_their_order(fake_engine, tmp_path):
    pixels = noise(50, 40, bands=5)
    raster = write_raster(tmp_path / "five.tif", pixels)
    for bands, seen in (
        ([5, 1, 3], [4, 0, 2]),
        ([2], [1, 1, 1]),
        (["4", "2"], [3, 1, 3]),
        ("3;4;5", [2, 3, 4]),
    ):
        results, is_ok, feedback = encode(raster, BANDS=bands)
        assert is_ok, feedback.errors
        np.testing.assert_array_equal(arrived(results["OUTPUT"])[0, 0], pixels[seen].transpose(1, 2, 0))
    stores = sorted(path.name for path in tmp_path.glob("*.geosam2"))
    assert stores == [f"five.demo.b{name}.geosam2" for name in ("2", "3-4-5", "4-2", "5-1-3")]


def test_bands_without_a_choice_are_those_that_the_layer_shows(fake_engine, tmp_path):
    pixels = noise(50, 40, bands=5)
    raster = write_raster(tmp_path / "five.tif", pixels)
    layer = QgsRasterLayer(str(raster), "five")
    provider = layer.dataProvider()
    for renderer, seen in (
        (QgsMultiBandColorRenderer(provider, 4, 3, 2), [3, 2, 1]),
        (QgsSingleBandGrayRenderer(provider, 5), [4, 4, 4]),
        (QgsMultiBandColorRenderer(provider, 2, 2, 2), [1, 1, 1]),
    ):
        layer.setRenderer(renderer)
        results, is_ok, feedback = encode(layer)
        assert is_ok, feedback.errors
        np.testing.assert_array_equal(arrived(results["OUTPUT"])[0, 0], pixels[seen].transpose(1, 2, 0))


def test_range_is_honoured(fake_engine, tmp_path):
    values = np.arange(4000, dtype=np.uint16).reshape(1, 40, 100)
    raster = write_raster(tmp_path / "ramp.tif", values)
    results, _, _ = encode(raster, RANGE="1000,2000")
    wanted = np.rint((values[0].clip(1000, 2000) - 1000.0) * 0.255)
    np.testing.assert_array_equal(arrived(results["OUTPUT"])[0, 0][..., 0], wanted)


def test_crs_and_resolution_are_honoured(fake_engine, tmp_path):
    raster = write_raster(tmp_path / "lake.tif", noise(600, 500))
    encode(raster, CRS="EPSG:3035", RESOLUTION="4.5", OUTPUT=str(tmp_path / "s"))
    grid = FeatureStore.open(tmp_path / "s").manifest.source.grid
    assert grid.crs_authid == "EPSG:3035"
    assert grid.pixel_size() == pytest.approx((4.5, 4.5))


def test_model_device_and_precision_reach_the_engine(fake_engine, tmp_path):
    raster = write_raster(tmp_path / "lake.tif", noise(40, 40))
    weights = shutil.copy(DEMO_FOLDER / "demo.safetensors", tmp_path / "mine.safetensors")
    results, is_ok, feedback = encode(
        raster, MODEL="tiny", CHECKPOINT=str(weights), DEVICE="cuda:1", PRECISION="fp16"
    )
    assert is_ok, feedback.errors
    line = next(line for line in fake_engine.read_text().splitlines() if line.startswith("model"))
    assert json.loads(line.partition(" ")[2]) == {
        "checkpoint": str(weights),
        "device": "cuda:1",
        "precision": "fp16",
    }
    assert Path(results["OUTPUT"]).name.startswith("lake.tiny-")
    assert any("in fp16" in text for text in feedback.lines)


def test_official_model_is_found_by_its_name(fake_engine, tmp_path, monkeypatch):
    monkeypatch.setenv("GEO_SAM2_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    file = tmp_path / "home" / "models" / "sam2.1_hiera_tiny.pt"
    shutil.copy(DEMO_FOLDER / "demo.safetensors", file)
    raster = write_raster(tmp_path / "lake.tif", noise(40, 40))
    assert encode(raster, MODEL="tiny")[1]
    assert f'"checkpoint": "{file}"' in fake_engine.read_text()


def test_batches_are_as_large_as_asked_for(fake_engine, tmp_path, monkeypatch):
    from geo_sam2.runtime.engine_client import EngineClient

    sizes = []
    request = EngineClient.request

    def watched(self, fields, arrays=None, **options):
        if fields["type"] == "encode":
            sizes.append(len(fields["tiles"]))
        return request(self, fields, arrays, **options)

    monkeypatch.setattr(EngineClient, "request", watched)
    raster = write_raster(tmp_path / "lake.tif", noise(7 * 1024, 20))
    encode(raster, BATCH_SIZE=3)
    assert sizes == [3, 3, 1]
    assert set(encoded_windows(fake_engine).values()) == {1}


def test_load_without_a_desktop_says_that_it_does_nothing(fake_engine, tmp_path, monkeypatch):
    monkeypatch.setattr("qgis.utils.iface", None)
    raster = write_raster(tmp_path / "lake.tif", noise(40, 40))
    _, _, feedback = encode(raster, LOAD=True)
    assert "LOAD has no effect here: there is no desktop to show the store in." in feedback.lines
    _, _, feedback = encode(raster, LOAD=False)
    assert not any("LOAD" in line for line in feedback.lines)


def test_load_shows_the_tile_index_once(fake_engine, tmp_path, qgis_iface, qgis_new_project, monkeypatch):
    monkeypatch.setattr("qgis.utils.iface", qgis_iface)
    raster = write_raster(tmp_path / "lake.tif", noise(1100, 40))
    _, _, feedback = encode(raster, LOAD=True)
    encode(raster, LOAD=True)
    layers = list(QgsProject.instance().mapLayers().values())
    assert [layer.name() for layer in layers] == ["lake.demo tiles"]
    assert [feature["state"] for feature in layers[0].getFeatures()] == ["done", "done"]
    assert layers[0].extent().width() == pytest.approx(2200)
    assert [node.layer() for node in QgsProject.instance().layerTreeRoot().findLayers()] == layers
    assert any("shown as the layer “lake.demo tiles”" in line for line in feedback.lines)


def test_tile_index_does_not_become_the_current_layer(
    fake_engine, tmp_path, qgis_iface, qgis_new_project, monkeypatch
):
    """Processing would offer it as the prompts of the next run."""
    monkeypatch.setattr("qgis.utils.iface", qgis_iface)
    taken_as_current = []
    QgsProject.instance().legendLayersAdded.connect(taken_as_current.extend)
    try:
        encode(write_raster(tmp_path / "lake.tif", noise(40, 40)), LOAD=True)
    finally:
        QgsProject.instance().legendLayersAdded.disconnect()
    assert len(QgsProject.instance().mapLayers()) == 1
    assert not taken_as_current


def test_only_tiles_that_cannot_be_used_are_tinted(
    fake_engine, tmp_path, qgis_iface, qgis_new_project, monkeypatch
):
    monkeypatch.setattr("qgis.utils.iface", qgis_iface)
    encode(write_raster(tmp_path / "lake.tif", noise(40, 40)), LOAD=True)
    (layer,) = QgsProject.instance().mapLayers().values()
    tints = {
        category.value(): category.symbol().symbolLayer(0).color().alpha()
        for category in layer.renderer().categories()
    }
    assert {state for state, alpha in tints.items() if alpha} == {"empty", "pending", "failed"}


def test_load_hands_the_store_to_whoever_registered(fake_engine, tmp_path, qgis_iface, monkeypatch):
    monkeypatch.setattr("qgis.utils.iface", qgis_iface)
    opened = []

    def opener(folder):
        opened.append(folder)
        return "Opened in the dock."

    store_loading.register_opener(opener)
    try:
        raster = write_raster(tmp_path / "lake.tif", noise(40, 40))
        _, _, feedback = encode(raster, LOAD=True)
    finally:
        store_loading.unregister_opener(opener)
    assert opened == [tmp_path / "lake.demo.geosam2"]
    assert "Opened in the dock." in feedback.lines


def test_layer_that_was_given_another_crs_is_warned_of(fake_engine, tmp_path):
    from qgis.core import QgsCoordinateReferenceSystem

    layer = QgsRasterLayer(str(write_raster(tmp_path / "lake.tif", noise(40, 40))), "lake")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    _, _, feedback = encode(layer)
    assert any("EPSG:32632; the raster says EPSG:32633" in warning for warning in feedback.warnings)


def test_raster_in_processings_temporary_folder_gets_a_store_that_stays(fake_engine, tmp_path):
    from qgis.core import QgsProcessingUtils

    raster = write_raster(Path(QgsProcessingUtils.tempFolder()) / "step_1.tif", noise(40, 40))
    settings.set_stores_folder(tmp_path / "stores")
    try:
        results, is_ok, feedback = encode(raster)
    finally:
        settings.set_stores_folder(None)
    assert is_ok, feedback.errors
    assert Path(results["OUTPUT"]).parent == tmp_path / "stores"


def test_task_encodes_off_the_main_thread_and_loads_on_it(
    fake_engine, tmp_path, qtbot, qgis_iface, qgis_new_project, monkeypatch
):
    monkeypatch.setattr("qgis.utils.iface", qgis_iface)
    threads = {}
    plan = EncodeJob.plan

    def watched_plan(self, ring=None):
        threads["encode"] = threading.current_thread()
        return plan(self, ring)

    def opener(_):
        threads["load"] = threading.current_thread()
        return "Opened."

    monkeypatch.setattr(EncodeJob, "plan", watched_plan)
    layer = QgsRasterLayer(str(write_raster(tmp_path / "lake.tif", noise(1100, 40))), "lake")
    QgsProject.instance().addMapLayer(layer)
    context, feedback = QgsProcessingContext(), Feedback()
    context.setProject(QgsProject.instance())
    algorithm = EncodeAlgorithm().create()
    parameters = {"INPUT": layer.id(), "MODEL": "demo", "LOAD": True}
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    store_loading.register_opener(opener)
    try:
        with qtbot.waitSignal(task.executed, timeout=60_000) as executed:
            QgsApplication.taskManager().addTask(task)
            # The project may change while the task runs: it has copies.
            QgsProject.instance().removeAllMapLayers()
    finally:
        store_loading.unregister_opener(opener)
    is_ok, results = executed.args
    assert is_ok, feedback.errors
    assert results["TILES_ENCODED"] == 2
    assert threads["load"] is threading.main_thread()
    assert threads["encode"] is not threading.main_thread()

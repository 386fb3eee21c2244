# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything done in the wrong order, and things taken away under the dock's hands: a sentence, no loss."""

from __future__ import annotations

import shutil

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt

from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.dock_view import Level, Mend
from tests.qgis.canvas_hand import RIGHT
from tests.qgis.docks import HOUSE, SHED, dock_scene, scene_raster, square_of
from tests.qgis.outputs import memory_layer


@pytest.fixture
def scene(qgis_app, fake_engine, tmp_path):
    with dock_scene() as scene:
        scene.path = scene_raster(tmp_path / "scene.tif")
        yield scene


@pytest.fixture
def picked(scene):
    scene.raster = scene.add_raster(scene.path)
    scene.pick(scene.raster)
    return scene


def test_empty_project_is_told_how_to_begin(scene):
    assert scene.view.notice.mend is Mend.ADD_RASTER
    assert not scene.view.object.can_segment


def test_every_wish_without_an_image_is_a_sentence_or_nothing(scene):
    controller, hands = scene.controller, scene.controller.hands
    controller.tools.segment()
    scene.hand.click(100, 100)
    assert "Choose an image first" in scene.view.object.status
    scene.hand.drag((10, 10), (90, 90))
    scene.hand.move(50, 50)
    assert not controller.accept()
    assert not controller.objects.accept_double_click()
    for wish in (
        hands.undo,
        hands.redo,
        hands.clear,
        controller.encode_view,
        controller.encode_all,
        controller.undo_saved,
        controller.zoom_to_saved,
        controller.commit,
        controller.new_store,
        controller.mend,
        controller.decline,
        controller.reset,
    ):
        wish()
    hands.choose_candidate(2)
    hands.step_mask(1)
    hands.remove(7)
    controller.pause(True)
    controller.pause(False)
    controller.classes.remove(3)
    controller.classes.choose_by_key(9)
    controller.choose_model("demo")
    controller.choose_resolution(4)
    controller.set_shape(ShapeOptions(simplify_px=3))
    assert not scene.view.object.is_open


def test_output_chosen_before_the_image_is_saved_into(scene):
    layer = memory_layer()
    QgsProject.instance().addMapLayer(layer)
    scene.controller.set_output(layer)
    scene.controller.set_segmenting(True)
    scene.pick(scene.add_raster(scene.path))
    scene.make_object(HOUSE)
    (feature,) = layer.getFeatures()
    assert square_of(feature.geometry()) == HOUSE


def test_click_before_stores_are_known_is_no_prompt_and_says_so(scene):
    scene.controller.set_raster(scene.add_raster(scene.path))
    assert scene.view.imagery.is_looking
    scene.click(HOUSE)
    assert not scene.view.object.is_open
    assert "moment" in scene.view.object.status


def test_background_click_first_waits_for_the_object(picked):
    picked.click(SHED, RIGHT)
    assert "on the object itself" in picked.view.object.status
    picked.click(HOUSE)
    picked.wait_for_outline()
    assert square_of(picked.controller.prompting.shown.geometry) == HOUSE


def test_click_beside_the_image_is_told_and_can_be_undone(picked):
    picked.look_at(300, 500)
    place = picked.at(300, 450)
    picked.hand.click(place.x(), place.y())
    assert "outside" in picked.view.object.status
    picked.hand.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not picked.view.object.is_open


def test_double_click_saves_what_was_shown_before_its_presses(picked):
    picked.click(HOUSE)
    picked.wait_for_outline()
    place = picked.at(330, 110)  # in the shed
    picked.hand.double_click(place.x(), place.y())
    (feature,) = picked.controller.saving.layer.getFeatures()
    assert square_of(feature.geometry()) == HOUSE
    assert feature["prompts"].count("foreground") == 1
    assert not picked.view.object.is_open


def test_double_click_on_nothing_saves_nothing_and_leaves_no_prompt(picked):
    place = picked.at(140, 130)
    picked.hand.double_click(place.x(), place.y())
    assert picked.controller.saving.layer is None
    assert not picked.view.object.is_open
    assert "double-click" in picked.view.object.status


def test_enter_before_the_answer_saves_nothing(picked):
    picked.click(HOUSE)
    assert not picked.controller.accept()
    assert "Not saved" in picked.view.object.status
    picked.wait_for_outline()
    assert picked.controller.accept()


def test_removed_raster_is_a_sentence_and_its_prompts_come_back_with_it(picked):
    picked.click(HOUSE)
    picked.wait_for_outline()
    QgsProject.instance().removeMapLayer(picked.raster.id())
    assert "was removed" in picked.view.notice.text
    assert picked.view.imagery.raster_id == ""
    assert not picked.view.object.can_segment
    picked.controller.decline()
    picked.controller.mend()
    picked.pick(picked.add_raster(picked.path, "again"))
    picked.wait_for_outline()
    assert square_of(picked.controller.prompting.shown.geometry) == HOUSE


def test_other_raster_in_between_loses_no_prompts(picked, tmp_path):
    picked.click(HOUSE)
    picked.wait_for_outline()
    other = picked.add_raster(scene_raster(tmp_path / "other.tif", 700, 500))
    picked.pick(other)
    assert not picked.view.object.is_open
    picked.pick(picked.raster)
    picked.wait_for_outline()
    assert len(picked.session.state.prompts) == 1


def test_removed_output_is_a_sentence_and_the_object_is_kept(picked):
    layer = memory_layer()
    QgsProject.instance().addMapLayer(layer)
    picked.controller.set_output(layer)
    picked.click(HOUSE)
    picked.wait_for_outline()
    QgsProject.instance().removeMapLayer(layer.id())
    assert "was removed" in picked.view.notice.text
    assert picked.view.notice.mend is Mend.NEW_OUTPUT
    picked.wait_for_outline()
    assert picked.controller.accept()
    assert picked.controller.saving.layer.featureCount() == 1


def test_other_project_is_survived_and_begins_anew(picked):
    picked.click(HOUSE)
    picked.wait_for_outline()
    picked.controller.classes.add()
    QgsProject.instance().clear()
    assert picked.view.imagery.raster_id == ""
    picked.pick(picked.add_raster(picked.path))
    picked.wait_for_outline()
    assert picked.controller.accept()


def test_vanished_store_is_a_sentence_and_the_prompts_are_kept(picked):
    picked.make_object(HOUSE)
    shutil.rmtree(picked.controller.ground.imagery.store.folder)
    picked.click(SHED)
    picked.wait(lambda: picked.view.notice is not None and picked.view.notice.level is Level.ERROR)
    assert len(picked.session.state.prompts) == 1


def test_read_only_output_is_said_before_anything_is_saved(picked):
    layer = memory_layer()
    layer.setReadOnly(True)
    QgsProject.instance().addMapLayer(layer)
    picked.controller.set_output(layer)
    assert "read-only" in picked.view.output.problem
    picked.click(HOUSE)
    picked.wait_for_outline()
    assert not picked.controller.accept()
    assert picked.view.object.is_open
    assert layer.featureCount() == 0


def test_file_that_is_no_layer_is_refused_as_output(picked, tmp_path):
    (tmp_path / "notes.gpkg").write_text("no layer")
    picked.controller.load_output(tmp_path / "notes.gpkg")
    assert "cannot be opened" in picked.view.notice.text
    assert picked.controller.saving.layer is None


def test_service_layer_is_refused_with_the_way_out(scene):
    layer = QgsRasterLayer("type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png", "service", "wms")
    QgsProject.instance().addMapLayer(layer)
    scene.controller.set_raster(layer)
    assert "service" in scene.view.notice.text
    assert not scene.view.object.can_segment


def test_folder_that_is_no_store_is_a_sentence_and_the_image_stays(picked, tmp_path):
    picked.controller.open_store(tmp_path)
    picked.wait(lambda: picked.view.notice is not None and picked.view.notice.level is Level.ERROR)
    assert "no feature store" in picked.view.notice.text
    assert picked.view.object.can_segment


def test_layers_project_and_store_may_have_three_crs(qgis_app, fake_engine, tmp_path):
    with dock_scene("EPSG:3857") as scene:
        QgsProject.instance().setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        scene.canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        raster = scene.add_raster(scene_raster(tmp_path / "scene.tif"))
        layer = memory_layer(crs="EPSG:4326")
        QgsProject.instance().addMapLayer(layer)
        scene.controller.set_output(layer)
        scene.pick(raster)
        extent = scene.canvas.mapSettings().layerExtentToOutputExtent(raster, raster.extent())
        scene.canvas.setExtent(extent)
        scene.make_object(HOUSE)
        (feature,) = layer.getFeatures()
        box = feature.geometry().boundingBox()
        assert -112 < box.xMinimum() < -109
        assert QgsProject.instance().crs().authid() == "EPSG:3857"
        scene.controller.zoom_to_saved()
        assert scene.canvas.extent().width() < extent.width()
        assert scene.canvas.mapSettings().destinationCrs().authid() == "EPSG:3857"


def test_classes_are_named_coloured_chosen_by_keys_and_saved(picked):
    classes = picked.controller.classes
    classes.add()
    classes.rename(0, "roof")
    classes.add()
    classes.rename(1, "roof")  # taken
    assert [entry.name for entry in picked.view.output.classes] == ["roof", "Class"]
    assert "roof" in picked.view.notice.text
    picked.hand.key(Qt.Key.Key_1)
    assert picked.view.output.class_index == 0
    picked.make_object(HOUSE)
    (feature,) = picked.controller.saving.layer.getFeatures()
    assert feature["class"] == "roof"


def test_shape_changes_the_outline_without_new_prompts(picked):
    picked.click(HOUSE)
    picked.wait_for_outline()
    picked.controller.set_shape(ShapeOptions(min_area_px2=1e6))
    picked.wait(lambda: picked.session.result is not None or not picked.view.object.is_busy)
    assert picked.controller.prompting.shape.min_area_px2 == 1e6
    assert len(picked.session.state.prompts) == 1


def choose(combo, layer):
    """Choose an entry as a person does."""
    combo.setLayer(layer)
    if layer is None:
        combo.setCurrentIndex(0)
    combo.activated[int].emit(combo.currentIndex())


def test_layers_are_chosen_in_the_combos(scene):
    panel = scene.dock.contents.startPanel
    raster, layer = scene.add_raster(scene.path), memory_layer()
    QgsProject.instance().addMapLayer(layer)
    choose(panel.rasterCombo, raster)
    choose(panel.outputCombo, layer)
    assert scene.controller.ground.imagery.layer is raster
    assert scene.controller.saving.layer is layer
    choose(panel.outputCombo, None)
    assert scene.controller.saving.layer is None
    choose(panel.rasterCombo, None)
    assert scene.controller.ground.imagery.layer is None


def test_layer_that_is_chosen_elsewhere_shows_in_the_combos(scene):
    panel = scene.dock.contents.startPanel
    raster, layer = scene.add_raster(scene.path), memory_layer()
    QgsProject.instance().addMapLayer(layer)
    scene.pick(raster)
    scene.controller.set_output(layer)
    scene.wait(lambda: panel.outputCombo.currentLayer() is layer)
    assert panel.rasterCombo.currentLayer() is raster

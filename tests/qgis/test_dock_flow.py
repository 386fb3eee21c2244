# SPDX-License-Identifier: GPL-3.0-or-later
"""From an image to polygons in a layer, by the dock alone, with hands on the canvas."""

from __future__ import annotations

import pytest
from qgis.core import QgsProject
from qgis.PyQt.QtCore import Qt

from tests.qgis.canvas_hand import RIGHT
from tests.qgis.docks import HOUSE, SHED, dock_scene, scene_raster, square_of


@pytest.fixture
def scene(qgis_app, fake_engine, tmp_path):
    with dock_scene() as scene:
        scene.raster = scene.add_raster(scene_raster(tmp_path / "scene.tif"))
        yield scene


def test_click_becomes_a_polygon_in_a_new_layer_beside_the_image(scene, tmp_path):
    scene.pick(scene.raster)
    assert scene.view.object.is_tool_active
    scene.click(HOUSE)
    scene.wait_for_outline()
    assert square_of(scene.controller.prompting.shown.geometry) == HOUSE
    scene.hand.key(Qt.Key.Key_Return)
    layer = scene.controller.saving.layer
    assert layer.source().partition("|")[0] == str(tmp_path / "scene_objects.gpkg")
    assert QgsProject.instance().mapLayer(layer.id()) is layer
    (feature,) = layer.getFeatures()
    assert square_of(feature.geometry()) == HOUSE
    assert feature["model"] == "demo"
    assert feature["store_id"] == scene.controller.ground.imagery.store.store.manifest.uuid
    assert not scene.view.object.is_open


def test_second_object_goes_into_the_same_layer_and_can_be_taken_back(scene):
    scene.pick(scene.raster)
    scene.make_object(HOUSE)
    scene.make_object(SHED)
    layer = scene.controller.saving.layer
    assert sorted(square_of(feature.geometry()) for feature in layer.getFeatures()) == [HOUSE, SHED]
    scene.controller.undo_saved()
    assert [square_of(feature.geometry()) for feature in layer.getFeatures()] == [HOUSE]


def test_candidates_are_offered_best_first_and_chosen_by_button(scene):
    scene.pick(scene.raster)
    scene.click(HOUSE)
    scene.wait_for_outline()
    scores = [candidate.score for candidate in scene.view.object.candidates]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    scene.dock.show_view(scene.view)
    scene.dock.contents.objectPanel.candidateButton2.click()
    scene.wait(lambda: scene.session.state.mask == 2 and scene.view.object.can_accept)
    assert [candidate.is_chosen for candidate in scene.view.object.candidates] == [False, False, True]


def test_right_click_subtracts_and_undo_brings_the_outline_back_at_once(scene):
    scene.pick(scene.raster)
    scene.click(HOUSE)
    scene.wait_for_outline()
    place = scene.at(10, 10)
    scene.hand.click(place.x(), place.y(), RIGHT)
    scene.wait(lambda: scene.view.object.can_accept and len(scene.session.state.prompts) == 2)
    scene.controller.hands.undo()
    scene.wait_for_outline()
    assert len(scene.session.state.prompts) == 1
    assert square_of(scene.controller.prompting.shown.geometry) == HOUSE

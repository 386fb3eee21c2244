# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved objects opened again, and objects that a crash left uncommitted."""

from __future__ import annotations

import json

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsProject
from qgis.PyQt.QtCore import Qt

from geo_sam2 import settings
from geo_sam2.segmentation.journal import Journal, JournaledLayer
from geo_sam2.segmentation.output_feature import SavedObject
from geo_sam2.segmentation.output_journal import _journaled
from geo_sam2.segmentation.output_layer import AcceptedObject
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.dock_view import Mend
from tests.qgis.canvas_hand import RIGHT
from tests.qgis.docks import HOUSE, SHED, dock_scene, scene_raster, square_of
from tests.qgis.outputs import file_layer, memory_layer, saved, square


@pytest.fixture
def scene(qgis_app, fake_engine, tmp_path):
    with dock_scene() as scene:
        scene.raster = scene.add_raster(scene_raster(tmp_path / "scene.tif"))
        scene.pick(scene.raster)
        yield scene


def middle(scene, square):
    """Return the map point in the middle of a square."""
    return QgsPointXY(528000 + (square[0] + square[2]) / 4, 4978000 - (square[1] + square[3]) / 4)


def reopen(scene, square):
    scene.controller.set_reopening(True)
    scene.click(square)


def test_reopened_polygon_has_its_prompts_outline_and_settings_and_is_updated(scene):
    scene.controller.set_shape(ShapeOptions(style="pixel"))
    scene.make_object(HOUSE)
    layer = scene.controller.saving.layer
    before = next(layer.getFeatures())
    outline = before.geometry().asWkt()
    scene.controller.set_shape(ShapeOptions())
    reopen(scene, HOUSE)
    scene.wait_for_outline()
    assert scene.view.object.is_reopened
    assert scene.view.object.is_tool_active
    assert scene.view.shape.style == "pixel"
    assert scene.controller.prompting.shown.geometry.asWkt() == outline
    assert not scene.controller.has_unsaved_object
    scene.click(SHED)
    scene.wait(lambda: scene.view.object.can_accept and len(scene.session.state.prompts) == 2)
    assert scene.controller.has_unsaved_object
    assert scene.controller.accept()
    (feature,) = layer.getFeatures()
    assert feature.id() == before.id()
    assert len(json.loads(feature["prompts"])["prompts"]) == 2
    assert not scene.view.object.is_reopened
    assert scene.view.shape == ShapeOptions()  # the person's own are back


def test_new_object_after_a_cleared_correction_is_a_new_feature(scene):
    scene.make_object(HOUSE)
    reopen(scene, HOUSE)
    scene.wait_for_outline()
    scene.hand.key(Qt.Key.Key_Escape)
    assert not scene.view.object.is_open
    scene.make_object(SHED)
    layer = scene.controller.saving.layer
    assert sorted(square_of(feature.geometry()) for feature in layer.getFeatures()) == [HOUSE, SHED]


def test_cleared_correction_that_is_undone_still_updates_its_feature(scene):
    scene.make_object(HOUSE)
    reopen(scene, HOUSE)
    scene.wait_for_outline()
    scene.controller.hands.clear()
    scene.controller.hands.undo()
    scene.wait_for_outline()
    assert scene.controller.accept()
    assert scene.controller.saving.layer.featureCount() == 1


@pytest.mark.parametrize("has_layer", [False, True])
def test_reopening_where_nothing_can_be_is_a_sentence(scene, has_layer):
    if has_layer:
        layer = memory_layer()
        QgsProject.instance().addMapLayer(layer)
        scene.controller.set_output(layer)
    reopen(scene, SHED)
    notice = scene.view.notice
    said = notice.text if notice is not None else scene.view.object.status
    assert "no output layer" in said or "no polygon" in scene.view.object.status


def test_polygon_without_prompts_cannot_be_reopened_and_says_why(scene):
    layer = memory_layer()
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    from qgis.core import QgsFeature, QgsGeometry

    feature = QgsFeature(layer.fields())
    point = middle(scene, SHED)
    feature.setGeometry(QgsGeometry.fromPointXY(point).buffer(20, 2))
    layer.addFeature(feature)
    layer.commitChanges()
    scene.controller.set_output(layer)
    reopen(scene, SHED)
    assert "keeps no prompts" in scene.view.notice.text


def test_open_object_is_not_lost_to_the_reopen_tool(scene):
    scene.make_object(HOUSE)
    scene.click(SHED)
    scene.wait_for_outline()
    reopen(scene, HOUSE)
    assert "first" in scene.view.object.status
    assert len(scene.session.state.prompts) == 1


def test_reopened_polygon_opens_its_own_store(scene, tmp_path):
    scene.make_object(HOUSE)
    first = scene.view.imagery.store
    scene.controller.new_store()
    scene.controller.choose_resolution(2)
    scene.click(HOUSE)
    scene.wait_for_outline()
    assert scene.view.imagery.store != first
    scene.controller.discard()
    reopen(scene, HOUSE)
    scene.wait_for_outline()
    assert scene.view.imagery.store == first
    assert square_of(scene.controller.prompting.shown.geometry) == HOUSE


def leave_journal(layer, count):
    """Write what a QGIS leaves that accepted so many objects and was killed; its process is gone."""
    journal = Journal(settings.home(), JournaledLayer(layer.id(), layer.name(), layer.source(), "ogr"))
    for number in range(1, count + 1):
        item = saved(square(528000 + 20 * number, 4977900))
        assert isinstance(item, SavedObject)
        journal.write_saved(_journaled(AcceptedObject(number, item), 0))
    journal.close()
    path = journal.path
    lines = path.read_text().splitlines()
    header = json.loads(lines[0])
    header["holder"]["pid"] = 2**22 + 1  # above the largest that Linux gives
    path.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    return path


def test_objects_of_a_crash_are_offered_once_and_come_back(scene, tmp_path):
    layer = file_layer(tmp_path / "kept.gpkg")
    path = leave_journal(layer, 20)
    scene.controller.set_shown(False)
    scene.controller.set_shown(True)
    scene.wait(lambda: scene.view.notice is not None and scene.view.notice.mend is Mend.RESTORE_JOURNAL)
    assert "20 objects" in scene.view.notice.text
    scene.dock.show_view(scene.view)
    scene.dock.contents.noticeBar.mendButton.click()
    assert scene.controller.saving.layer.featureCount() == 20
    assert not path.exists()
    assert scene.view.notice is None or scene.view.notice.mend is not Mend.RESTORE_JOURNAL


def test_objects_of_a_crash_that_are_not_wanted_are_forgotten(scene, tmp_path):
    path = leave_journal(file_layer(tmp_path / "kept.gpkg"), 1)
    scene.controller.journal.look()
    scene.wait(lambda: scene.view.notice is not None and scene.view.notice.mend is Mend.RESTORE_JOURNAL)
    scene.controller.decline()
    assert not path.exists()
    assert scene.controller.saving.layer is None


def test_accepted_objects_are_written_to_the_file_by_the_button(scene):
    scene.make_object(HOUSE)
    assert "1 not committed" in scene.view.output.text
    assert scene.view.output.can_commit
    scene.controller.commit()
    layer = scene.controller.saving.layer
    assert layer.dataProvider().featureCount() == 1
    assert not scene.view.output.can_commit


def test_session_that_the_user_began_is_not_committed_by_the_dock(scene):
    layer = memory_layer()
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    scene.controller.set_output(layer)
    scene.make_object(HOUSE)
    assert not scene.view.output.can_commit
    scene.controller.commit()
    assert layer.isEditable()
    assert layer.dataProvider().featureCount() == 0


def test_background_prompts_and_boxes_come_back_too(scene):
    start, end = scene.at(HOUSE[0] - 10, HOUSE[1] - 10), scene.at(HOUSE[2] + 10, HOUSE[3] + 10)
    scene.hand.drag((start.x(), start.y()), (end.x(), end.y()))
    scene.click(SHED, RIGHT)
    scene.wait_for_outline()
    state = scene.session.state
    assert scene.controller.accept()
    reopen(scene, HOUSE)
    scene.wait_for_outline()
    again = scene.session.state
    assert [type(prompt) for prompt in again.prompts] == [type(prompt) for prompt in state.prompts]
    assert again.numbered(range(2)).prompts == state.numbered(range(2)).prompts
    assert QgsCoordinateReferenceSystem("EPSG:32612") == scene.controller.prompting.shown.crs

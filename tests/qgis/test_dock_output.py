# SPDX-License-Identifier: GPL-3.0-or-later
"""Several output layers of one dock, their neighbours, and layers that go with objects in them."""

from __future__ import annotations

import pytest
from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRectangle

from geo_sam2 import engine_session, settings
from geo_sam2.segmentation import journal as journals
from geo_sam2.segmentation.journal import pending
from geo_sam2.ui.dock_view import Mend
from tests.qgis.docks import HOUSE, SHED, Scene, dock_scene, scene_raster, square_of
from tests.qgis.outputs import file_layer, memory_layer

AVOID = QgsProject.AvoidIntersectionsMode
LEFT_OF_HOUSE = (HOUSE[0], HOUSE[1], 140, HOUSE[3])


@pytest.fixture
def scene(qgis_app, fake_engine, tmp_path):
    with dock_scene() as scene:
        scene.pick(scene.add_raster(scene_raster(tmp_path / "scene.tif")))
        yield scene
        QgsProject.instance().setAvoidIntersectionsMode(AVOID.AllowIntersections)
        QgsProject.instance().setAvoidIntersectionsLayers([])


@pytest.fixture
def crashed(monkeypatch):
    """Return a function after which all processes count as dead, as after a crash."""
    return lambda: monkeypatch.setattr(journals.LockHolder, "is_alive", property(lambda _self: False))


def output(scene, layer):
    """Add a layer to the project and save into it."""
    QgsProject.instance().addMapLayer(layer)
    scene.controller.set_output(layer)
    return layer


def squares(layer):
    return sorted(square_of(feature.geometry()) for feature in layer.getFeatures())


def journal_files():
    folder = settings.home() / journals.FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []


def put_on_right_half(layer):
    """Digitize a neighbour over the right half of the house, as QGIS's own tools do."""
    feature = QgsFeature(layer.fields())
    left, top, right, bottom = 528000 + 70, 4978000 - 40, 528000 + 100, 4978000 - 90
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, bottom, right, top)))
    layer.startEditing()
    layer.beginEditCommand("Add neighbour")
    assert layer.addFeature(feature)
    layer.endEditCommand()
    return feature.id()


def shown(scene):
    """Return the bounds of the outline on the screen; None for nothing."""
    item = scene.controller.prompting.shown
    return None if item is None else square_of(item.geometry)


def show_house(scene):
    scene.click(HOUSE)
    scene.wait_for_outline()
    assert shown(scene) == HOUSE


# Several layers


def test_undo_of_a_layer_survives_the_choice_of_another_one(scene):
    first, second = memory_layer(), memory_layer()
    output(scene, first)
    scene.make_object(HOUSE)
    output(scene, second)
    assert not scene.view.output.can_undo
    scene.make_object(SHED)
    scene.controller.set_output(first)
    assert scene.view.output.can_undo
    assert "1 not committed" in scene.view.output.text
    scene.controller.undo_saved()
    assert (first.featureCount(), squares(second)) == (0, [SHED])


def test_session_begun_for_an_object_is_still_ours_when_its_layer_is_chosen_again(scene):
    layer = output(scene, memory_layer())
    scene.make_object(HOUSE)
    scene.controller.set_output(None)
    scene.controller.set_output(layer)
    assert scene.view.output.can_commit
    scene.controller.commit()
    assert layer.dataProvider().featureCount() == 1


def test_layer_that_is_committed_while_another_is_chosen_leaves_no_journal(scene, tmp_path, crashed):
    first, second = file_layer(tmp_path / "first.gpkg"), file_layer(tmp_path / "second.gpkg")
    output(scene, first)
    scene.make_object(HOUSE)
    output(scene, second)
    scene.make_object(SHED)
    assert len(journal_files()) == 2
    assert first.commitChanges()
    crashed()
    assert [found.layer.layer_id for found in pending(settings.home())] == [second.id()]


def test_object_that_is_undone_in_qgis_while_another_layer_is_chosen_is_not_offered(scene, crashed):
    first = output(scene, memory_layer())
    scene.make_object(HOUSE)
    output(scene, memory_layer())
    first.undoStack().undo()
    crashed()
    assert pending(settings.home()) == []


def test_session_that_holds_nothing_ends_when_another_layer_is_chosen(scene):
    first = output(scene, memory_layer())
    scene.make_object(HOUSE)
    scene.controller.undo_saved()
    assert first.isEditable()
    output(scene, memory_layer())
    assert not first.isEditable()


def test_layer_that_is_not_chosen_may_be_removed(scene):
    first, second = memory_layer(), memory_layer()
    output(scene, first)
    scene.make_object(HOUSE)
    output(scene, second)
    QgsProject.instance().removeMapLayer(first.id())
    assert scene.controller.saving.layer is second
    scene.make_object(SHED)
    assert squares(second) == [SHED]


def test_journal_of_an_unloaded_dock_is_taken_up_by_the_next_one(scene, tmp_path, crashed):
    layer = output(scene, file_layer(tmp_path / "kept.gpkg"))
    scene.make_object(HOUSE)
    output(scene, memory_layer())
    scene.controller.close()
    assert layer.isEditable()
    (file,) = journal_files()
    again = Scene(scene.canvas, engine_session.client)
    try:
        again.controller.set_output(layer)
        assert journal_files() == [file]
        assert layer.commitChanges()
        assert journal_files() == []
    finally:
        again.close()


# Neighbours


def test_neighbour_that_is_digitized_cuts_what_is_shown_and_saved(scene):
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AvoidIntersectionsCurrentLayer)
    layer = output(scene, memory_layer())
    show_house(scene)
    fid = put_on_right_half(layer)
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    layer.undoStack().undo()
    scene.wait(lambda: shown(scene) == HOUSE)
    layer.undoStack().redo()
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    was_shown = scene.controller.prompting.shown.geometry.asWkt()
    assert scene.controller.accept()
    (saved,) = [feature for feature in layer.getFeatures() if feature.id() != fid]
    assert saved.geometry().asWkt() == was_shown


def test_setting_of_the_project_cuts_what_is_shown(scene):
    layer = output(scene, memory_layer())
    put_on_right_half(layer)
    show_house(scene)
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AvoidIntersectionsCurrentLayer)
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AllowIntersections)
    scene.wait(lambda: shown(scene) == HOUSE)


def test_neighbour_in_another_layer_cuts_what_is_shown(scene):
    other = memory_layer()
    QgsProject.instance().addMapLayer(other)
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AvoidIntersectionsLayers)
    output(scene, memory_layer())
    show_house(scene)
    QgsProject.instance().setAvoidIntersectionsLayers([other])
    put_on_right_half(other)
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    other.rollBack()
    scene.wait(lambda: shown(scene) == HOUSE)
    put_on_right_half(other)
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    QgsProject.instance().removeMapLayer(other.id())
    scene.wait(lambda: shown(scene) == HOUSE)


def test_neighbour_that_comes_just_before_enter_saves_nothing_that_was_not_seen(scene):
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AvoidIntersectionsCurrentLayer)
    layer = output(scene, memory_layer())
    show_house(scene)
    put_on_right_half(layer)
    assert not scene.controller.accept()
    assert "Not saved" in scene.view.object.status
    assert layer.featureCount() == 1
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    assert scene.controller.accept()
    assert LEFT_OF_HOUSE in squares(layer)


def test_first_object_of_a_new_layer_is_seen_as_it_is_cut(scene):
    other = memory_layer()
    QgsProject.instance().addMapLayer(other)
    put_on_right_half(other)
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AvoidIntersectionsLayers)
    QgsProject.instance().setAvoidIntersectionsLayers([other])
    show_house(scene)  # there is no layer yet in which it could lie
    assert not scene.controller.accept()
    scene.wait(lambda: shown(scene) == LEFT_OF_HOUSE)
    assert scene.controller.accept()
    assert squares(scene.controller.saving.layer) == [LEFT_OF_HOUSE]


def test_reopened_object_is_not_cut_against_itself(scene):
    QgsProject.instance().setAvoidIntersectionsMode(AVOID.AvoidIntersectionsCurrentLayer)
    layer = output(scene, memory_layer(fields="class:string&prompts:string&outline:string"))
    scene.make_object(HOUSE)
    scene.controller.set_reopening(True)
    scene.click(HOUSE)
    scene.wait_for_outline()
    assert scene.controller.accept()
    assert squares(layer) == [HOUSE]


# Layers that go


@pytest.mark.parametrize("is_chosen", [True, False])
def test_layer_that_is_removed_with_objects_offers_them_at_once(scene, tmp_path, is_chosen):
    path = tmp_path / "kept.gpkg"
    layer = output(scene, file_layer(path))
    scene.make_object(HOUSE)
    if not is_chosen:
        output(scene, memory_layer())
    QgsProject.instance().removeMapLayer(layer.id())
    if is_chosen:
        assert "was removed" in scene.view.notice.text
        scene.controller.decline()
    scene.wait(lambda: scene.view.notice is not None and scene.view.notice.mend is Mend.RESTORE_JOURNAL)
    assert "1 object" in scene.view.notice.text
    scene.controller.mend()
    again = scene.controller.saving.layer
    assert again.source().partition("|")[0] == str(path)
    assert squares(again) == [HOUSE]
    assert len(journal_files()) == 1  # of the layer as it is now
    scene.controller.commit()
    assert journal_files() == []
    assert scene.controller.journal.text() == ""


def test_layer_that_is_removed_without_objects_offers_nothing(scene, tmp_path):
    layer = output(scene, file_layer(tmp_path / "kept.gpkg"))
    scene.make_object(HOUSE)
    scene.controller.commit()
    QgsProject.instance().removeMapLayer(layer.id())
    looked = []
    scene.controller.journal.changed.connect(lambda: looked.append(True))
    scene.wait(lambda: looked)
    assert scene.controller.journal.text() == ""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Saving objects into layers, and taking them back: commands, sessions, undo, what others do meanwhile."""

from __future__ import annotations

import pytest
from osgeo import ogr
from qgis.core import QgsFeature, QgsProject, QgsVectorLayer

from geo_sam2.errors import OutputError
from geo_sam2.segmentation.output_layer import OutputLayer
from tests.qgis.outputs import changed, file_layer, memory_layer, rows, saved, square, strict_layer


class Heard:
    """Keeps what an output layer says."""

    def __init__(self, output):
        self.facts = []
        output.object_accepted.connect(lambda item: self.facts.append(("accepted", item.number)))
        output.object_lost.connect(lambda number: self.facts.append(("lost", number)))
        output.object_back.connect(lambda number: self.facts.append(("back", number)))
        output.committed.connect(lambda: self.facts.append("committed"))
        output.rolled_back.connect(lambda: self.facts.append("rolled back"))
        output.removed.connect(lambda: self.facts.append("removed"))

    def take(self):
        facts, self.facts = self.facts, []
        return facts


@pytest.fixture
def project():
    project = QgsProject()
    yield project
    project.clear()


@pytest.fixture
def layer(tmp_path, project):
    layer = file_layer(tmp_path / "objects.gpkg")
    project.addMapLayer(layer)
    return layer


@pytest.fixture
def output(layer, project):
    return OutputLayer(layer, project)


def by_hand(layer, geometry):
    """Add a feature as a person would, as a command of its own."""
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    feature.setGeometry(geometry)
    layer.beginEditCommand("by hand")
    assert layer.addFeature(feature)
    layer.endEditCommand()
    return feature.id()


def test_object_is_saved_with_all_that_is_said_of_it(output, layer):
    report = output.save(saved(square(500000, 4000000)))
    (row,) = rows(layer)
    assert report.fids == (row["id"],)
    assert report.notes == ()
    assert row["geometry"].equals(square(500000, 4000000))
    assert report.geometry.equals(row["geometry"])
    assert {name: row[name] for name in ("class", "score", "stability", "model", "truncated")} == {
        "class": "roof",
        "score": 0.91,
        "stability": 0.95,
        "model": "demo",
        "truncated": False,
    }
    assert row["tile_ids"] == "0/0/0 0/1024/0"
    assert row["prompts"] == '{"version":1}'
    assert row["outline"] == '{"version":1,"threshold":0.0}'
    assert row["created"] == "2026-11-22T12:00:00.000Z"
    assert row["store_id"] == "0d5c7d66-7e0f-4f35-a2f0-2c1c0a7d9e5b"
    # The scale of UTM on its central meridian is 0.9996.
    assert row["area_m2"] == pytest.approx(100 / 0.9996**2, rel=1e-5)
    assert row["perimeter_m"] == pytest.approx(40 / 0.9996, rel=1e-5)


def test_each_object_is_one_command_and_nothing_is_committed(output, layer):
    for place in range(3):
        output.save(saved(square(500000 + 20 * place, 4000000)))
    assert layer.isEditable()
    assert output.is_session_ours
    assert layer.undoStack().count() == 3
    assert output.uncommitted == 3
    assert QgsVectorLayer(layer.source(), "again", "ogr").featureCount() == 0


def test_undo_takes_back_the_objects_one_by_one_and_then_nothing(output, layer):
    output.save(saved(square(500000, 4000000)))
    output.save(saved(square(500020, 4000000)))
    assert output.can_undo
    assert output.undo_last()
    assert [row["geometry"].boundingBox().xMinimum() for row in rows(layer)] == [500000]
    assert output.undo_last()
    assert rows(layer) == []
    assert not output.can_undo
    assert not output.undo_last()


def test_undo_leaves_an_edit_of_the_user_alone(output, layer):
    output.save(saved(square(500000, 4000000)))
    by_hand(layer, square(500020, 4000000))
    assert not output.can_undo
    assert not output.undo_last()
    assert len(rows(layer)) == 2
    layer.undoStack().undo()
    assert output.undo_last()
    assert rows(layer) == []


def test_an_edit_in_the_place_of_an_object_that_was_undone_is_not_taken_for_it(output, layer):
    output.save(saved(square(500000, 4000000)))
    layer.undoStack().undo()
    by_hand(layer, square(500020, 4000000))
    assert layer.undoStack().index() == 1
    assert not output.undo_last()
    assert len(rows(layer)) == 1


def test_undone_and_redone_in_qgis_it_can_be_undone_here(output, layer):
    heard = Heard(output)
    output.save(saved(square(500000, 4000000)))
    layer.undoStack().undo()
    assert output.uncommitted == 0
    layer.undoStack().redo()
    assert heard.take() == [("accepted", 1), ("lost", 1), ("back", 1)]
    assert output.uncommitted == 1
    assert output.undo_last()
    assert rows(layer) == []


def test_object_deleted_by_hand_is_lost_and_comes_back_by_undo(output, layer):
    heard = Heard(output)
    (fid,) = output.save(saved(square(500000, 4000000))).fids
    layer.deleteFeature(fid)
    assert heard.take() == [("accepted", 1), ("lost", 1)]
    assert not output.can_undo
    layer.undoStack().undo()
    assert heard.take() == [("back", 1)]


def test_session_of_the_user_is_never_committed(output, layer):
    layer.startEditing()
    output.save(saved(square(500000, 4000000)))
    assert not output.is_session_ours
    assert not output.commit()
    assert layer.isModified()


def test_session_begun_here_can_be_committed(output, layer):
    heard = Heard(output)
    output.save(saved(square(500000, 4000000)))
    heard.take()
    assert output.commit()
    assert heard.take() == ["committed"]
    assert not layer.isEditable()
    assert not output.is_session_ours
    assert output.uncommitted == 0
    assert not output.can_undo
    assert QgsVectorLayer(layer.source(), "again", "ogr").featureCount() == 1


def test_commit_that_goes_on_editing_forgets_what_is_in_the_source_now(output, layer):
    output.save(saved(square(500000, 4000000)))
    layer.commitChanges(False)
    assert layer.isEditable()
    assert not output.can_undo
    output.save(saved(square(500020, 4000000)))
    assert output.undo_last()
    assert len(rows(layer)) == 1


def test_rollback_discards_and_says_so(output, layer):
    heard = Heard(output)
    output.save(saved(square(500000, 4000000)))
    layer.rollBack()
    assert heard.take() == [("accepted", 1), "rolled back"]
    assert output.uncommitted == 0
    output.save(saved(square(500020, 4000000)))
    assert output.undo_last()


def test_failed_commit_leaves_objects_that_can_be_undone(qtbot, tmp_path, project):
    layer = strict_layer(tmp_path / "a.gpkg", ("owner", ogr.OFTString, {"SetNullable": 0}))
    project.addMapLayer(layer)
    output = OutputLayer(layer, project)
    heard = Heard(output)
    report = output.save(saved(square(500000, 4000000)))
    assert "owner must not be empty" in " ".join(report.notes)
    with pytest.raises(OutputError, match="cannot be saved"):
        output.commit()
    with qtbot.waitSignal(output.changed):
        pass
    assert heard.take() == [("accepted", 1)]
    assert output.uncommitted == 1
    assert output.undo_last()
    assert heard.take() == [("lost", 1)]


def test_a_failure_half_way_leaves_nothing(layer, project, monkeypatch):
    output = OutputLayer(layer, project)
    heard = Heard(output)
    real = QgsVectorLayer.addFeature
    calls = []

    def add(self, feature, *args):
        calls.append(feature)
        return real(self, feature, *args) and False

    monkeypatch.setattr(QgsVectorLayer, "addFeature", add)
    with pytest.raises(OutputError, match="does not take the object"):
        output.save(saved(square(500000, 4000000)))
    monkeypatch.undo()
    assert len(calls) == 1
    assert rows(layer) == []
    assert not layer.isEditable()
    assert layer.undoStack().count() == 0
    assert heard.take() == ["rolled back"]


def test_a_failure_keeps_what_the_session_held_before(output, layer, monkeypatch):
    output.save(saved(square(500000, 4000000)))
    monkeypatch.setattr(QgsVectorLayer, "addFeature", lambda *_: False)
    with pytest.raises(OutputError):
        output.save(saved(square(500020, 4000000)))
    monkeypatch.undo()
    assert len(rows(layer)) == 1
    assert output.undo_last()


def test_layer_removed_under_our_hands_is_said_so(output, layer, project):
    heard = Heard(output)
    output.save(saved(square(500000, 4000000)))
    project.removeMapLayer(layer.id())
    assert heard.take() == [("accepted", 1), "removed"]
    assert output.layer is None
    assert "was removed" in output.problem()
    assert not output.can_undo
    assert not output.undo_last()
    with pytest.raises(OutputError, match="was removed"):
        output.save(saved(square(500020, 4000000)))
    output.close()


def test_closing_ends_an_empty_session_that_was_begun_here(output, layer):
    output.save(saved(square(500000, 4000000)))
    output.undo_last()
    output.close()
    assert not layer.isEditable()


def test_empty_session_is_ended_only_if_it_was_begun_here(output, layer):
    output.save(saved(square(500000, 4000000)))
    output.end_empty_session()
    assert layer.isEditable()  # it holds an object
    output.undo_last()
    output.end_empty_session()
    assert not layer.isEditable()
    layer.startEditing()
    output.end_empty_session()
    assert layer.isEditable()
    output.save(saved(square(500000, 4000000)))
    assert output.undo_last()


def test_closing_keeps_what_is_in_the_buffer(output, layer):
    output.save(saved(square(500000, 4000000)))
    output.close()
    assert layer.isEditable()
    assert len(rows(layer)) == 1


@pytest.mark.parametrize(
    ("definition", "expected"), [("Point", "holds no polygons"), ("NoGeometry", "holds no polygons")]
)
def test_layers_without_polygons_are_refused(project, definition, expected):
    layer = memory_layer(definition)
    assert expected in OutputLayer(layer, project).problem()
    with pytest.raises(OutputError, match=expected):
        OutputLayer(layer, project).save(saved(square(0, 0)))


def test_read_only_layer_is_refused_until_it_is_none(output, layer):
    layer.setReadOnly(True)
    assert "read-only" in output.problem()
    with pytest.raises(OutputError, match="read-only"):
        output.save(saved(square(500000, 4000000)))
    layer.setReadOnly(False)
    assert output.problem() is None


def test_source_that_cannot_be_written_is_refused(tmp_path, project):
    path = tmp_path / "features.csv"
    path.write_text('id,wkt\n1,"Polygon((0 0, 1 0, 1 1, 0 0))"\n')
    layer = QgsVectorLayer(f"file://{path}?type=csv&wktField=wkt&geomType=polygon", "csv", "delimitedtext")
    assert layer.isValid()
    assert "cannot be written" in OutputLayer(layer, project).problem()


def test_replacing_updates_the_feature_as_one_command(output, layer):
    (fid,) = output.save(saved(square(500000, 4000000))).fids
    output.commit()
    (fid,) = [row["id"] for row in rows(layer)]
    report = output.replace(
        fid, saved(square(500000, 4000000, 20), class_name=None, score=0.5, prompts="{}", is_truncated=True)
    )
    assert report.fids == (fid,)
    (row,) = rows(layer)
    assert row["geometry"].equals(square(500000, 4000000, 20))
    assert (row["class"], row["score"], row["prompts"], row["truncated"]) == ("roof", 0.5, "{}", True)
    assert row["area_m2"] == pytest.approx(400 / 0.9996**2, rel=1e-5)
    assert layer.undoStack().count() == 1
    assert output.undo_last()
    (row,) = rows(layer)
    assert row["geometry"].equals(square(500000, 4000000))
    assert (row["class"], row["score"]) == ("roof", 0.91)


def test_replacing_keeps_what_the_user_wrote(output, layer):
    layer.startEditing()
    output.save(saved(square(500000, 4000000)))
    fid = rows(layer)[0]["id"]
    index = layer.fields().indexOf("class")
    layer.changeAttributeValue(fid, index, "shed")
    output.replace(fid, saved(square(500000, 4000000, 5), class_name=None))
    assert rows(layer)[0]["class"] == "shed"


def test_replacing_an_object_not_yet_committed_supersedes_it(output, layer):
    accepted = []
    output.object_accepted.connect(accepted.append)
    (fid,) = output.save(saved(square(500000, 4000000))).fids
    output.replace(fid, saved(square(500000, 4000000, 20)))
    heard = Heard(output)
    assert [(item.number, item.replaced, item.supersedes) for item in accepted] == [
        (1, None, None),
        (2, fid, 1),
    ]
    assert output.undo_last()
    assert heard.take() == [("lost", 2)]
    assert rows(layer)[0]["geometry"].equals(square(500000, 4000000))
    layer.undoStack().redo()
    assert heard.take() == [("back", 2)]
    assert output.undo_last()
    assert output.undo_last()
    assert heard.take() == [("lost", 2), ("lost", 1)]
    assert rows(layer) == []


def test_replacing_what_is_gone_says_so(output, layer):
    (fid,) = output.save(saved(square(500000, 4000000))).fids
    output.undo_last()
    with pytest.raises(OutputError, match="no longer in the layer"):
        output.replace(fid, saved(square(500000, 4000000)))


def test_nothing_to_save_is_said_so(output, layer):
    with pytest.raises(OutputError, match="Nothing of the object"):
        output.save(saved(type(square(0, 0)).fromWkt("MultiPolygon EMPTY")))
    assert not layer.isEditable()


def test_undo_works_while_another_layer_is_active(output, layer, project, qgis_iface):
    other = memory_layer()
    project.addMapLayer(other)
    output.save(saved(square(500000, 4000000)))
    qgis_iface.setActiveLayer(other)
    assert output.undo_last()
    assert rows(layer) == []


def test_what_is_said_of_two_objects_differs_where_they_do(output, layer):
    first = saved(square(500000, 4000000))
    output.save(first)
    output.save(changed(first, geometry=square(500020, 4000000), class_name=None, score=0.4))
    assert [(row["class"], row["score"]) for row in rows(layer)] == [("roof", 0.91), (None, 0.4)]


def test_five_hundred_objects_are_all_there_and_none_looks_at_the_whole_layer(layer, project, monkeypatch):
    project.setAvoidIntersectionsMode(QgsProject.AvoidIntersectionsMode.AvoidIntersectionsCurrentLayer)
    output = OutputLayer(layer, project)
    real, asked = layer.getFeatures, []

    def get_features(request=None):
        asked.append(request)
        return real(request)

    monkeypatch.setattr(layer, "getFeatures", get_features)
    for number in range(500):
        place = square(500000 + 20 * (number % 25), 4000000 + 20 * (number // 25))
        output.placed(place, layer.crs())
        output.save(saved(place, created=str(number)))
    monkeypatch.undo()
    assert len(asked) == 1000
    assert all(request.filterRect().width() == 10 for request in asked)
    assert output.uncommitted == 500
    assert output.commit()
    found = {row["created"]: row["geometry"] for row in rows(layer)}
    assert len(found) == 500
    assert found["499"].equals(square(500000 + 20 * 24, 4000000 + 20 * 19))

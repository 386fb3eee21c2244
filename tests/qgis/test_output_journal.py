# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted objects survive the end of QGIS until they are committed, and are offered again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsProject, QgsVectorLayer, QgsWkbTypes

from geo_sam2.errors import OutputError
from geo_sam2.segmentation import journal as journals
from geo_sam2.segmentation.journal import discard, pending
from geo_sam2.segmentation.output_journal import restore
from geo_sam2.segmentation.output_layer import OutputLayer
from geo_sam2.segmentation.output_layers import OutputLayers
from tests.qgis.outputs import file_layer, memory_layer, rows, saved, square

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project():
    project = QgsProject()
    yield project
    project.clear()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def outputs(project, home):
    return OutputLayers(project, home)


@pytest.fixture
def layer(tmp_path, project):
    layer = file_layer(tmp_path / "objects.gpkg")
    project.addMapLayer(layer)
    return layer


@pytest.fixture
def crashed(monkeypatch):
    """Return a function after which all processes count as dead, as after a crash."""
    return lambda: monkeypatch.setattr(journals.LockHolder, "is_alive", property(lambda _self: False))


def described(layer):
    """Return what the rows of a layer say, and their outlines, in the order of their creation."""
    items = [
        (row["created"], row["prompts"], row["class"], row["geometry"].asWkt(6))
        for row in rows(layer)
        if row["created"]
    ]
    return sorted(items)


def kill_child(home, count, *layers):
    """Let a QGIS accept objects, then end it by the signal that nothing can catch."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.qgis.output_child", str(home), str(count), *map(str, layers)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout.readline() == "ready\n"
        offered_while_alive = pending(home)
        os.kill(child.pid, signal.SIGKILL)
    return offered_while_alive


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_all_of_twenty_objects_come_back_after_qgis_was_killed(tmp_path, home, outputs, project):
    path = tmp_path / "objects.gpkg"
    file_layer(path)
    assert kill_child(home, 20, path) == []  # nobody takes the objects of a QGIS that lives
    layer = QgsVectorLayer(str(path), "objects", "ogr")
    project.addMapLayer(layer)
    assert layer.featureCount() == 0
    (found,) = pending(home)
    assert len(found.objects) == 20
    assert Path(found.layer.source.partition("|")[0]) == path
    output = outputs.of(layer)
    report = restore(found, output)
    assert (report.restored, report.already, report.errors) == (20, 0, ())
    discard(found)
    assert described(layer) == sorted(
        (
            f"2026-11-22T12:00:{number:02d}.000Z",
            f'{{"number":{number}}}',
            "roof",
            square(500000 + 20 * number + 0.1, 4000000.3).asWkt(6),
        )
        for number in range(20)
    )
    # They are as good as accepted here: undone one by one, journaled, committed by who began.
    assert output.uncommitted == 20
    assert output.undo_last()
    assert pending(home) == []
    assert output.commit()
    assert layer.featureCount() == 19
    assert list((home / "journal").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_each_layer_gets_its_own_objects_back(tmp_path, home, outputs, project):
    paths = [str(tmp_path / f"{name}.gpkg") for name in "ab"]
    for path in paths:
        file_layer(path)
    kill_child(home, 5, *paths)
    layers = [QgsVectorLayer(path, "objects", "ogr") for path in paths]
    project.addMapLayers(layers)
    found = {item.layer.source.partition("|")[0]: item for item in pending(home)}
    for layer, path, count in zip(layers, paths, (3, 2)):
        assert restore(found[path], outputs.of(layer)).restored == count
        assert len(rows(layer)) == count


def test_commit_and_rollback_leave_no_journal(outputs, layer, home):
    output = outputs.of(layer)
    output.save(saved(square(500000, 4000000)))
    assert len(list((home / "journal").iterdir())) == 1
    layer.commitChanges()
    assert list((home / "journal").iterdir()) == []
    output.save(saved(square(500020, 4000000)))
    assert len(list((home / "journal").iterdir())) == 1
    layer.rollBack()
    assert list((home / "journal").iterdir()) == []


def test_layer_that_is_removed_with_its_edits_has_them_offered_at_once(
    outputs, layer, home, project, tmp_path
):
    source = layer.source()
    outputs.of(layer).save(saved(square(500000, 4000000)))
    assert pending(home) == []
    project.removeMapLayer(layer.id())
    (found,) = pending(home)
    again = QgsVectorLayer(source, "again", "ogr")
    project.addMapLayer(again)
    assert restore(found, outputs.of(again)).restored == 1
    assert described(again)[0][3] == square(500000, 4000000).asWkt(6)


def test_layer_is_followed_while_another_one_is_chosen(outputs, layer, home, project):
    other = memory_layer()
    project.addMapLayer(other)
    output = outputs.of(layer)
    output.save(saved(square(500000, 4000000)))
    outputs.of(other).save(saved(square(500000, 4000000)))
    assert outputs.of(layer) is output
    assert outputs.uncommitted == 2
    layer.commitChanges()
    assert outputs.uncommitted == 1
    (left,) = (home / "journal").iterdir()
    assert other.id() in left.read_text()


def test_object_can_be_taken_back_after_another_layer_was_chosen_meanwhile(outputs, layer, project):
    other = memory_layer()
    project.addMapLayer(other)
    outputs.of(layer).save(saved(square(500000, 4000000)))
    outputs.of(other).save(saved(square(500000, 4000000)))
    assert outputs.of(layer).undo_last()
    assert rows(layer) == []
    assert len(rows(other)) == 1


def test_what_is_undone_and_redone_in_qgis_is_followed(outputs, layer, home, crashed):
    output = outputs.of(layer)
    for number in range(3):
        output.save(saved(square(500000 + 20 * number, 4000000), created=str(number)))
    layer.undoStack().setIndex(1)
    layer.undoStack().redo()
    crashed()
    (found,) = pending(home)
    assert [item.created for item in found.objects] == ["0", "1"]


def test_reopened_object_is_put_in_its_place_again(outputs, layer, home, crashed):
    output = outputs.of(layer)
    output.save(saved(square(500000, 4000000), created="first"))
    output.commit()
    ((fid, geometry),) = [(row["id"], row["geometry"]) for row in rows(layer)]
    output.replace(fid, saved(square(500000, 4000000, 30), created="second"))
    output.replace(fid, saved(square(500000, 4000000, 40), created="third"))
    crashed()
    (found,) = pending(home)
    assert [(item.created, item.replaces) for item in found.objects] == [("third", (fid,))]
    layer.rollBack()
    (row,) = rows(layer)
    assert row["geometry"].equals(geometry)
    assert restore(found, output).restored == 1
    (row,) = rows(layer)
    assert row["id"] == fid
    assert row["geometry"].equals(square(500000, 4000000, 40))
    # In another layer there is nothing to take the place of.
    other = memory_layer(fields="created:string")
    assert restore(found, OutputLayer(other, QgsProject())).restored == 1
    assert len(rows(other)) == 1


def test_what_was_committed_just_before_the_end_does_not_come_twice(outputs, layer, home, crashed):
    output = outputs.of(layer)
    output.save(saved(square(500000, 4000000), created="0"))
    output.save(saved(square(500010, 4000000), created="1"))
    output.replace(
        output.save(saved(square(500040, 4000000))).fids[0], saved(square(500050, 4000000), created="2")
    )
    (path,) = (home / "journal").iterdir()
    content = path.read_bytes()
    output.commit()
    path.write_bytes(content)  # as if the process had ended between commit and deletion
    crashed()
    (found,) = pending(home)
    report = restore(found, output)
    assert (report.restored, report.already) == (0, 3)
    assert len(rows(layer)) == 3
    assert not layer.isEditable()


def test_restoring_into_single_parts_and_another_crs_finds_them_there_as_well(
    outputs, tmp_path, project, home, crashed, layer
):
    both = square(500000, 4000000).combine(square(500030, 4000000))
    outputs.of(layer).save(saved(both))
    crashed()
    (found,) = pending(home)
    for kind, crs in ((QgsWkbTypes.Type.Polygon, "EPSG:32612"), (QgsWkbTypes.Type.Polygon, "EPSG:4326")):
        other = file_layer(tmp_path / f"{crs[5:]}.gpkg", kind=kind, crs=crs)
        output = OutputLayer(other, project)
        assert restore(found, output).restored == 1
        assert len(rows(other)) == 2
        report = restore(found, output)
        assert (report.restored, report.already) == (0, 1)


def test_objects_that_cannot_be_restored_stay_and_say_why(outputs, layer, home, crashed, project):
    outputs.of(layer).save(saved(square(500000, 4000000)))
    crashed()
    (found,) = pending(home)
    gone = memory_layer()
    project.addMapLayer(gone)
    output = OutputLayer(gone, project)
    project.removeMapLayer(gone.id())
    report = restore(found, output)
    assert report.restored == 0
    (error,) = report.errors
    assert isinstance(error, OutputError)
    assert len(pending(home)) == 1


def test_reloaded_plugin_keeps_the_objects_of_before(project, layer, home, crashed):
    before = OutputLayers(project, home)
    before.of(layer).save(saved(square(500000, 4000000), created="before"))
    before.close()
    assert layer.isEditable()
    after = OutputLayers(project, home)
    after.of(layer).save(saved(square(500020, 4000000), created="after"))
    assert after.of(layer).undo_last()
    after.of(layer).save(saved(square(500040, 4000000), created="later"))
    assert len(list((home / "journal").iterdir())) == 1
    crashed()
    (found,) = pending(home)
    assert [item.created for item in found.objects] == ["before", "later"]


def test_reloaded_plugin_drops_what_was_committed_meanwhile(project, layer, home):
    before = OutputLayers(project, home)
    before.of(layer).save(saved(square(500000, 4000000)))
    before.close()
    layer.commitChanges()
    OutputLayers(project, home).of(layer)
    assert list((home / "journal").iterdir()) == []


def test_journal_that_cannot_be_written_is_said_once_and_the_object_is_saved(outputs, layer, home):
    home.mkdir()
    (home / "journal").write_text("a file")
    said = []
    outputs.journal_failed.connect(said.append)
    output = outputs.of(layer)
    output.save(saved(square(500000, 4000000)))
    output.save(saved(square(500020, 4000000)))
    assert len(rows(layer)) == 2
    (error,) = said
    assert "cannot be journaled" in error.text


def test_crs_without_a_code_and_none_at_all_come_back(outputs, project, home, crashed):
    local = QgsCoordinateReferenceSystem.fromProj("+proj=tmerc +lat_0=1 +lon_0=2 +k=1 +ellps=GRS80 +units=m")
    nameless = memory_layer(crs="")
    own = memory_layer(crs="")
    own.setCrs(local)
    project.addMapLayers([nameless, own])
    outputs.of(nameless).save(saved(square(0, 0), crs=""))
    outputs.of(own).save(saved(square(0, 0), crs="", class_name=None))
    crashed()
    for found in pending(home):
        crs = local if found.layer.layer_id == own.id() else QgsCoordinateReferenceSystem()
        target = memory_layer(crs="")
        target.setCrs(crs)
        restore(found, OutputLayer(target, QgsProject()))
        (row,) = rows(target)
        assert row["geometry"].hausdorffDistance(square(0, 0)) < 1e-6
        assert row["class"] == (None if found.layer.layer_id == own.id() else "roof")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine dies, fails, is not there or hands over damaged tiles: a sentence, and the prompts stay."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from qgis.core import QgsProject
from qgis.PyQt.QtWidgets import QApplication

from geo_sam2 import engine_session
from geo_sam2.errors import EnvironmentMissingError
from geo_sam2.ui.dock_view import Level, Mend
from tests.qgis.docks import HALL, HOUSE, SHED, dock_scene, scene_raster, square_of
from tests.qgis.encode_runs import encoded_windows
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.outputs import memory_layer
from tests.unit.gates import Gate


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.close()


@contextlib.contextmanager
def engine_scene(tmp_path, size=(600, 400), **variables):
    """Show a dock with a raster chosen, behind which a fake engine of these variables works."""
    journal = tmp_path / "journal.txt"
    command = fake_engine_command(journal=journal, **variables)
    with session_of(command, tmp_path / "engine.log"), dock_scene() as scene:
        scene.journal = journal
        scene.raster = scene.add_raster(scene_raster(tmp_path / "scene.tif", *size, HOUSE, SHED, HALL))
        scene.pick(scene.raster)
        yield scene


def engine_pid(journal):
    """Return the process that was started last."""
    return int([line for line in journal.read_text().splitlines() if line.startswith("pid")][-1].split()[1])


def kill_engine(scene):
    os.kill(engine_pid(scene.journal), signal.SIGKILL)


def is_error(scene):
    return scene.view.notice is not None and scene.view.notice.level is Level.ERROR


def wait_for_error(scene):
    scene.wait(lambda: is_error(scene), "No error.")


def encode_all(scene):
    scene.controller.encode_all()
    scene.wait(
        lambda: (
            scene.view.imagery.store is not None
            and not scene.view.encoding.is_running
            and scene.controller.ground.imagery.store.done
        )
    )


def test_engine_killed_mid_click_is_a_sentence_and_the_same_prompts_are_answered(qgis_app, tmp_path, gate):
    with engine_scene(tmp_path, decode_gate=gate.port) as scene:
        encode_all(scene)
        scene.click(HOUSE)
        scene.wait(gate.is_reached)
        kill_engine(scene)
        wait_for_error(scene)
        assert scene.view.notice.mend is Mend.START_ENGINE
        assert "prompts are kept" in scene.view.notice.hint
        assert len(scene.session.state.prompts) == 1
        scene.dock.show_view(scene.view)
        scene.dock.contents.noticeBar.mendButton.click()
        scene.wait(gate.is_reached)
        gate.open()
        scene.wait_for_outline()
        assert square_of(scene.controller.prompting.shown.geometry) == HOUSE
        assert scene.view.notice is None


def test_engine_killed_twice_starts_again_by_the_button(qgis_app, tmp_path, gate):
    with engine_scene(tmp_path, decode_gate=gate.port) as scene:
        encode_all(scene)
        scene.click(HOUSE)
        for _ in range(2):
            scene.wait(gate.is_reached)
            kill_engine(scene)
            wait_for_error(scene)
            scene.controller.mend()
        scene.wait(gate.is_reached)
        gate.open()
        scene.wait_for_outline()


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_engine_killed_around_a_save_loses_nothing_and_the_next_click_works(qgis_app, tmp_path, moment):
    with engine_scene(tmp_path) as scene:
        encode_all(scene)
        layer = memory_layer()
        QgsProject.instance().addMapLayer(layer)
        scene.controller.set_output(layer)
        scene.click(HOUSE)
        scene.wait_for_outline()
        before = engine_pid(scene.journal)
        if moment == "before":
            kill_engine(scene)
        elif moment == "during":
            kills = [before]
            layer.featureAdded.connect(lambda _: os.kill(kills.pop(), signal.SIGKILL) if kills else None)
        assert scene.controller.accept()
        if moment == "after":
            kill_engine(scene)
        assert [square_of(feature.geometry()) for feature in layer.getFeatures()] == [HOUSE]
        assert not scene.view.object.is_open
        scene.click(SHED)
        state = scene.session.state
        assert len(state.prompts) == 1
        scene.wait(lambda: scene.view.object.can_accept or is_error(scene))
        if is_error(scene):  # the click came before the death was noticed
            assert scene.view.notice.mend is Mend.START_ENGINE
            scene.controller.mend()
            scene.wait_for_outline()
        assert scene.session.state == state
        assert engine_pid(scene.journal) != before
        assert scene.controller.accept()
        assert [square_of(feature.geometry()) for feature in layer.getFeatures()] == [HOUSE, SHED]


def test_engine_killed_during_a_preview_says_so_once_and_the_next_click_works(qgis_app, tmp_path, gate):
    with engine_scene(tmp_path, decode_gate=gate.port) as scene:
        encode_all(scene)
        place = scene.at(140, 130)
        scene.hand.move(place.x(), place.y())
        scene.wait(gate.is_reached)
        kill_engine(scene)
        wait_for_error(scene)
        messages = len(scene.messages)
        for step in range(5):
            scene.hand.move(place.x() + step, place.y())
        assert len(scene.messages) == messages
        scene.click(HOUSE)
        scene.wait(gate.is_reached)
        gate.open()
        scene.wait_for_outline()


def test_engine_killed_while_encoding_keeps_the_prompt_and_goes_on(qgis_app, tmp_path, gate):
    with engine_scene(tmp_path, gate=gate.port) as scene:
        scene.click(HOUSE)
        scene.wait(gate.is_reached)
        kill_engine(scene)
        wait_for_error(scene)
        assert len(scene.session.state.prompts) == 1
        scene.controller.mend()
        scene.wait(gate.is_reached)
        gate.open()
        scene.wait_for_outline()
        assert square_of(scene.controller.prompting.shown.geometry) == HOUSE


def test_tile_that_cannot_be_encoded_is_said_and_not_tried_for_ever(qgis_app, tmp_path):
    with engine_scene(tmp_path, fail="FeatureValueError:0:0") as scene:
        scene.click(HOUSE)
        wait_for_error(scene)
        assert "could not be encoded" in scene.view.object.status
        scene.click(SHED)
        scene.wait(lambda: not scene.view.encoding.is_running)
        assert "could not be encoded" in scene.view.object.status
        assert encoded_windows(scene.journal) == {}


def test_damaged_tile_is_encoded_again_and_the_click_answered(qgis_app, tmp_path):
    with engine_scene(tmp_path) as scene:
        encode_all(scene)
        store = scene.controller.ground.imagery.store
        (record,) = store.records.values()
        path = store.store.tile_path(record.file)
        path.write_bytes(path.read_bytes()[:-100])
        scene.click(HOUSE)
        scene.wait_for_outline()
        assert square_of(scene.controller.prompting.shown.geometry) == HOUSE
        assert encoded_windows(scene.journal) == {(0, 0): 2}


def test_object_across_a_seam_waits_for_its_second_tile(qgis_app, tmp_path):
    with engine_scene(tmp_path, size=(2048, 600)) as scene:
        scene.look_at(1030, 340)
        for x_px in (1000, 1060):
            place = scene.at(x_px, 340)
            scene.hand.click(place.x(), place.y())
        scene.wait(
            lambda: scene.view.object.can_accept and len(scene.controller.prompting.shown.result.tiles) == 2
        )
        assert square_of(scene.controller.prompting.shown.geometry) == HALL
        assert scene.controller.accept()


def test_hover_shows_the_object_and_a_click_takes_its_place(qgis_app, tmp_path):
    with engine_scene(tmp_path) as scene:
        encode_all(scene)
        place = scene.at(140, 130)
        scene.hand.move(place.x(), place.y())
        scene.wait(lambda: scene.controller.preview.shown is not None)
        assert square_of(scene.controller.preview.shown.geometry) == HOUSE
        scene.hand.leave()
        assert scene.controller.preview.shown is None
        scene.hand.move(place.x() + 1, place.y())
        scene.wait(lambda: scene.controller.preview.shown is not None)
        scene.hand.click(place.x() + 1, place.y())
        scene.wait_for_outline()
        assert scene.controller.preview.shown is None


def test_hover_that_is_switched_off_asks_nothing(qgis_app, tmp_path):
    with engine_scene(tmp_path) as scene:
        encode_all(scene)
        scene.dock.contents.displayPanel.previewCheck.setChecked(False)
        place = scene.at(140, 130)
        scene.hand.move(place.x(), place.y())
        scene.click(HOUSE)
        scene.wait_for_outline()
        assert scene.controller.preview.shown is None


def test_hover_over_a_tile_without_features_encodes_it_in_a_store_that_is_there(qgis_app, tmp_path):
    with engine_scene(tmp_path, size=(2048, 600)) as scene:
        scene.look_at(1030, 340)
        place = scene.at(1500, 340)
        scene.hand.move(place.x(), place.y())
        assert not scene.view.encoding.is_running  # a new store is not made by passing over it
        scene.hand.click(*_xy(scene.at(1000, 340)))
        scene.wait_for_outline()
        scene.controller.hands.clear()
        place = scene.at(1200, 340)
        scene.hand.move(place.x(), place.y())
        scene.wait(lambda: scene.controller.ground.imagery.store.done == 2)


def test_pause_stops_and_resume_goes_on(qgis_app, tmp_path):
    with engine_scene(tmp_path, size=(4096, 1024), seconds=0.2) as scene:
        scene.controller.encode_all()
        scene.wait(
            lambda: scene.view.imagery.store is not None and scene.controller.ground.imagery.store.done
        )
        scene.controller.pause(True)
        assert scene.view.encoding.is_paused
        scene.controller.pause(False)
        scene.wait(lambda: scene.controller.ground.imagery.store.done == 4)
        scene.wait(lambda: not scene.view.encoding.is_running)


def test_missing_engine_is_told_with_the_command_and_found_when_it_is_there(qgis_app, tmp_path):
    there = []

    def engine():
        if not there:
            raise EnvironmentMissingError("The engine is not installed.", "Type this.")
        return engine_session.client()

    with session_of(fake_engine_command(), tmp_path / "log"), dock_scene(engine=engine) as scene:
        wait_for_error(scene)
        assert scene.view.notice.mend is Mend.COPY_INSTALL_COMMAND
        scene.controller.mend()
        assert "python3 -m geo_sam2.runtime" in QApplication.clipboard().text()
        scene.pick(scene.add_raster(scene_raster(tmp_path / "scene.tif")))
        scene.click(HOUSE)
        wait_for_error(scene)
        assert len(scene.session.state.prompts) == 1
        there.append(True)
        scene.dock.show_view(scene.view)
        scene.dock.contents.noticeBar.secondButton.click()
        scene.wait_for_outline()
        assert scene.view.notice is None


def _xy(point):
    return point.x(), point.y()

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock says is true when it is read: not of another image, tool or time, and in one voice."""

from __future__ import annotations

import re

import pytest
from qgis.core import QgsProject
from qgis.PyQt.QtCore import QElapsedTimer, Qt

from geo_sam2.ui.dock_view import Mend
from tests.qgis.docks import HOUSE, SHED, dock_scene, scene_raster
from tests.qgis.engines import fake_engine_command, session_of
from tests.unit.gates import Gate


@pytest.fixture
def scene(qgis_app, fake_engine, tmp_path):
    with dock_scene() as scene:
        scene.path = scene_raster(tmp_path / "scene.tif")
        yield scene


def newest(scene):
    """Return the notice of the view that was told last."""
    return scene.views[-1].notice


def test_image_that_is_added_or_removed_elsewhere_changes_what_is_missing(scene):
    scene.wait(lambda: scene.views and newest(scene).mend is Mend.ADD_RASTER)
    layer = scene.add_raster(scene.path)
    scene.wait(lambda: newest(scene).text == "No image is chosen.")
    QgsProject.instance().removeMapLayer(layer)
    scene.wait(lambda: newest(scene).mend is Mend.ADD_RASTER)


def test_new_project_begins_with_what_it_lacks_and_not_with_what_the_last_one_had(scene):
    scene.pick(scene.add_raster(scene.path))
    QgsProject.instance().clear()
    scene.wait(lambda: newest(scene) is not None and newest(scene).mend is Mend.ADD_RASTER)


def test_sentence_about_kept_prompts_is_said_of_their_image_only(scene, tmp_path):
    first = scene.add_raster(scene.path, "first")
    second = scene.add_raster(scene_raster(tmp_path / "second.tif", 700, 400), "second")
    scene.pick(first)
    scene.click(HOUSE)
    scene.wait_for_outline()
    scene.pick(second)
    scene.pick(first)
    assert "are back" in scene.view.object.status
    scene.pick(second)
    assert "are back" not in scene.view.object.status


def test_sentence_of_the_reopen_tool_ends_with_it(scene):
    scene.pick(scene.add_raster(scene.path))
    scene.make_object(HOUSE)
    scene.controller.set_reopening(True)
    place = scene.at(400, 300)
    scene.hand.click(place.x(), place.y())
    assert "no polygon" in scene.view.object.status
    scene.hand.key(Qt.Key.Key_Escape)
    assert scene.controller.tools.is_segmenting
    assert scene.view.object.status == ""


def test_chosen_candidate_and_status_give_the_same_score(scene, monkeypatch):
    scene.pick(scene.add_raster(scene.path))
    scene.click(HOUSE)
    scene.wait_for_outline()
    result = scene.session.result
    # Rounded to thousandths first, it would be shown as 44 %.
    object.__setattr__(result.candidates[result.chosen], "score", 0.44513)
    (chosen,) = [candidate for candidate in scene.view.object.candidates if candidate.is_chosen]
    panel = scene.dock.contents.objectPanel
    panel.show_view(scene.view.object)
    (button,) = [button for button in panel._candidates if button.isChecked()]
    on_button = re.search(r"(\d+)\N{NO-BREAK SPACE}%", button.text()).group(1)
    in_status = f"{100 * result.shown.score:.0f}"
    assert on_button == in_status == "45"
    assert chosen.score == result.shown.score


def test_prompt_beside_the_image_is_said_to_have_no_effect(scene):
    scene.pick(scene.add_raster(scene.path))
    scene.look_at(560, 300)
    scene.click(SHED)
    scene.wait_for_outline()
    assert "no effect" not in scene.view.object.status
    place = scene.at(700, 300)
    scene.hand.click(place.x(), place.y())
    scene.wait(lambda: scene.view.object.can_accept)
    assert "some prompts have no effect" in scene.view.object.status


def test_outline_can_be_accepted_by_its_button_as_soon_as_it_is_seen(qgis_app, tmp_path):
    gate = Gate()
    command = fake_engine_command(journal=tmp_path / "journal", decode_gate=gate.port)
    with session_of(command, tmp_path / "log") as session, dock_scene(engine=session.client) as scene:
        scene.pick(scene.add_raster(scene_raster(tmp_path / "scene.tif")))
        scene.click(HOUSE)
        # The dock has drawn that an answer is awaited, and looks again after a while.
        scene.wait(lambda: gate.is_reached() and scene.views[-1].object.is_busy)
        gate.open()
        accept = scene.dock.contents.objectPanel.acceptButton
        scene.wait_for_outline()
        since = QElapsedTimer()
        since.start()
        scene.wait(accept.isEnabled)
        assert since.elapsed() < 100
    gate.close()

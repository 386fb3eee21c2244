# SPDX-License-Identifier: GPL-3.0-or-later
"""QGIS and its engine die under the hand: nothing that was accepted, and no prompt, is lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.desktop import processes
from tests.desktop.hands import accept, click, open_dock, pick_raster, show, take_tool
from tests.desktop.held_out_scene import make_scene

ACCEPTED = 20


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def folder():
    folder = Path(tempfile.mkdtemp(prefix="geo_sam2_desktop_"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_scene(scene, tmp_path):
    """Return the raster in a folder of its own: stores and layers are made beside it."""
    return Path(shutil.copy(scene.raster, tmp_path))


def test_qgis_killed_after_twenty_accepts_offers_all_twenty_again(start_qgis, folder, scene, own_scene):
    qgis = start_qgis(folder)
    qgis.ask("session:add_raster", path=str(own_scene))
    open_dock(qgis)
    pick_raster(qgis, "scene")
    take_tool(qgis)
    qgis.wait_for_map()
    for count in range(1, ACCEPTED + 1):
        # Each object twice, the second time a little beside its middle.
        x_map, y_map = scene.objects[(count - 1) % len(scene.objects)].click
        click(qgis, (x_map + 0.4 * (count > len(scene.objects)), y_map))
        accept(qgis, count)
    before = qgis.ask("dock:saved_outlines")
    assert len(before) == ACCEPTED
    engines = qgis.engines
    qgis.kill()
    qgis.wait_until_ended(engines)

    again = start_qgis(folder)
    open_dock(again)
    notice = again.wait_for("dock:part", path="notice")
    assert str(ACCEPTED) in notice["text"], notice
    again.click_widget("mendButton")
    again.wait_for("dock:has_saved", count=ACCEPTED)
    assert again.ask("dock:saved_outlines") == before
    assert again.ask("faults:tracebacks") == []


def test_engine_killed_under_an_object_keeps_its_prompts_and_outline(qgis, scene, own_scene):
    qgis.ask("session:add_raster", path=str(own_scene))
    open_dock(qgis)
    pick_raster(qgis, "scene")
    take_tool(qgis)
    item = scene.objects[0]
    show(qgis, item.box)
    click(qgis, item.click)
    click(qgis, item.background, is_foreground=False)
    prompts, outline = qgis.ask("dock:prompts"), qgis.ask("dock:object_outline")
    assert len(prompts) == 2
    (engine,) = qgis.engines
    processes.kill(engine)
    qgis.wait_until_ended([engine])
    # The next wish starts it again, and the answer is the same.
    qgis.screen.press("ctrl+z")
    qgis.wait_for("dock:has_prompts", count=1)
    qgis.screen.press("ctrl+shift+z")
    qgis.wait_for("dock:has_prompts", count=2)
    qgis.wait_for("dock:is_object_shown")
    assert qgis.ask("dock:prompts") == prompts
    assert qgis.ask("dock:object_outline") == outline
    x_map, y_map = item.click
    click(qgis, (x_map + 2, y_map))
    assert len(qgis.ask("dock:prompts")) == 3
    assert qgis.engines not in ([], [engine])

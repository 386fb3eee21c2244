# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock says of encoding, and that it says no more once there is nothing to do."""

from __future__ import annotations

import pytest
from qgis.PyQt.QtCore import QCoreApplication, QTranslator

from geo_sam2.encoder.live_run import LiveRun
from geo_sam2.ui.tile_counts import done_text, encoded_text, tiles_text
from tests.qgis.docks import HOUSE, dock_scene, scene_raster


@pytest.fixture
def scene(qgis_app, fake_engine, tmp_path):
    with dock_scene() as scene:
        scene.layer = scene.add_raster(scene_raster(tmp_path / "scene.tif"))
        yield scene


def test_one_tile_is_a_tile(qgis_app):
    assert [tiles_text(count) for count in (0, 1, 9)] == ["0 tiles", "1 tile", "9 tiles"]
    assert [done_text(0, total) for total in (1, 2)] == ["0 of 1 tile", "0 of 2 tiles"]
    assert [encoded_text(1, total) for total in (1, 2)] == ["1 of 1 tile encoded", "1 of 2 tiles encoded"]


class Polish(QTranslator):
    """Has three forms, as Qt's own translations have."""

    def isEmpty(self):  # noqa: N802  Qt's name
        return False

    def translate(self, context, source, disambiguation=None, count=-1):
        if context != "TileCounts" or source not in ("%n tile", "%n tiles"):
            return ""
        if count == 1:
            return "%n kafelek"
        return "%n kafelki" if count in (2, 3, 4) else "%n kafelków"


def test_other_languages_have_the_plurals_that_they_need(qgis_app):
    translator = Polish()
    assert QCoreApplication.installTranslator(translator)
    try:
        assert [tiles_text(count) for count in (1, 3, 9)] == ["1 kafelek", "3 kafelki", "9 kafelków"]
    finally:
        QCoreApplication.removeTranslator(translator)


def test_lone_tile_is_named_as_one_wherever_it_is_counted(scene):
    scene.pick(scene.layer)
    assert " 1 tile " in scene.view.imagery.resolutions[0].text
    scene.click(HOUSE)
    scene.wait(lambda: any("of 1 tile encoded" in view.encoding.text for view in scene.views))
    scene.wait_for_outline()
    assert scene.view.imagery.features.startswith("1 of 1 tile ")
    assert scene.view.imagery.stores[0].text.endswith("1 of 1 tile")


def test_pause_in_the_last_moment_leaves_nothing_to_resume(scene, monkeypatch):
    run = LiveRun.run
    encoding = scene.controller.ground.encoding

    def run_and_pause(self):
        run(self)
        # As the button does, which is pressed before anybody has heard that it was the last tile.
        encoding._is_paused = True
        encoding._encoder.pause()

    monkeypatch.setattr(LiveRun, "run", run_and_pause)
    scene.pick(scene.layer)
    scene.controller.encode_all()
    scene.wait(lambda: scene.view.imagery.store is not None)
    scene.wait(lambda: not scene.view.encoding.is_running)
    assert not scene.view.encoding.is_paused
    assert scene.view.encoding.text == ""
    scene.click(HOUSE)
    scene.wait_for_outline()

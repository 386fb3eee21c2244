# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin is reloaded twenty times, with its dock open and its engine at work; nothing piles up."""

from __future__ import annotations

import pytest
from osgeo import gdal

from tests.desktop.hands import open_dock, pick_raster
from tests.desktop.qgis_desktop import ROOT

RASTER = ROOT / "examples" / "yellowstone_meadow.tif"
TIMES = 20


@pytest.fixture
def raster(tmp_path):
    """Return a raster of its own, whose store lies beside it: 3 × 3 windows."""
    path = tmp_path / "meadow.tif"
    gdal.UseExceptions()
    gdal.Translate(str(path), str(RASTER))
    return path


def test_reloading_the_plugin_leaves_nothing_of_it(qgis, raster):
    qgis.ask("session:add_raster", path=str(raster))
    counts = []
    for _ in range(TIMES):
        open_dock(qgis)
        pick_raster(qgis, "meadow")
        qgis.click_widget("encodeAllButton")
        qgis.wait_for("dock:part", path="encoding.is_running")
        engines = qgis.wait_for_engine()
        qgis.ask("reload:reload")
        assert not qgis.ask("widgets:is_shown", name="GeoSam2Dock")
        qgis.wait_until_ended(engines)
        counts.append(qgis.ask("reload:counts"))
    assert qgis.engines == []
    # Qt and QGIS make some things at first use; what grows is what is there more at every reload.
    assert counts[-1] == counts[1]

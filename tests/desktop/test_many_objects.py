# SPDX-License-Identifier: GPL-3.0-or-later
"""Five hundred objects in a row: every one of them arrives in the layer, where it was clicked."""

from __future__ import annotations

from osgeo import ogr

from tests.desktop.bright_squares import write_bright_squares
from tests.desktop.hands import open_dock, pick_raster, save_layer, take_tool, use_fake_engine

COLUMNS, ROWS = 25, 20


def test_five_hundred_objects_in_a_row_are_all_in_the_layer(qgis, tmp_path):
    squares = write_bright_squares(tmp_path / "squares.tif", COLUMNS, ROWS)
    use_fake_engine(qgis)
    qgis.ask("session:add_raster", path=str(tmp_path / "squares.tif"))
    open_dock(qgis)
    pick_raster(qgis, "squares")
    take_tool(qgis)
    qgis.ask("scripted:begin", places=[square.middle for square in squares])
    qgis.wait_for("scripted:is_done", timeout_s=300)
    assert qgis.ask("scripted:accepted") == len(squares)
    source = qgis.ask("dock:output_source")
    save_layer(qgis)
    qgis.leave()

    layer = ogr.Open(source.partition("|")[0])
    found = [feature.GetGeometryRef().GetEnvelope() for feature in layer.GetLayer(0)]
    assert found == [square.envelope for square in squares]

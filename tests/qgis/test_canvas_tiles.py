# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiles of a raster over the map: each where it is, in its state, however many there are."""

from __future__ import annotations

import numpy as np
import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
)
from qgis.PyQt.QtGui import QColor, QImage, QPainter

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.grid import PixelGrid
from geo_sam2.store_index import TileState
from geo_sam2.tile_window import TileWindow
from geo_sam2.ui.overlay_style import OverlayStyle
from geo_sam2.ui.tile_overlay import TileOverlay
from geo_sam2.ui.tile_states import STATES, ShownState, code_of, place_of, state_array
from tests.qgis.canvases import HEIGHT, LEFT_M, TOP_M, UTM, WIDTH, canvas_shown

# On the canvas a tile is 102.4 pixels wide: 5 × 3 whole ones and a narrow last column and row.
PIXEL_M = 0.05
SIZE_PX = (5 * 1024 + 500, 3 * 1024 + 300)


@pytest.fixture
def canvas(qgis_app):
    with canvas_shown() as canvas:
        yield canvas


@pytest.fixture
def tiles(canvas):
    tiles = TileOverlay(canvas)
    yield tiles
    tiles.remove()


def utm():
    return QgsCoordinateReferenceSystem(UTM)


def grid_of(width, height, geotransform=(LEFT_M, PIXEL_M, 0, TOP_M, 0, -PIXEL_M)):
    return PixelGrid(width, height, geotransform, utm().toWkt(), UTM)


def drawn(item):
    """Return what the item draws over nothing: (rows, columns, 4) uint8, red green blue alpha."""
    image = QImage(WIDTH, HEIGHT, QImage.Format.Format_RGBA8888)
    image.fill(QColor(0, 0, 0, 0))
    painter = QPainter(image)
    item.paint(painter, None, None)
    painter.end()
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return np.frombuffer(bytes(bits), np.uint8).reshape(HEIGHT, WIDTH, 4)


def middle_of(canvas, grid, column, row):
    """Return (column, row) of the canvas's pixel in the middle of what a tile is drawn as."""
    x = (column * 1024 + min((column + 1) * 1024, grid.width)) / 2
    y = (row * 1024 + min((row + 1) * 1024, grid.height)) / 2
    to_canvas = QgsCoordinateTransform(utm(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    at = canvas.getCoordinateTransform().transform(to_canvas.transform(QgsPointXY(*grid.to_map((x, y)))))
    return int(at.x()), int(at.y())


def hue_of(state):
    return {"pending": 37, "failed": 10, "encoding": 212}[state]


@pytest.mark.parametrize("rotation", [0, 20])
@pytest.mark.parametrize("crs", [UTM, "EPSG:3857", "EPSG:4326"])
def test_each_tile_is_drawn_in_its_state(canvas, tiles, crs, rotation):
    grid, tiling = grid_of(*SIZE_PX), Tiling(*SIZE_PX)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    bounds = QgsCoordinateTransform(utm(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    canvas.setRotation(rotation)
    canvas.setExtent(bounds.transformBoundingBox(tiles_extent(grid)))
    canvas.zoomByFactor(1.4)  # a corner that is turned out of view shows nothing
    tiles.set_grid(grid, utm(), tiling)
    states = {(2, 1): "pending", (0, 0): "encoding", (5, 2): "pending", (5, 3): "encoding"}
    for (column, row), state in states.items():
        tiles.set_state(tiling.window(column, row), state)
    image = drawn(tiles)
    for row in range(tiling.rows):
        for column in range(tiling.columns):
            x, y = middle_of(canvas, grid, column, row)
            pixel = image[y, x]
            if (column, row) in states:
                colour = QColor(*(pixel[:3].tolist()))
                assert abs(colour.hsvHue() - hue_of(states[column, row])) < 12, (column, row)
            else:
                assert pixel[3] == 0, (column, row)


def tiles_extent(grid):
    return QgsRectangle(*grid.bounds())


def test_tile_that_failed_is_crossed_out(canvas, tiles):
    grid, tiling = grid_of(*SIZE_PX), Tiling(*SIZE_PX)
    tiles.set_grid(grid, utm(), tiling)
    tiles.set_state(tiling.window(1, 1), TileState.FAILED)
    x, y = middle_of(canvas, grid, 1, 1)
    image = drawn(tiles)
    assert image[y - 3 : y + 3, x - 3 : x + 3, 3].max() > 200
    assert 0 < image[y, x + 25, 3] < 100


def test_encoded_tile_is_outlined_and_lets_the_imagery_through(canvas, tiles):
    grid, tiling = grid_of(*SIZE_PX), Tiling(*SIZE_PX)
    tiles.set_grid(grid, utm(), tiling)
    tiles.set_boundary_visible(False)
    before = drawn(tiles)
    tiles.set_state(tiling.window(1, 1), TileState.DONE)
    after = drawn(tiles)
    x, y = middle_of(canvas, grid, 1, 1)
    assert after[y, x, 3] == 0
    changed = np.nonzero((before != after).any(axis=2))
    assert changed[1].min() >= x - 53
    assert changed[1].max() <= x + 53
    assert len(changed[0]) > 300


def test_boundary_and_tiles_are_switched_apart(canvas, tiles):
    grid = grid_of(*SIZE_PX)
    tiles.set_grid(grid, utm(), None)
    tiles.set_style(OverlayStyle(boundary="#ff0000"))
    seam, edge = (50, 102), (100, 562)  # (row, column) on the canvas
    assert drawn(tiles)[seam][3] > 0
    assert drawn(tiles)[edge][0] == 255
    tiles.set_tiles_visible(False)
    assert drawn(tiles)[seam][3] == 0
    assert drawn(tiles)[edge][3] > 0
    tiles.set_boundary_visible(False)
    assert not tiles.isVisible()
    tiles.set_tiles_visible(True)
    assert drawn(tiles)[seam][3] > 0


@pytest.mark.parametrize("crs", [UTM, "EPSG:3857"])
@pytest.mark.parametrize("rotation", [0, 20])
def test_many_tiles_are_drawn_from_afar(canvas, tiles, crs, rotation):
    side = 320 * 1024 - 300
    grid = grid_of(side, side, (LEFT_M, 0.1, 0, TOP_M, 0, -0.1))
    tiling = Tiling(side, side)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    bounds = QgsCoordinateTransform(utm(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    canvas.setRotation(rotation)
    canvas.setExtent(bounds.transformBoundingBox(tiles_extent(grid)))
    states = np.zeros((tiling.rows, tiling.columns), np.uint8)
    states[60:100, 200:260] = code_of("done")
    states[300:, 300:] = code_of("failed")
    tiles.set_grid(grid, utm(), tiling)
    tiles.set_state_array(states)
    tiles.set_boundary_visible(False)
    image = drawn(tiles)
    for place in ((202, 62), (230, 80), (257, 97), (303, 303), (318, 318), (198, 80), (262, 80), (290, 310)):
        x, y = middle_of(canvas, grid, *place)
        if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
            continue
        state = STATES[states[place[1], place[0]]]
        if state is ShownState.NONE:
            assert image[y, x, 3] == 0, place
        else:
            hue = QColor(*image[y, x, :3].tolist()).hsvHue()
            assert abs(hue - {"done": 142, "failed": 10}[state.value]) < 12, place


def test_boundary_bends_with_a_change_of_crs(canvas, tiles):
    # A raster of 11 degrees: its upper side is 100 km off its chord.
    grid, degrees = PixelGrid(4000, 4000, (-116.5, 0.00275, 0, 60, 0, -0.00275), "", ""), "EPSG:4326"
    to_canvas = QgsCoordinateTransform(QgsCoordinateReferenceSystem(degrees), utm(), QgsProject.instance())
    canvas.setExtent(to_canvas.transformBoundingBox(tiles_extent(grid)))
    tiles.set_grid(grid, QgsCoordinateReferenceSystem(degrees), None)
    tiles.set_tiles_visible(False)
    middle = canvas.getCoordinateTransform().transform(to_canvas.transform(QgsPointXY(-111, 60)))
    x, y = int(middle.x()), int(middle.y())
    assert drawn(tiles)[y - 2 : y + 2, x, 3].max() > 200


def test_what_is_out_of_view_costs_nothing(canvas, tiles):
    side = 1000 * 1024
    grid = grid_of(side, side)
    tiles.set_grid(grid, utm(), Tiling(side, side))
    tiles.set_state_array(np.full((1000, 1000), code_of("pending"), np.uint8))
    drawn(tiles)
    assert 6 * 4 <= sum(len(found) for found in tiles._picture._tiles.values()) <= 7 * 5
    canvas.setCenter(QgsPointXY(0, 0))
    assert drawn(tiles)[..., 3].max() == 0


def test_view_without_place_in_the_grids_crs_is_survived(canvas, tiles):
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    canvas.setExtent(tiles_extent(PixelGrid(360, 180, (-500, 3, 0, 300, 0, -3), "", "")))
    tiles.set_grid(grid_of(*SIZE_PX), utm(), None)
    drawn(tiles)


def test_tiles_follow_the_map(canvas, tiles):
    grid, tiling = grid_of(*SIZE_PX), Tiling(*SIZE_PX)
    tiles.set_grid(grid, utm(), tiling)
    tiles.set_state(tiling.window(2, 1), "pending")
    x, y = middle_of(canvas, grid, 2, 1)
    assert drawn(tiles)[y, x, 3] > 0
    for change in (
        lambda: canvas.zoomByFactor(0.6),
        lambda: canvas.setRotation(15),
        lambda: canvas.setCenter(QgsPointXY(LEFT_M + 120, TOP_M - 70)),
    ):
        change()
        x, y = middle_of(canvas, grid, 2, 1)
        assert drawn(tiles)[y, x, 3] > 0


def test_new_grid_knows_no_states(canvas, tiles):
    tiling = Tiling(*SIZE_PX)
    tiles.set_grid(grid_of(*SIZE_PX), utm(), tiling)
    tiles.set_states([(window, TileState.PENDING) for window in tiling])
    tiles.set_grid(grid_of(*SIZE_PX), utm(), tiling)
    x, y = middle_of(canvas, grid_of(*SIZE_PX), 2, 1)
    assert drawn(tiles)[y, x, 3] == 0
    tiles.set_grid(None)
    assert not tiles.isVisible()
    assert drawn(tiles)[..., 3].max() == 0
    tiles.set_state(tiling.window(0, 0), "done")


def test_states_of_another_grid_are_refused(tiles):
    tiles.set_grid(grid_of(*SIZE_PX), utm(), None)
    with pytest.raises(ValueError, match="grid of"):
        tiles.set_state_array(np.zeros((2, 2), np.uint8))


def test_removed_tiles_leave_no_item(canvas):
    before = len(canvas.scene().items())
    tiles = TileOverlay(canvas)
    tiles.set_grid(grid_of(*SIZE_PX), utm(), None)
    tiles.remove()
    tiles.remove()
    assert len(canvas.scene().items()) == before
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))


@pytest.mark.parametrize("size", [(700, 500), (1024, 1024), (1025, 3000), SIZE_PX])
def test_every_window_has_a_place_of_its_own(size):
    tiling = Tiling(*size)
    places = [place_of(window, tiling) for window in tiling]
    assert places == [(row, column) for row in range(tiling.rows) for column in range(tiling.columns)]


def test_windows_off_the_tiles_have_no_place():
    tiling = Tiling(*SIZE_PX)
    strangers = [
        TileWindow(0, 512, 0, 1024, 1024),
        TileWindow(1, 0, 0, 1024, 1024),
        TileWindow(0, 9 * 1024, 0, 1024, 1024),
    ]
    assert [place_of(window, tiling) for window in strangers] == [None] * 3
    assert state_array(tiling, [(window, "done") for window in strangers]).max() == 0
    assert state_array(tiling, [(tiling.window(5, 3), TileState.FAILED)])[3, 5] == code_of(ShownState.FAILED)

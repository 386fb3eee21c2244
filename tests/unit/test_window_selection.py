# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that an extent selects, and what is refused."""

from __future__ import annotations

import pytest

from geo_sam2.encoder.extent_outline import rectangle_outline
from geo_sam2.encoder.tiling import WINDOW_PX
from geo_sam2.encoder.window_selection import selected_windows
from geo_sam2.errors import GridError
from geo_sam2.grid import UNGEOREFERENCED, PixelGrid


def grid(width, height):
    return PixelGrid(width, height, UNGEOREFERENCED, "", "")


@pytest.mark.parametrize(
    ("extent", "places"),
    [
        (None, [(0, 0), (1024, 0), (0, 976), (1024, 976)]),
        ((1100, 10, 1200, 20), [(1024, 0)]),
        ((1000, 10, 1200, 20), [(0, 0), (1024, 0)]),
    ],
)
def test_extent_selects_the_windows_that_it_touches(extent, places):
    ring = None if extent is None else rectangle_outline(extent)
    assert [(window.xoff, window.yoff) for window in selected_windows(grid(2048, 2000), ring)] == places


def test_extent_beside_the_raster_is_refused():
    with pytest.raises(GridError, match="outside of the raster"):
        selected_windows(grid(2048, 2000), rectangle_outline((3000, 0, 3100, 50)))


@pytest.mark.parametrize("is_all", [True, False])
def test_more_windows_than_allowed_are_refused_with_their_number(monkeypatch, is_all):
    monkeypatch.setattr("geo_sam2.encoder.window_selection.MAX_TILES", 4)
    square = rectangle_outline((0, 0, 2 * WINDOW_PX, 2 * WINDOW_PX))
    whole = grid(2 * WINDOW_PX, 2 * WINDOW_PX)
    assert len(selected_windows(whole, None if is_all else square)) == 4
    larger = rectangle_outline((0, 0, 3 * WINDOW_PX, 2 * WINDOW_PX))
    with pytest.raises(GridError, match="6 tiles of 1024 × 1024 pixels; at most 4 are possible"):
        selected_windows(grid(3 * WINDOW_PX, 2 * WINDOW_PX), None if is_all else larger)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that an extent selects, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.encoder.extent_outline import rectangle_outline
from geo_sam2.encoder.tiling import MAX_TILES, WINDOW_PX
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


def test_as_many_windows_as_allowed_are_not_refused(monkeypatch):
    monkeypatch.setattr("geo_sam2.encoder.window_selection.MAX_TILES", 4)
    assert len(selected_windows(grid(2 * WINDOW_PX, 2 * WINDOW_PX), None)) == 4


def test_too_many_windows_are_refused_with_their_number():
    side = (MAX_TILES + 1) * WINDOW_PX
    for ring in (None, np.array([(0, 0), (side, 0), (side, 1), (0, 1)], dtype=np.float64)):
        with pytest.raises(GridError, match="1,000,001 tiles"):
            selected_windows(grid(side, 1), ring)

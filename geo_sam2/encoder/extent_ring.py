# SPDX-License-Identifier: GPL-3.0-or-later
"""From an extent, a rectangle in any CRS, to a ring in grid pixels that selects windows.

Far from the raster (the whole world, in UTM) a change of CRS gives infinite or folded
coordinates: such a rectangle is first cut, in its own CRS, to what of it lies near the raster.
"""

from __future__ import annotations

import math

import numpy as np

from geo_sam2.encoder.crs import PointTransform, full_turn, read_crs
from geo_sam2.encoder.extent_outline import (
    Rectangle,
    bounds_of,
    outline_through,
    overlap,
    rectangle_outline,
    unwrapped,
)
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import GridError
from geo_sam2.grid import PixelGrid

# Of the raster's own size: an outline bends more between its points than the points show.
_MARGIN = 0.02

_OUTSIDE = "The extent lies outside the raster."
_OUTSIDE_HINT = "Choose an extent that overlaps the raster; mind the CRS it is given in."


def extent_ring(grid: PixelGrid, extent: Rectangle, crs: str = "") -> np.ndarray:
    """Return the outline of an extent in grid pixels.

    Args:
        grid: The encoding grid.
        extent: (x_min, y_min, x_max, y_max).
        crs: WKT or name of the extent's CRS; empty for the grid's own.

    Returns:
        (n, 2) float64, an open ring that may leave the grid; see ``Tiling.touching``.

    Raises:
        GridError: The extent is empty, lies outside the raster, or its CRS is none.
    """
    x_min, y_min, x_max, y_max = extent
    if not (all(math.isfinite(side) for side in extent) and x_min < x_max and y_min < y_max):
        raise GridError(
            f"The extent from ({x_min:g}, {y_min:g}) to ({x_max:g}, {y_max:g}) is empty.",
            "Choose an extent with some area, or none for the whole raster.",
        )
    grid_crs = read_crs(grid.crs_wkt) if grid.has_crs else None
    extent_crs = read_crs(crs) if crs and grid.has_crs else grid_crs
    outline = rectangle_outline(extent)
    if extent_crs is None or extent_crs.IsSame(grid_crs):
        ring = outline
    else:
        to_map, to_extent = PointTransform(extent_crs, grid_crs), PointTransform(grid_crs, extent_crs)
        raster = grid.to_map(_grid_outline(grid))
        raster_there = to_extent(raster)
        if _comes_back(to_map(raster_there), raster, full_turn(grid_crs)):
            outline = rectangle_outline(_near(extent, raster_there, full_turn(extent_crs)))
        # Else the raster is too large for the extent's CRS, and the extent must be small in it.
        ring = to_map(outline)
    if not np.isfinite(ring).all():
        raise GridError(_OUTSIDE, _OUTSIDE_HINT)
    ring_in_grid = grid.to_grid(_beside(ring, grid, full_turn(grid_crs)))
    if not Tiling(grid.width, grid.height).touching(ring_in_grid):
        raise GridError(_OUTSIDE, _OUTSIDE_HINT)
    return ring_in_grid


def _grid_outline(grid: PixelGrid) -> np.ndarray:
    return outline_through([(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)])


def _comes_back(back: np.ndarray, outline: np.ndarray, turn: float) -> bool:
    """Say whether points that went to another CRS and back are where they were.

    Outside the area of a projection they are infinite or folded onto others.
    """
    off = np.abs(back - outline)
    if not np.isfinite(off).all():
        return False
    if math.isfinite(turn):
        off[:, 0] = np.minimum(off[:, 0], np.abs(off[:, 0] - turn))
    x_min, y_min, x_max, y_max = bounds_of(outline)
    return bool((off < 1e-3 * np.array([x_max - x_min, y_max - y_min])).all())


def _near(extent: Rectangle, raster_outline: np.ndarray, turn: float) -> Rectangle:
    """Return what of the extent lies near the raster's outline, both in the extent's CRS."""
    ring = unwrapped(raster_outline, turn)
    if ring is None:  # round a pole: every longitude is near
        return extent
    x_min, y_min, x_max, y_max = bounds_of(ring)
    margin_x, margin_y = (x_max - x_min) * _MARGIN, (y_max - y_min) * _MARGIN
    raster = (x_min - margin_x, y_min - margin_y, x_max + margin_x, y_max + margin_y)
    parts = []
    for shift in _turns(turn):
        part = overlap((extent[0] + shift, extent[1], extent[2] + shift, extent[3]), raster)
        parts += [part] if part else []
    if not parts:
        raise GridError(_OUTSIDE, _OUTSIDE_HINT)
    return bounds_of(np.array(parts).reshape(-1, 2))


def _beside(ring: np.ndarray, grid: PixelGrid, turn: float) -> np.ndarray:
    """Return a ring on the map, moved by turns round the Earth to where the grid lies."""
    whole = unwrapped(ring, turn)
    if whole is None or math.isinf(turn):
        return ring
    moved = [whole + [shift, 0.0] for shift in _turns(turn)]
    beside = [candidate for candidate in moved if overlap(bounds_of(candidate), grid.bounds())]
    if len(beside) < 2:
        return beside[0] if beside else ring
    # An extent that goes round the Earth meets a raster across 180° from both sides.
    return rectangle_outline(bounds_of(np.concatenate(beside)))


def _turns(turn: float) -> tuple[float, ...]:
    return (0.0,) if math.isinf(turn) else (0.0, -turn, turn)

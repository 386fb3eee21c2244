# SPDX-License-Identifier: GPL-3.0-or-later
"""Which windows of a grid an encode is asked for, and when that are none or absurdly many."""

from __future__ import annotations

import numpy as np

from geo_sam2.encoder.tiling import MAX_TILES, Tiling
from geo_sam2.errors import GridError
from geo_sam2.grid import PixelGrid
from geo_sam2.tile_window import TileWindow


def selected_windows(grid: PixelGrid, ring_xy: np.ndarray | None) -> list[TileWindow]:
    """Return the windows that an extent touches, row by row.

    Args:
        grid: The raster's.
        ring_xy: Outline of the extent, (n, 2) grid pixels; None for all of the raster.

    Raises:
        GridError: The extent touches no window, or there are more than ``MAX_TILES``.
    """
    tiling = Tiling(grid.width, grid.height)
    if ring_xy is None:
        _refuse_too_many(len(tiling))  # before a list of them is made
        return list(tiling)
    windows = tiling.touching(ring_xy)
    if not windows:
        raise GridError(
            "The extent lies outside of the raster.", "Give one that touches it, or leave it out."
        )
    _refuse_too_many(len(windows))
    return windows


def _refuse_too_many(count: int) -> None:
    if count > MAX_TILES:
        raise GridError(
            f"That makes {count:,} tiles of 1024 × 1024 pixels; at most {MAX_TILES:,} are possible.",
            "Give a coarser RESOLUTION, in units of the target CRS, or a smaller EXTENT.",
        )

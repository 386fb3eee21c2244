# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixed blocks of a raster that stand for all of it: for the stretch and for the fingerprint.

The raster is divided into cells of 256 × 128 pixels, and cells evenly spread over it are read
at full resolution, so that overviews never play a part. Cells begin at multiples that the
blocks of usual files share, and are low, because a file in strips is read in whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geo_sam2.tile_window import TileWindow

CELL_WIDTH = 256
CELL_HEIGHT = 128

# Cells along either side in the first round, 2 million pixels; later rounds double it.
FIRST_ROUND = 8
ROUNDS = 3


@dataclass(frozen=True)
class PixelBlock:
    """Pixels of a window.

    Attributes:
        values: (bands, rows, columns) of any real type; what is invalid holds anything.
        valid: (rows, columns) bool.
    """

    values: np.ndarray
    valid: np.ndarray


def sample_windows(width: int, height: int, count: int = FIRST_ROUND) -> Iterator[TileWindow]:
    """Return the cells to read, row by row: the same ones for the same size, always.

    A raster of at most ``count`` cells along a side is covered along it without gap.

    Args:
        width: Columns of the raster.
        height: Rows of the raster.
        count: Cells along either side.
    """
    columns = _spread(-(-width // CELL_WIDTH), count)
    for row in _spread(-(-height // CELL_HEIGHT), count):
        yoff = row * CELL_HEIGHT
        for column in columns:
            xoff = column * CELL_WIDTH
            yield TileWindow(0, xoff, yoff, min(CELL_WIDTH, width - xoff), min(CELL_HEIGHT, height - yoff))


def _spread(cells: int, count: int) -> list[int]:
    """Return at most ``count`` of the first ``cells`` numbers, evenly spread, both ends among them."""
    if cells <= count:
        return list(range(cells))
    return [index * (cells - 1) // (count - 1) for index in range(count)]

# SPDX-License-Identifier: GPL-3.0-or-later
"""How a grid is cut into windows, and which of them a point or an area touches.

Windows are 1024 × 1024 and start at the grid's origin. They do not overlap, but for the last
column and row, which are shifted inward so that they stay whole. Pure arithmetic over a width
and a height.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from geo_sam2.errors import GridError
from geo_sam2.tile_window import TileWindow

# The side of the square that SAM 2 sees.
WINDOW_PX = 1024

# More nobody wants, 8 TB of features and months on a processor: a slip in a resolution is likelier.
MAX_TILES = 1_000_000

# An extent has to reach this far into a window to select it: one that ends on a seam may come
# back from a change of CRS a little beyond it. Far below what anybody selects on purpose.
TOUCH_PX = 1e-3


class Tiling:
    """The windows of level 0 over a grid.

    Iterating gives them row by row, from the first row of the grid down.

    Args:
        width: Columns of the grid.
        height: Rows of the grid.

    Attributes:
        columns: Windows side by side.
        rows: Windows above each other.

    Raises:
        GridError: The grid has no pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise GridError(f"A grid of {width} × {height} pixels.")
        self.width = width
        self.height = height
        self.columns = -(-width // WINDOW_PX)
        self.rows = -(-height // WINDOW_PX)

    def __len__(self) -> int:
        return self.columns * self.rows

    def __iter__(self) -> Iterator[TileWindow]:
        for row in range(self.rows):
            for column in range(self.columns):
                yield self.window(column, row)

    def window(self, column: int, row: int) -> TileWindow:
        """Return the window of a column and a row of windows, both counted from 0.

        Raises:
            GridError: There is no such column or row.
        """
        if not (0 <= column < self.columns and 0 <= row < self.rows):
            raise GridError(
                f"Window ({column}, {row}) does not exist: there are {self.columns} × {self.rows}."
            )
        xoff, width = _span(column, self.width)
        yoff, height = _span(row, self.height)
        return TileWindow(0, xoff, yoff, width, height)

    def window_at(self, x: float, y: float) -> TileWindow | None:
        """Return the window under a point, or None outside the grid.

        Where the last column or row overlaps the one before it, the point belongs to the one
        before. The outer right and lower edges of the grid belong to it.

        Args:
            x: Grid pixels from the left.
            y: Grid pixels from the top.
        """
        if not (0 <= x <= self.width and 0 <= y <= self.height):
            return None
        column = min(int(x // WINDOW_PX), self.columns - 1)
        row = min(int(y // WINDOW_PX), self.rows - 1)
        return self.window(column, row)

    def touching(self, ring_xy: Any) -> list[TileWindow]:
        """Return the windows whose area a polygon shares, row by row.

        Sharing an edge or a corner only does not count.

        Args:
            ring_xy: (n, 2) grid pixels, n ≥ 3, open or closed, in either direction; it may leave
                the grid. What lies inside is decided by the even-odd rule.

        Raises:
            GridError: The ring is no polygon.
        """
        ring = np.asarray(ring_xy, dtype=np.float64)
        if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all():
            raise GridError("An extent has no usable outline.")
        (x_min, y_min), (x_max, y_max) = ring.min(axis=0), ring.max(axis=0)
        columns = _reach(x_min, x_max, self.width, self.columns)
        spans = [_span(column, self.width) for column in columns]
        lefts = np.array([xoff for xoff, _ in spans], dtype=np.float64)
        rights = lefts + [width for _, width in spans]
        found = []
        for row in _reach(y_min, y_max, self.height, self.rows):
            yoff, height = _span(row, self.height)
            shared = _share_area(ring, lefts, rights, float(yoff), float(yoff + height))
            found += [self.window(column, row) for column, is_shared in zip(columns, shared) if is_shared]
        return found


def _span(index: int, size: int) -> tuple[int, int]:
    """Return (offset, length) along one axis of the window with an index."""
    if size <= WINDOW_PX:
        return 0, size
    return min(index * WINDOW_PX, size - WINDOW_PX), WINDOW_PX


def _reach(low: float, high: float, size: int, count: int) -> range:
    """Return the indices along one axis of the windows that an interval might touch."""
    first = math.floor(max(low, 0.0) / WINDOW_PX)
    last = math.floor(min(high, float(size)) / WINDOW_PX)
    # The last window is shifted: an interval in the one before it may touch it as well.
    last = count - 1 if last >= count - 2 else last
    return range(min(first, count - 1), last + 1) if high > 0 and low < size else range(0)


def _share_area(
    ring: np.ndarray, lefts: np.ndarray, rights: np.ndarray, top: float, bottom: float
) -> np.ndarray:
    """Return for each rectangle of a row whether it shares area with the inside of a ring.

    An edge of the ring runs through the rectangle's inside, or none does and the whole
    rectangle lies on the side on which its centre lies.

    Args:
        ring: (n, 2), open or closed.
        lefts: (k,) left edges of the rectangles.
        rights: (k,) right edges.
        top: Their common upper edge, y down.
        bottom: Their common lower edge.

    Returns:
        (k,) bool.
    """
    start, end = ring, np.roll(ring, -1, axis=0)
    middle_x, middle_y = (lefts + rights) / 2, (top + bottom) / 2

    # Even-odd: edges that a ray from the centre to the right crosses.
    crosses = (start[:, 1] > middle_y) != (end[:, 1] > middle_y)
    x0, y0 = start[crosses].T
    x1, y1 = end[crosses].T
    x_crossing = x0 + (middle_y - y0) * (x1 - x0) / (y1 - y0)
    is_inside = (x_crossing[:, None] > middle_x).sum(axis=0) % 2 == 1

    # Separating axes of a segment and an open rectangle: x, y and the segment's normal.
    near = (np.maximum(start[:, 1], end[:, 1]) > top + TOUCH_PX) & (
        np.minimum(start[:, 1], end[:, 1]) < bottom - TOUCH_PX
    )
    (x0, y0), (x1, y1) = start[near].T[:, :, None], end[near].T[:, :, None]
    left, right = lefts + TOUCH_PX, rights - TOUCH_PX
    half_x, half_y = (right - left) / 2, (bottom - top) / 2 - TOUCH_PX
    overlaps_x = (np.maximum(x0, x1) > left) & (np.minimum(x0, x1) < right)
    dx, dy = x1 - x0, y1 - y0
    distance = np.abs(dx * (middle_y - y0) - dy * (middle_x - x0))
    straddles = (distance < np.abs(dy) * half_x + np.abs(dx) * half_y) | ((dx == 0) & (dy == 0))
    return np.asarray(is_inside | (overlaps_x & straddles).any(axis=0))

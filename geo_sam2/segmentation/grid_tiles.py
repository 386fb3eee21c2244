# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiles of a store that can be decoded on, found by arithmetic and kept up to date one by one.

For the dock: tiles arrive while a person works, and there may be 100,000 of them. Ignorant of the
index and of the engine; used from one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from geo_sam2.encoder.tiling import WINDOW_PX, Tiling
from geo_sam2.engine.ring_clip import Bounds
from geo_sam2.tile_window import TileWindow


class GridTiles:
    """Which windows of a tiling are encoded.

    Answers as ``tile_choice.EncodedTiles`` does, windows row by row.

    Args:
        tiling: All windows of the grid.
        windows: Those that are encoded; others than the tiling's are never found.
    """

    def __init__(self, tiling: Tiling, windows: Iterable[TileWindow] = ()) -> None:
        self.tiling = tiling
        self._encoded = set(windows)

    def __len__(self) -> int:
        """Count the encoded windows."""
        return len(self._encoded)

    def __contains__(self, window: TileWindow) -> bool:
        """Whether a window is encoded."""
        return window in self._encoded

    def add(self, window: TileWindow) -> None:
        """Note that a window is encoded."""
        self._encoded.add(window)

    def discard(self, window: TileWindow) -> None:
        """Note that a window cannot be decoded on any more."""
        self._encoded.discard(window)

    def containing(self, x_px: float, y_px: float) -> list[TileWindow]:
        """Return the encoded windows that a point lies in, sides included: several on seams, in overlaps."""
        columns = _indices(x_px, x_px, self.tiling.width, self.tiling.columns, is_open=False)
        rows = _indices(y_px, y_px, self.tiling.height, self.tiling.rows, is_open=False)
        return [window for window in self._windows(columns, rows) if window in self._encoded]

    def meeting(self, bounds: Bounds) -> list[TileWindow]:
        """Return the encoded windows that share ground with a rectangle (x_min, y_min, x_max, y_max)."""
        return [window for window in self.all_meeting(bounds) if window in self._encoded]

    def all_meeting(self, bounds: Bounds) -> list[TileWindow]:
        """Return the windows that share ground with a rectangle, whether they are encoded or not."""
        return self._windows(*self._reach(bounds))

    def count_meeting(self, bounds: Bounds) -> int:
        """Count the windows that share ground with a rectangle, whether they are encoded or not."""
        columns, rows = self._reach(bounds)
        return len(columns) * len(rows)

    def _reach(self, bounds: Bounds) -> tuple[list[int], list[int]]:
        x_min, y_min, x_max, y_max = bounds
        tiling = self.tiling
        return (
            _indices(x_min, x_max, tiling.width, tiling.columns, is_open=True),
            _indices(y_min, y_max, tiling.height, tiling.rows, is_open=True),
        )

    def _windows(self, columns: Sequence[int], rows: Sequence[int]) -> list[TileWindow]:
        return [self.tiling.window(column, row) for row in rows for column in columns]


def _indices(low: float, high: float, size: int, count: int, *, is_open: bool) -> list[int]:
    """Return which windows along one axis an interval meets.

    Args:
        low: Start of the interval, in grid pixels.
        high: Its end, not before its start.
        size: Length of the grid.
        count: Windows along it.
        is_open: Touching a window's end is not enough.
    """
    first = max(int(low // WINDOW_PX) - 1, 0)
    last = min(int(high // WINDOW_PX), count - 1)
    # The last window is shifted inward, over the one before it.
    nearby = [*range(first, min(last + 1, count - 1)), count - 1]
    side = min(size, WINDOW_PX)
    starts = [min(index * WINDOW_PX, size - side) for index in nearby]
    if is_open:
        return [index for index, start in zip(nearby, starts) if start < high and start + side > low]
    return [index for index, start in zip(nearby, starts) if start <= high and start + side >= low]

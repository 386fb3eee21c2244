# SPDX-License-Identifier: GPL-3.0-or-later
"""Rectangles as rings of points that survive a change of CRS, and rings across the antimeridian.

Pure arithmetic: which CRS the numbers are in is not known here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Points per side: a side of a UTM zone's width bends away from its chords by 1/1000 of the bow.
SIDE_POINTS = 32

Rectangle = tuple[float, float, float, float]


def rectangle_outline(rectangle: Rectangle) -> np.ndarray:
    """Return the outline of (x_min, y_min, x_max, y_max), (4 · SIDE_POINTS, 2), open."""
    x_min, y_min, x_max, y_max = rectangle
    corners = np.array([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)], dtype=np.float64)
    return outline_through(corners)


def outline_through(corners: Any) -> np.ndarray:
    """Return the outline with straight sides through (n, 2) corners, (n · SIDE_POINTS, 2), open."""
    start = np.asarray(corners, dtype=np.float64)[:, None, :]
    steps = np.linspace(0.0, 1.0, SIDE_POINTS, endpoint=False)[None, :, None]
    points: np.ndarray = start + steps * (np.roll(start, -1, axis=0) - start)
    return points.reshape(-1, 2)


def unwrapped(ring_xy: np.ndarray, turn: float) -> np.ndarray | None:
    """Return a ring whose x does not jump by a turn round the Earth between neighbours.

    Args:
        ring_xy: (n, 2), open, finite.
        turn: 360 for degrees; infinite where x does not go round.

    Returns:
        The ring, the first point as it was; None when it goes round a pole.
    """
    if math.isinf(turn):
        return ring_xy
    closed = np.append(ring_xy[:, 0], ring_xy[0, 0])
    x = np.unwrap(closed, period=turn)
    if abs(x[-1] - x[0]) > turn / 2:
        return None
    return np.stack([x[:-1], ring_xy[:, 1]], axis=1)


def bounds_of(ring_xy: np.ndarray) -> Rectangle:
    """Return (x_min, y_min, x_max, y_max) of (n, 2) points."""
    (x_min, y_min), (x_max, y_max) = ring_xy.min(axis=0), ring_xy.max(axis=0)
    return float(x_min), float(y_min), float(x_max), float(y_max)


def overlap(one: Rectangle, other: Rectangle) -> Rectangle | None:
    """Return the rectangle that two share, or None when they share no area."""
    x_min, y_min = max(one[0], other[0]), max(one[1], other[1])
    x_max, y_max = min(one[2], other[2]), min(one[3], other[3])
    return (x_min, y_min, x_max, y_max) if x_min < x_max and y_min < y_max else None

# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut polygons at the sides of a rectangle, and say how far they reach in it.

For areas, not for display: what is cut keeps its area everywhere in the rectangle, but may hold
edges that run to and fro along its sides. numpy only; both processes use it.
"""

from __future__ import annotations

import numpy as np

from geo_sam2.engine.outline_rings import Outlines, offsets_of, shoelace

Bounds = tuple[float, float, float, float]

# Less than this is rounding, in square pixels.
_NO_AREA_PX2 = 1e-9
# How far beside a corner one looks whether polygons cover it, in pixels: they often end exactly there.
_BESIDE_PX = 1e-6


def clip_to_rectangle(outlines: Outlines, bounds: Bounds) -> Outlines:
    """Return the part of polygons in a rectangle, by Sutherland and Hodgman (doi:10.1145/360767.360802).

    A polygon that falls into several pieces stays one: its pieces are joined by edges along the
    sides of the rectangle, which enclose nothing.

    Args:
        outlines: Polygons.
        bounds: (x_min, y_min, x_max, y_max).
    """
    is_repeated = np.zeros(len(outlines.points_xy), bool)
    is_repeated[outlines.ring_offsets[1:] - 1] = True
    points, ring = outlines.points_xy[~is_repeated], outlines.ring_of_point[~is_repeated]
    for axis, side, inward in ((0, 0, 1.0), (1, 1, 1.0), (0, 2, -1.0), (1, 3, -1.0)):
        points, ring = _clip_at(points, ring, axis, bounds[side], inward)
    counts = np.bincount(ring, minlength=outlines.ring_count)
    return _closed(points, counts, outlines.polygon_offsets)


def bounds_within(outlines: Outlines, bounds: Bounds) -> Bounds | None:
    """Return the extent of what of polygons lies in a rectangle; None if that has no area.

    Args:
        outlines: Polygons.
        bounds: (x_min, y_min, x_max, y_max).
    """
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    found = np.concatenate(
        (_ends_of_segments_inside(outlines, low, high), _covered_corners(outlines, bounds))
    )
    if not len(found):
        return None
    (x_min, y_min), (x_max, y_max) = found.min(axis=0), found.max(axis=0)
    if not (x_min < x_max and y_min < y_max):
        return None
    return float(x_min), float(y_min), float(x_max), float(y_max)


def _clip_at(
    points: np.ndarray, ring: np.ndarray, axis: int, place: float, inward: float
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the vertices on one side of a line along an axis, and add those where rings cross it."""
    if not len(points):
        return points, ring
    following = np.arange(1, len(points) + 1)
    last = np.append(ring[1:] != ring[:-1], True)
    first = np.flatnonzero(np.append(True, last[:-1]))
    following[last] = first
    depth = inward * (points[:, axis] - place)
    inside = depth >= 0
    crosses = inside != inside[following]
    # Where nothing crosses the share is of no use, but must not divide by zero.
    run = np.where(crosses, depth - depth[following], 1.0)
    crossings = points + (depth / run)[:, None] * (points[following] - points)
    crossings[:, axis] = place
    emitted = np.stack((inside, crosses), axis=1)
    both = np.stack((points, crossings), axis=1)
    return both[emitted], np.repeat(ring, emitted.sum(axis=1))


def _closed(points: np.ndarray, counts: np.ndarray, polygon_offsets: np.ndarray) -> Outlines:
    """Return rings without their repeated ends as outlines; those without area are dropped."""
    filled = counts > 0
    starts = (np.cumsum(counts) - counts)[filled]
    ends = np.cumsum(counts)[filled]
    closed = np.insert(points, ends, points[starts], axis=0)
    # An empty ring has no repeated end either, and goes in the next step.
    offsets = offsets_of(counts + filled)
    area = np.zeros(len(counts))
    area[filled] = shoelace(closed, offsets_of(counts[filled] + 1))
    return Outlines(closed, offsets, polygon_offsets).select_rings(np.abs(area) > _NO_AREA_PX2)


def _ends_of_segments_inside(outlines: Outlines, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the ends, (n, 2), of the pieces of segments that run through a rectangle (Liang and Barsky)."""
    within_ring = outlines.ring_of_point[:-1] == outlines.ring_of_point[1:]
    start = outlines.points_xy[:-1][within_ring]
    run = outlines.points_xy[1:][within_ring] - start
    level = run == 0
    between = (low < start) & (start < high)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_low, at_high = (low - start) / run, (high - start) / run
    # Along a side is outside: there the polygon may lie on either hand.
    enter = np.where(level, np.where(between, -np.inf, np.inf), np.minimum(at_low, at_high))
    leave = np.where(level, np.where(between, np.inf, -np.inf), np.maximum(at_low, at_high))
    first = np.maximum(enter.max(axis=1, initial=0.0), 0.0)
    last = np.minimum(leave.min(axis=1, initial=1.0), 1.0)
    passes = first < last
    start, run, first, last = start[passes], run[passes], first[passes], last[passes]
    ends = np.concatenate((start + first[:, None] * run, start + last[:, None] * run))
    return np.asarray(np.clip(ends, low, high))


def _covered_corners(outlines: Outlines, bounds: Bounds) -> np.ndarray:
    """Return the corners of a rectangle, (n, 2), on whose inner side a polygon lies."""
    x_min, y_min, x_max, y_max = bounds
    corners = np.array([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)])
    inner = corners + _BESIDE_PX * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    within_ring = outlines.ring_of_point[:-1] == outlines.ring_of_point[1:]
    polygon = outlines.polygon_of_ring[outlines.ring_of_point[:-1][within_ring]]
    start, end = outlines.points_xy[:-1][within_ring], outlines.points_xy[1:][within_ring]
    covered = np.zeros(4, bool)
    for index, (x, y) in enumerate(inner):
        crosses = (start[:, 1] > y) != (end[:, 1] > y)
        (x_0, y_0), (x_1, y_1) = start[crosses].T, end[crosses].T
        to_the_right = x_0 + (y - y_0) * (x_1 - x_0) / (y_1 - y_0) > x
        crossings = np.bincount(polygon[crosses][to_the_right])
        covered[index] = (crossings % 2).any()
    return np.asarray(corners[covered])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Simplify rings by Douglas and Peucker, and keep the polygons valid.

All rings are simplified at once, level by level of the recursion, so that the work is done by
a few array operations instead of a Python call per vertex. Where the result would cross itself,
a neighbour or a hole, or would swallow a small ring, the segments concerned get vertices back.
"""

from __future__ import annotations

import numpy as np

from geo_sam2.engine.outline_rings import Outlines, concatenated_ranges
from geo_sam2.engine.ring_conflicts import segments_in_conflict


def simplify_rings(outlines: Outlines, tolerance_px: float, fixed: np.ndarray) -> Outlines:
    """Drop vertices so that no ring moves by more than the tolerance (Hausdorff distance).

    Args:
        outlines: Rings that neither touch nor cross.
        tolerance_px: Largest distance of a dropped vertex from the segment that replaces it, in the
            unit of the vertices.
        fixed: (N,) bool, vertices that stay, such as those on a tile's edge, where two tiles join.

    Returns:
        The same polygons and holes, none lost, that neither touch nor cross.
    """
    if not len(outlines):
        return outlines
    outlines, keep = _starting_at_anchors(outlines, fixed)
    keep[outlines.ring_offsets[:-1]] = True
    keep[outlines.ring_offsets[1:] - 1] = True
    kept = np.flatnonzero(keep)
    _split_segments(outlines, keep, kept[:-1], kept[1:], tolerance_px)
    while True:
        kept = np.flatnonzero(keep)
        conflict = segments_in_conflict(outlines, kept)
        begin, end = kept[:-1][conflict], kept[1:][conflict]
        if not (end - begin > 1).any():
            return outlines.select_points(keep)
        # At the latest with all vertices back, the rings are the original ones, which do not conflict.
        _split_segments(outlines, keep, begin, end, tolerance_px, at_least_once=True)


def _starting_at_anchors(outlines: Outlines, fixed: np.ndarray) -> tuple[Outlines, np.ndarray]:
    """Turn each ring to begin at the vertex that is farthest from its middle.

    The vertex where a ring begins survives any tolerance, so it has to be one that matters.
    """
    starts, sizes = outlines.ring_offsets[:-1], np.diff(outlines.ring_offsets)
    ring = outlines.ring_of_point
    bounds = outlines.ring_bounds
    middle = 0.5 * (bounds[:, :2] + bounds[:, 2:])
    distance = np.hypot(*(outlines.points_xy - middle[ring]).T)
    anchors = _first_maxima(distance, starts)
    # Vertex k of a turned ring is vertex (anchor + k) of the old one; its end repeats its beginning.
    within = np.arange(len(ring)) - starts[ring]
    turned = starts[ring] + (within + (anchors - starts)[ring]) % (sizes[ring] - 1)
    points = outlines.points_xy[turned]
    return Outlines(points, outlines.ring_offsets, outlines.polygon_offsets), fixed[turned]


def _split_segments(
    outlines: Outlines,
    keep: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    tolerance_px: float,
    *,
    at_least_once: bool = False,
) -> None:
    """Mark in ``keep`` the vertices between the ends of segments that are farther off than the tolerance."""
    points = outlines.points_xy
    ring_ends = outlines.ring_offsets[1:] - 1
    within_ring = ~np.isin(begin, ring_ends)
    begin, end = begin[within_ring], end[within_ring]
    while True:
        inner = end - begin - 1
        begin, end, inner = begin[inner > 0], end[inner > 0], inner[inner > 0]
        if not len(begin):
            return
        vertices = concatenated_ranges(begin + 1, inner)
        distance = _distance_to_segment(
            points[vertices], np.repeat(points[begin], inner, axis=0), np.repeat(points[end], inner, axis=0)
        )
        farthest = _first_maxima(distance, np.cumsum(inner) - inner)
        split = (distance[farthest] > tolerance_px) | at_least_once
        at_least_once = False
        middle = vertices[farthest[split]]
        keep[middle] = True
        begin, end = np.concatenate((begin[split], middle)), np.concatenate((middle, end[split]))


def _first_maxima(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the index of the first largest value in each part that begins at ``starts``."""
    sizes = np.diff(np.append(starts, len(values)))
    candidates = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, starts), sizes))
    return candidates[np.searchsorted(candidates, starts)]


def _distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of each point to its segment, which may have no length."""
    along, offset = end - start, points - start
    squared = np.einsum("ij,ij->i", along, along)
    share = np.einsum("ij,ij->i", offset, along) / np.where(squared > 0.0, squared, 1.0)
    nearest = offset - np.clip(share, 0.0, 1.0)[:, None] * along
    return np.hypot(nearest[:, 0], nearest[:, 1])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the segments of simplified rings that make polygons invalid.

Knows the three ways in which dropping vertices can do so: a ring loses its area or turns round,
segments meet, or a ring ends up on the other side of another one without meeting it. Also answers
which points lie inside a ring. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geo_sam2.engine.outline_rings import Outlines, concatenated_ranges

# Candidate pairs looked at together; bounds the memory for outlines of pure noise to about 100 MB.
PAIRS_AT_ONCE = 1_000_000
# Bands of the sweep for meeting segments hold about as many segments as this.
BOXES_PER_BAND = 256


def segments_in_conflict(original: Outlines, kept: np.ndarray) -> np.ndarray:
    """Say which segments between kept vertices need some of their vertices back.

    Args:
        original: Rings that neither touch nor cross.
        kept: (K,) increasing indices of the vertices that are left, among them both ends of each ring.

    Returns:
        (K - 1,) bool, for the segments from each kept vertex to the next; never set between rings.
    """
    ring = original.ring_of_point[kept]
    is_segment = ring[:-1] == ring[1:]
    offsets = np.searchsorted(kept, original.ring_offsets).astype(np.int32)
    simplified = Outlines(original.points_xy[kept], offsets, original.polygon_offsets)

    conflict = np.zeros(len(kept) - 1, bool)
    collapsed = np.diff(offsets) < 4
    collapsed |= original.signed_ring_area_px2 * simplified.signed_ring_area_px2 <= 0.0
    conflict[collapsed[ring[:-1]]] = True
    conflict[_meeting(simplified, is_segment, np.diff(kept) > 1)] = True
    conflict[_running_back(simplified, is_segment)] = True
    if not conflict.any():
        conflict[_swallowing(original, kept, is_segment)] = True
    return conflict & is_segment


def points_in_ring(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Say of each point (n, 2) whether it lies inside a closed ring, by counting crossings to its right."""
    order = np.argsort(points[:, 1], kind="stable")
    y_sorted = points[order, 1]
    start, end = ring[:-1], ring[1:]
    # Half-open, so that a vertex at the height of a point counts once.
    first = np.searchsorted(y_sorted, np.minimum(start[:, 1], end[:, 1]))
    counts = np.searchsorted(y_sorted, np.maximum(start[:, 1], end[:, 1])) - first
    which = order[concatenated_ranges(first, counts)]
    start, end = np.repeat(start, counts, axis=0), np.repeat(end, counts, axis=0)
    share = (points[which, 1] - start[:, 1]) / (end[:, 1] - start[:, 1])
    right = points[which, 0] < start[:, 0] + share * (end[:, 0] - start[:, 0])
    return np.bincount(which[right], minlength=len(points)) % 2 == 1


def _meeting(simplified: Outlines, is_segment: np.ndarray, replaced: np.ndarray) -> np.ndarray:
    """Return the segments that touch or cross another one that is not their neighbour in the ring."""
    points = simplified.points_xy
    segment = np.flatnonzero(is_segment)
    start, end = points[segment], points[segment + 1]
    replaced = replaced[segment]
    following = segment + 1
    first, last = simplified.ring_offsets[:-1], simplified.ring_offsets[1:] - 1
    closing = np.isin(following, last)
    following[closing] = first[simplified.ring_of_point[following[closing]]]
    met = [np.empty(0, np.int64)]
    for one, two in _overlapping_boxes(np.minimum(start, end), np.maximum(start, end)):
        # The original segments do not meet each other.
        candidate = replaced[one] | replaced[two]
        candidate &= (following[one] != segment[two]) & (following[two] != segment[one])
        one, two = one[candidate], two[candidate]
        a, b, c, d = start[one], end[one], start[two], end[two]
        meeting = (_turn(a, b, c) * _turn(a, b, d) <= 0.0) & (_turn(c, d, a) * _turn(c, d, b) <= 0.0)
        met += [segment[one[meeting]], segment[two[meeting]]]
    return np.concatenate(met)


def _overlapping_boxes(low: np.ndarray, high: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield index arrays (i, j) of boxes that overlap or touch, each pair at least once.

    A sweep along x in bands of y: each box stands in every band that it reaches, and the bands
    are laid out one behind the other along x, so that one sorted sweep serves all of them.
    """
    bottom, left = low[:, 1].min(), low[:, 0].min()
    bands = len(low) // BOXES_PER_BAND + 1
    band_height = max((high[:, 1].max() - bottom) / bands, np.finfo(np.float64).tiny)
    band_width = high[:, 0].max() - left + 1.0
    first_band = np.floor((low[:, 1] - bottom) / band_height)
    count = (np.floor((high[:, 1] - bottom) / band_height) - first_band).astype(np.int64) + 1
    box = np.repeat(np.arange(len(low)), count)
    shift = concatenated_ranges(first_band.astype(np.int64), count) * band_width
    # Adding the same number keeps the order of two numbers, so rounding separates no touching boxes.
    begins, ends = low[box, 0] - left + shift, high[box, 0] - left + shift
    order = np.argsort(begins, kind="stable")
    box, begins, ends = box[order], begins[order], ends[order]

    counts = np.searchsorted(begins, ends, side="right") - np.arange(len(box)) - 1
    total = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = total[begin] - counts[begin]
        end = max(int(np.searchsorted(total, done + PAIRS_AT_ONCE, side="right")), begin + 1)
        one = box[np.repeat(np.arange(begin, end), counts[begin:end])]
        two = box[concatenated_ranges(np.arange(begin, end) + 1, counts[begin:end])]
        overlap = (low[one, 1] <= high[two, 1]) & (low[two, 1] <= high[one, 1])
        yield one[overlap], two[overlap]
        begin = end


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return twice the signed areas of the triangles a, b, c."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _running_back(simplified: Outlines, is_segment: np.ndarray) -> np.ndarray:
    """Return the segments that lie on the one before or after them, which share a vertex anyway."""
    points = simplified.points_xy
    segment = np.flatnonzero(is_segment)
    step = points[segment + 1] - points[segment]
    counts = np.diff(simplified.ring_offsets) - 1
    first = np.cumsum(counts) - counts
    before = np.arange(len(segment)) - 1
    before[first] = first + counts - 1
    cross = step[before, 0] * step[:, 1] - step[before, 1] * step[:, 0]
    back = (cross == 0.0) & (np.einsum("ij,ij->i", step[before], step) <= 0.0)
    return np.concatenate((segment[back], segment[before[back]]))


def _swallowing(original: Outlines, kept: np.ndarray, is_segment: np.ndarray) -> list[int]:
    """Return the segments that changed sides with a whole ring.

    Where no segments meet, a ring changes sides as a whole: its first vertex, too, lies between the
    segment and the vertices that the segment replaces.
    """
    segment = np.flatnonzero(is_segment & (np.diff(kept) > 1))
    if original.ring_count < 2 or not len(segment):
        return []
    points = original.points_xy
    begin, sizes = kept[segment], np.diff(kept)[segment] + 1
    replaced, starts = points[concatenated_ranges(begin, sizes)], np.cumsum(sizes) - sizes
    firsts = points[original.ring_offsets[:-1]]
    low = np.concatenate((np.minimum.reduceat(replaced, starts), firsts))
    high = np.concatenate((np.maximum.reduceat(replaced, starts), firsts))
    ring = original.ring_of_point[begin]
    found = []
    for one, two in _overlapping_boxes(low, high):
        loop, vertex = np.minimum(one, two), np.maximum(one, two) - len(segment)
        candidate = (loop < len(segment)) & (vertex >= 0)
        loop, vertex = loop[candidate], vertex[candidate]
        other = ring[loop] != vertex
        loop, vertex = loop[other], vertex[other]
        for index in np.unique(loop):
            chain = points[begin[index] : begin[index] + sizes[index]]
            closed = np.concatenate((chain, chain[:1]))
            if points_in_ring(firsts[vertex[loop == index]], closed).any():
                found.append(segment[index])
    return found

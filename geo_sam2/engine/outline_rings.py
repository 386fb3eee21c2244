# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygons as flat arrays: the form in which outlines are made, filtered and sent.

Owns the layout, orientation, areas and selection of rings. numpy only: ignorant of logits,
tracing and the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geo_sam2.errors import ProtocolError


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons with holes, in pixel coordinates: x right, y down, (0, 0) = outer corner of the first pixel.

    A ring is closed: its first vertex is repeated as its last. The first ring of a polygon is its
    exterior, the others are its holes. Exteriors have a negative shoelace sum
    Σ(x₀·y₁ − x₁·y₀) in these y-down coordinates, holes a positive one. With y turned upwards,
    as on a map, and as seen on the screen, exteriors therefore run counter-clockwise and holes
    clockwise, which is the order of OGC Simple Features and GeoJSON (RFC 7946, 3.1.6).

    Attributes:
        points_xy: (N, 2) float64. Not float32: its steps at 1,024 px would let vertices of a thin
            neck coincide, and lattices of joined tiles are wider than one window.
        ring_offsets: (R + 1,) int32; ring r is ``points_xy[ring_offsets[r]:ring_offsets[r + 1]]``.
        polygon_offsets: (P + 1,) int32; polygon p owns the rings from ``polygon_offsets[p]`` up to,
            not including, ``polygon_offsets[p + 1]``.
    """

    points_xy: np.ndarray
    ring_offsets: np.ndarray
    polygon_offsets: np.ndarray

    @classmethod
    def empty(cls) -> Outlines:
        """Return outlines without a polygon."""
        return cls(np.empty((0, 2)), np.zeros(1, np.int32), np.zeros(1, np.int32))

    @classmethod
    def from_arrays(
        cls, points_xy: np.ndarray, ring_offsets: np.ndarray, polygon_offsets: np.ndarray
    ) -> Outlines:
        """Make outlines of arrays that came from elsewhere.

        Raises:
            ProtocolError: The arrays do not describe closed rings of polygons.
        """
        if points_xy.ndim != 2 or points_xy.shape[1] != 2 or points_xy.dtype != np.float64:
            raise ProtocolError(
                f"Outline points are not float64 pairs but {points_xy.dtype} {points_xy.shape}."
            )
        _check_offsets("Ring", ring_offsets, 4, len(points_xy))
        _check_offsets("Polygon", polygon_offsets, 1, len(ring_offsets) - 1)
        if not np.isfinite(points_xy).all():
            raise ProtocolError("Outline points hold NaN or infinite values.")
        if (points_xy[ring_offsets[:-1]] != points_xy[ring_offsets[1:] - 1]).any():
            raise ProtocolError("A ring of an outline is not closed.")
        return cls(points_xy, ring_offsets, polygon_offsets)

    @classmethod
    def concatenate(cls, parts: Sequence[Outlines]) -> Outlines:
        """Return all polygons of several outlines, in order."""
        return cls(
            np.concatenate([part.points_xy for part in parts]),
            _joined_offsets([part.ring_offsets for part in parts]),
            _joined_offsets([part.polygon_offsets for part in parts]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by their names, as ``from_arrays`` takes them and messages carry them."""
        return {
            "points_xy": self.points_xy,
            "ring_offsets": self.ring_offsets,
            "polygon_offsets": self.polygon_offsets,
        }

    def __len__(self) -> int:
        """Count the polygons."""
        return len(self.polygon_offsets) - 1

    @property
    def ring_count(self) -> int:
        """Count the rings of all polygons, exteriors and holes."""
        return len(self.ring_offsets) - 1

    def ring(self, index: int) -> np.ndarray:
        """Return the closed ring with this index as a view of (n, 2) points."""
        return self.points_xy[self.ring_offsets[index] : self.ring_offsets[index + 1]]

    def polygons(self) -> Iterator[list[np.ndarray]]:
        """Yield the rings of each polygon, exterior first."""
        for first, end in zip(self.polygon_offsets[:-1], self.polygon_offsets[1:]):
            yield [self.ring(index) for index in range(first, end)]

    @cached_property
    def is_exterior(self) -> np.ndarray:
        """Say of each ring whether it is the exterior of its polygon: (R,) bool."""
        exterior = np.zeros(self.ring_count, bool)
        exterior[self.polygon_offsets[:-1]] = True
        return exterior

    @cached_property
    def polygon_of_ring(self) -> np.ndarray:
        """Index of the polygon that owns each ring: (R,) integers."""
        return np.repeat(np.arange(len(self)), np.diff(self.polygon_offsets))

    @cached_property
    def ring_of_point(self) -> np.ndarray:
        """Index of the ring that owns each vertex: (N,) integers."""
        return np.repeat(np.arange(self.ring_count), np.diff(self.ring_offsets))

    @cached_property
    def signed_ring_area_px2(self) -> np.ndarray:
        """Area of each ring, positive for exteriors and negative for holes: (R,) float64."""
        return -shoelace(self.points_xy, self.ring_offsets)

    @cached_property
    def area_px2(self) -> np.ndarray:
        """Area of each polygon without its holes, in square pixels: (P,) float64."""
        if not len(self):
            return np.zeros(0)
        return np.add.reduceat(self.signed_ring_area_px2, self.polygon_offsets[:-1])

    @cached_property
    def ring_bounds(self) -> np.ndarray:
        """Bounding box of each ring as x_min, y_min, x_max, y_max: (R, 4) float64."""
        if not self.ring_count:
            return np.empty((0, 4))
        starts = self.ring_offsets[:-1]
        lowest = np.minimum.reduceat(self.points_xy, starts)
        return np.hstack((lowest, np.maximum.reduceat(self.points_xy, starts)))

    def polygons_between(self, first: int, end: int) -> Outlines:
        """Return the polygons with the indices from ``first`` up to, not including, ``end``."""
        polygon_offsets = self.polygon_offsets[first : end + 1]
        ring_offsets = self.ring_offsets[polygon_offsets[0] : polygon_offsets[-1] + 1]
        points = self.points_xy[ring_offsets[0] : ring_offsets[-1]]
        return Outlines(points, ring_offsets - ring_offsets[0], polygon_offsets - polygon_offsets[0])

    def select_points(self, keep: np.ndarray) -> Outlines:
        """Keep the vertices that ``keep`` (N,) bool marks; every ring must keep its two ends."""
        counts = np.zeros(0, np.int32)
        if self.ring_count:
            counts = np.add.reduceat(keep, self.ring_offsets[:-1], dtype=np.int32)
        return Outlines(self.points_xy[keep], offsets_of(counts), self.polygon_offsets)

    def select_rings(self, keep: np.ndarray) -> Outlines:
        """Keep the rings that ``keep`` (R,) bool marks; a polygon goes with its exterior."""
        keep = keep & keep[self.polygon_offsets[:-1]][self.polygon_of_ring]
        ring_counts = np.bincount(self.polygon_of_ring[keep], minlength=len(self))
        return Outlines(
            self.points_xy[keep[self.ring_of_point]],
            offsets_of(np.diff(self.ring_offsets)[keep]),
            offsets_of(ring_counts[ring_counts > 0]),
        )

    def oriented(self) -> Outlines:
        """Turn round the rings that run against the order that this class states."""
        turned = (self.signed_ring_area_px2 < 0) == self.is_exterior
        ring = self.ring_of_point
        order = np.arange(len(self.points_xy))
        mirrored = self.ring_offsets[ring] + self.ring_offsets[ring + 1] - 1 - order
        order = np.where(turned[ring], mirrored, order)
        return Outlines(self.points_xy[order], self.ring_offsets, self.polygon_offsets)


def _joined_offsets(parts: Sequence[np.ndarray]) -> np.ndarray:
    counts = np.concatenate([np.diff(part) for part in parts])
    return offsets_of(counts)


def _check_offsets(name: str, offsets: np.ndarray, at_least: int, total: int) -> None:
    if offsets.ndim != 1 or offsets.dtype != np.int32 or not len(offsets):
        raise ProtocolError(f"{name} offsets are not a list of int32 but {offsets.dtype} {offsets.shape}.")
    if offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets.astype(np.int64)) < at_least).any():
        raise ProtocolError(f"{name} offsets do not divide {total} parts into at least {at_least} each.")


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Return the running offsets (n + 1,) int32 of parts with these sizes (n,)."""
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


def concatenated_ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return start, start + 1, … (count numbers) of every pair, one after the other."""
    begins = np.cumsum(counts) - counts
    within = np.arange(int(np.sum(counts)))
    return np.asarray(within + np.repeat(starts - begins, counts))


def shoelace(points_xy: np.ndarray, ring_offsets: np.ndarray) -> np.ndarray:
    """Return ½ Σ(x₀·y₁ − x₁·y₀) of each closed ring, exact to rounding wherever the ring lies."""
    if len(ring_offsets) < 2:
        return np.zeros(0)
    starts = ring_offsets[:-1]
    # Relative to the ring's first vertex: far coordinates do not cost digits, and the step from one
    # ring's end to the next one's start, from (0, 0) to (0, 0), adds nothing.
    local = points_xy - np.repeat(points_xy[starts], np.diff(ring_offsets), axis=0)
    x, y = local[:, 0], local[:, 1]
    twice = np.zeros(len(x))
    twice[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
    return 0.5 * np.add.reduceat(twice, starts)


def without_collinear_points(outlines: Outlines, within_px: float = 1e-9) -> Outlines:
    """Drop vertices on the straight line between their two neighbours (to rounding error)."""
    points = outlines.points_xy
    if not len(points):
        return outlines
    following, previous = neighbours(outlines.ring_offsets)
    ahead = points[following] - points
    across = points[following] - points[previous]
    deviation = np.abs(ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0])
    corner = deviation > within_px * np.hypot(across[:, 0], across[:, 1])
    return _with_vertices(outlines, corner)


def neighbours(ring_offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the vertex after and before each vertex of closed rings.

    The repeated last vertex has the neighbours of the first.
    """
    first, last = ring_offsets[:-1], ring_offsets[1:] - 1
    order = np.arange(ring_offsets[-1])
    following, previous = order + 1, order - 1
    following[last] = first + 1
    previous[first] = last - 1
    return following, previous


def _with_vertices(outlines: Outlines, keep: np.ndarray) -> Outlines:
    """Keep the marked vertices and close the rings again where their ends are dropped."""
    last = outlines.ring_offsets[1:] - 1
    distinct = keep.copy()
    distinct[last] = False
    counts = np.add.reduceat(distinct, outlines.ring_offsets[:-1], dtype=np.int32)
    kept = np.flatnonzero(distinct)
    firsts = kept[np.cumsum(counts) - counts]
    ends = np.cumsum(counts)
    points = outlines.points_xy[np.insert(kept, ends, firsts)]
    return Outlines(points, offsets_of(counts + 1), outlines.polygon_offsets)

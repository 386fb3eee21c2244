# SPDX-License-Identifier: GPL-3.0-or-later
"""Trace where a bilinear surface exceeds a threshold, as polygons with holes.

Marching squares on the lattice of samples gives the topology and the points where the
contour crosses lattice lines; they are exact, since the surface is linear along those lines.
Inside a cell the contour of a bilinear surface is an arc of a hyperbola: where the chord
would leave it visibly, points of the arc itself are put in. This is as precise as tracing an
image of full-size logits, at a sixteenth of its cells and with far fewer vertices.

Ignorant of windows and models; positions are any strictly increasing ones.
"""

from __future__ import annotations

import numpy as np
from contourpy import FillType, contour_generator

from geo_sam2.engine.outline_rings import Outlines, concatenated_ranges, offsets_of

# How far a chord may leave the arc that it replaces, in the unit of the positions (pixels).
ARC_TOLERANCE = 0.02
MAX_CHORDS_PER_CELL = 16
# A sample that (nearly) equals the threshold is moved off it by this share of the contrast to its
# neighbours: crossings then keep that distance, as a share of a cell, from the lattice's nodes,
# where up to four of them would coincide, and rings would touch.
NODE_CLEARANCE = 1e-4


def trace_surface(
    values: np.ndarray, x_positions: np.ndarray, y_positions: np.ndarray, threshold: float
) -> Outlines:
    """Outline the region of a bilinear surface that lies above a threshold.

    Args:
        values: (rows, columns) finite floats.
        x_positions: (columns,) strictly increasing positions.
        y_positions: (rows,) strictly increasing positions.
        threshold: A number of the dtype of ``values``; a sample equal to it is outside, as in
            upstream's ``logits > threshold``.

    Returns:
        Polygons in the positions' unit that do not touch each other or themselves, oriented as
        ``Outlines`` says, closed along the lattice's outer rectangle, whose coordinates are exact.
    """
    box = box_above(values, threshold)
    if box is None:
        return Outlines.empty()
    rows, columns = box
    height = _off_the_nodes(values[box].astype(np.float64) - threshold)
    x_positions, y_positions = x_positions[columns], y_positions[rows]

    generator = contour_generator(z=height, name="serial", fill_type=FillType.ChunkCombinedOffsetOffset)
    (points,), (ring_offsets,), (polygon_offsets,) = generator.filled(0.0, np.inf)
    points, ring_offsets = _with_arcs(points, ring_offsets.astype(np.int64), height, x_positions, y_positions)
    points_xy = np.column_stack(
        (_at_indices(points[:, 0], x_positions), _at_indices(points[:, 1], y_positions))
    )
    # contourpy's exteriors have a positive shoelace sum: the other way round.
    return Outlines(points_xy, ring_offsets, polygon_offsets.astype(np.int32)).oriented()


def box_above(values: np.ndarray, threshold: float) -> tuple[slice, slice] | None:
    """Return the rows and columns that hold samples above the threshold, and one more on each side."""
    above = values > threshold
    rows = np.flatnonzero(above.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(above.any(axis=0))
    return (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )


def _off_the_nodes(height: np.ndarray) -> np.ndarray:
    """Move heights away from 0 to keep contour crossings off the nodes; 0 itself goes below."""
    size = np.abs(height)
    contrast = np.zeros_like(size)
    contrast[1:] = size[:-1]
    np.maximum(contrast[:-1], size[1:], out=contrast[:-1])
    np.maximum(contrast[:, 1:], size[:, :-1], out=contrast[:, 1:])
    np.maximum(contrast[:, :-1], size[:, 1:], out=contrast[:, :-1])
    size = np.maximum(size, NODE_CLEARANCE * contrast)
    return np.where(height > 0.0, size, -size)


def _with_arcs(
    points: np.ndarray,
    ring_offsets: np.ndarray,
    height: np.ndarray,
    x_positions: np.ndarray,
    y_positions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Put points of the hyperbola between the crossings of each cell that need them.

    In cell coordinates u, v of 0 … 1 the surface is a + b·u + c·v + d·u·v. Its zero set between
    two crossings is u(t) = (u₀(1−t) + u₁·r·t) / ((1−t) + r·t), v(t) likewise with r and 1 swapped,
    r² = (c + d·u₀) / (c + d·u₁): a conic in standard form, whose point at t = ½ is the farthest
    from the chord (Farin, Curves and Surfaces for CAGD, on conics).

    Args:
        points: (N, 2) closed rings in index coordinates of the lattice.
        ring_offsets: (R + 1,) offsets of the rings.
        height: (rows, columns) surface less the threshold.
        x_positions: (columns,) positions, for the size of a cell.
        y_positions: (rows,) positions.

    Returns:
        Points and ring offsets with the arcs' points added.
    """
    start, end = points[:-1], points[1:]
    # The middle of a chord tells its cell; along the border it may sit on the last lattice line.
    column, row = np.floor(0.5 * (start + end)).astype(np.int64).T
    np.clip(column, 0, height.shape[1] - 2, out=column)
    np.clip(row, 0, height.shape[0] - 2, out=row)
    a = height[row, column]
    b, c = height[row, column + 1] - a, height[row + 1, column] - a
    d = height[row + 1, column + 1] - a - b - c
    u0, v0 = start[:, 0] - column, start[:, 1] - row
    u1, v1 = end[:, 0] - column, end[:, 1] - row
    slope0, slope1 = c + d * u0, c + d * u1
    # Chords along the border are straight. Slopes of unlike signs are the two branches of a saddle
    # that marching squares, which judges by the cell's mean, joined: there the chord stays.
    bent = (u0 != u1) & (v0 != v1) & (slope0 * slope1 >= 0.0) & (slope0 != slope1)
    bent[ring_offsets[1:-1] - 1] = False  # from one ring's end to the next one's start
    # Two branches that all but meet in the saddle point, where a slope is 0, keep a distance there too.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.clip(np.sqrt(np.abs(slope0 / slope1)), NODE_CLEARANCE, 1.0 / NODE_CLEARANCE)
    ratio[~bent] = 1.0

    pitch_x, pitch_y = np.diff(x_positions)[column], np.diff(y_positions)[row]
    bend_x = ((u0 + u1 * ratio) / (1.0 + ratio) - 0.5 * (u0 + u1)) * pitch_x
    bend_y = ((v0 * ratio + v1) / (1.0 + ratio) - 0.5 * (v0 + v1)) * pitch_y
    along_x, along_y = (u1 - u0) * pitch_x, (v1 - v0) * pitch_y
    length = np.maximum(np.hypot(along_x, along_y), np.finfo(np.float64).tiny)
    sagitta = np.abs(bend_x * along_y - bend_y * along_x) / length
    # Cutting an arc into n chords divides its sagitta by about n².
    chords = np.clip(np.ceil(np.sqrt(sagitta / ARC_TOLERANCE)), 1, MAX_CHORDS_PER_CELL).astype(np.int64)

    counts = np.append(chords, 1)  # the very last vertex begins no chord
    segment = np.repeat(np.arange(len(points)), counts)[:-1]
    t = concatenated_ranges(np.zeros(len(chords), np.int64), chords) / chords[segment]
    near, far = 1.0 - t, ratio[segment] * t
    near_v, far_v = ratio[segment] * near, t
    u = (u0[segment] * near + u1[segment] * far) / (near + far)
    v = (v0[segment] * near_v + v1[segment] * far_v) / (near_v + far_v)
    arcs = np.column_stack((u + column[segment], v + row[segment]))
    first_of = np.cumsum(counts) - counts
    arcs = np.concatenate((arcs, points[-1:]))
    arcs[first_of] = points  # crossings and corners stay as they were traced
    offsets = np.append(first_of[ring_offsets[:-1]], len(arcs))
    return arcs, offsets_of(np.diff(offsets))


def _at_indices(indices: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the positions at fractional indices; whole indices give their position exactly."""
    nearest = np.rint(indices)
    # contourpy interpolates both coordinates of a crossing, and misses some lattice lines by 3e-14.
    indices = np.where(np.abs(indices - nearest) < 1e-9, nearest, indices)
    return np.interp(indices, np.arange(len(positions)), positions)

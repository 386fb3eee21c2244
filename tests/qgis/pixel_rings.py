# SPDX-License-Identifier: GPL-3.0-or-later
"""Outline the set pixels of a mask along their edges, with NumPy alone; for the fake engine.

Written apart from the product's own tracer, so that one can be held against the other.
"""

from __future__ import annotations

import numpy as np

_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)


def pixel_polygons(mask):
    """Return polygons as lists of rings, the exterior first.

    Pixels belong together across their sides, not their corners. Rings are closed (n, 2)
    arrays of pixel corners, x right and y down, without vertices on straight lines;
    exteriors have a negative shoelace sum, holes a positive one.
    """
    rings = _rings(np.asarray(mask, bool))
    exteriors = [ring for ring in rings if _shoelace(ring) < 0]
    holes = [ring for ring in rings if _shoelace(ring) > 0]
    polygons = [[ring] for ring in exteriors]
    for hole in holes:
        inside = [polygon for polygon in polygons if contains(polygon[0], _hole_point(hole))]
        min(inside, key=lambda polygon: -_shoelace(polygon[0])).append(hole)
    return polygons


def contains(ring, point_xy):
    """Say whether a point lies in a closed ring, by the even-odd rule."""
    x, y = point_xy
    start, end = ring[:-1], ring[1:]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    (x0, y0), (x1, y1) = start[crosses].T, end[crosses].T
    return bool((x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x).sum() % 2)


def _rings(mask):
    edges = _edges(mask)
    rings = []
    while edges:
        rings.append(_walk(edges, next(iter(edges))))
    return rings


def _edges(mask):
    """Return, for each corner, the steps along pixel edges that begin there.

    Each set pixel is walked around down its left side, right along its lower one, and so on; an
    edge between two set pixels is none.
    """
    padded = np.pad(mask, 1)
    edges = {}
    for neighbour, (x, y), step in (
        (padded[1:-1, :-2], (0, 0), _DOWN),
        (padded[2:, 1:-1], (0, 1), _RIGHT),
        (padded[1:-1, 2:], (1, 1), _UP),
        (padded[:-2, 1:-1], (1, 0), _LEFT),
    ):
        for row, column in np.argwhere(mask & ~neighbour).tolist():
            edges.setdefault((column + x, row + y), []).append(step)
    return edges


def _walk(edges, start):
    """Follow edges from a corner until its first edge comes again; takes them out of ``edges``."""
    first = step = edges[start][0]
    corner, vertices = start, []
    while True:
        corner = (corner[0] + step[0], corner[1] + step[1])
        following = _next_step(step, edges[corner])
        if following != step:
            vertices.append(corner)
        edges[corner].remove(following)
        if not edges[corner]:
            del edges[corner]
        if corner == start and following == first:
            return np.array([*vertices, vertices[0]], float)
        step = following


def _next_step(step, choices):
    """Where two pixels meet at a corner only, stay with the one that is being walked around."""
    dx, dy = step
    towards_pixel = (dy, -dx)
    return towards_pixel if towards_pixel in choices else choices[0]


def _shoelace(ring):
    x, y = ring.T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def _hole_point(hole):
    """Return the centre of a pixel in a hole, beside its first edge."""
    x, y = hole[0]
    dx, dy = np.sign(hole[1] - hole[0])
    return x + dx / 2 - dy / 2, y + dy / 2 + dx / 2

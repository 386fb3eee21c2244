# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring polygons into another CRS without letting their straight edges leave the ground that they enclose.

An edge that is straight in one CRS is an arc in another. Where the chord between its moved ends
would leave that arc, vertices are put in; where it would not, which is nearly always, none are.
"""

from __future__ import annotations

import sys

import numpy as np
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsLineString,
    QgsUnitTypes,
)

from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.errors import OutputError
from geo_sam2.segmentation.object_outline import multi_polygon
from geo_sam2.segmentation.polygon_validity import valid_polygons

# How far a chord may leave its arc, as a share of the polygon's diagonal: a hundredth of a pixel for
# an object of a thousand.
_TOLERANCE = 1e-5
# An edge is halved so often at most: across a tear in a projection no number would be enough.
_MAX_HALVINGS = 10
_FULL_TURN = 360.0


class CrsChange:
    """The way of polygons from one CRS to another.

    Where either side has no CRS, coordinates are taken for those of the other.

    Args:
        source: Of the polygons.
        target: Where they go.
        transform_context: Which transformation to choose where there are several.
    """

    def __init__(
        self,
        source: QgsCoordinateReferenceSystem,
        target: QgsCoordinateReferenceSystem,
        transform_context: QgsCoordinateTransformContext,
    ) -> None:
        self._transform = QgsCoordinateTransform(source, target, transform_context)
        self._turns = (
            target.isValid()
            and target.isGeographic()
            and target.mapUnits() == QgsUnitTypes.DistanceUnit.DistanceDegrees
        )

    def __call__(self, geometry: QgsGeometry) -> QgsGeometry:
        """Return a polygon or multi-polygon in the target CRS, as a valid multi-polygon.

        Curves, heights and measures are left behind: outlines have none. Across the antimeridian
        longitudes go on beyond 180°, so that the polygon stays in one piece.

        Raises:
            OutputError: A vertex has no place in the target CRS.
        """
        if self._transform.isShortCircuited():
            return valid_polygons(geometry)
        polygons = _rings(geometry)
        if not polygons:
            return valid_polygons(geometry)
        moved = self._moved_rings([ring for rings in polygons for ring in rings])
        placed = Outlines(
            np.concatenate(moved),
            offsets_of(np.array([len(ring) for ring in moved])),
            offsets_of(np.array([len(rings) for rings in polygons])),
        )
        return valid_polygons(multi_polygon(placed))

    def _moved_rings(self, rings: list[np.ndarray]) -> list[np.ndarray]:
        ends = [self._points(ring) for ring in rings]
        first = ends[0][0]
        ends = [self._near(points, first) for points in ends]
        everything = np.concatenate(ends)
        tolerance = _TOLERANCE * float(np.hypot(*np.ptp(everything, axis=0)))
        return [self._filled(ring, points, tolerance) for ring, points in zip(rings, ends)]

    def _filled(self, source: np.ndarray, target: np.ndarray, tolerance: float) -> np.ndarray:
        """Put vertices into the edges of a closed ring until no chord leaves its arc."""
        open_edges = np.arange(len(source) - 1)
        for _ in range(_MAX_HALVINGS):
            middles = 0.5 * (source[open_edges] + source[open_edges + 1])
            moved = self._near(self._points(middles), target[0])
            chords = 0.5 * (target[open_edges] + target[open_edges + 1])
            bent = np.hypot(*(moved - chords).T) > tolerance
            if not bent.any():
                break
            where = open_edges[bent] + 1
            source = np.insert(source, where, middles[bent], axis=0)
            target = np.insert(target, where, moved[bent], axis=0)
            # Each halved edge became two, and pushed those behind it on by one.
            begins = open_edges[bent] + np.arange(len(where))
            open_edges = np.sort(np.concatenate((begins, begins + 1)))
        return target

    def _points(self, points_xy: np.ndarray) -> np.ndarray:
        """Return the places of (n, 2) points in the target CRS."""
        x, y = points_xy[:, 0].tolist(), points_xy[:, 1].tolist()
        # A line of one point would be none.
        line = QgsLineString([*x, x[-1]], [*y, y[-1]])
        try:
            line.transform(self._transform)
        except QgsCsException as error:
            raise _no_place() from error
        order = "<" if sys.byteorder == "little" else ">"
        # A WKB of a line: byte order, type, number of points, then the points.
        moved = np.frombuffer(bytes(line.asWkb()), f"{order}f8", offset=9).reshape(-1, 2)[:-1]
        if not np.isfinite(moved).all():
            raise _no_place()
        return moved

    def _near(self, points_xy: np.ndarray, first_xy: np.ndarray) -> np.ndarray:
        if not self._turns:
            return points_xy
        turns = np.round((points_xy[:, 0] - first_xy[0]) / _FULL_TURN)
        return points_xy - np.column_stack((turns * _FULL_TURN, np.zeros(len(points_xy))))


def _rings(geometry: QgsGeometry) -> list[list[np.ndarray]]:
    """Return the closed rings of each polygon in the order and direction in which they run."""
    flat = QgsGeometry(geometry.constGet().segmentize())
    flat.convertToMultiType()
    return [
        [np.array([(point.x(), point.y()) for point in ring]) for ring in polygon if ring]
        for polygon in flat.asMultiPolygon()
        if polygon and polygon[0]
    ]


def _no_place() -> OutputError:
    return OutputError(
        "The object has no place in the CRS of the layer.",
        "Choose an output layer whose CRS covers the image.",
    )

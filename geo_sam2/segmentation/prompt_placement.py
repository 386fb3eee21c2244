# SPDX-License-Identifier: GPL-3.0-or-later
"""From the geometry of a feature to pixels of the encoding grid.

Owns the change of CRS, what happens at the antimeridian, and which of the many kinds of
geometry is a click, a line or a polygon. Ignorant of labels, objects and tiles.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsWkbTypes,
)

from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.errors import PromptError
from geo_sam2.grid import PixelGrid

# Sides are bent by a change of CRS: this many vertices are put into each before it.
_VERTICES_PER_SIDE = 7
_DECIMALS = 6


def grid_crs(grid: PixelGrid) -> QgsCoordinateReferenceSystem:
    """Return the CRS of a grid as QGIS knows it; invalid where the grid has none."""
    by_name = QgsCoordinateReferenceSystem(grid.crs_authid) if grid.crs_authid else None
    if by_name is not None and by_name.isValid():
        return by_name
    return (
        QgsCoordinateReferenceSystem.fromWkt(grid.crs_wkt) if grid.has_crs else QgsCoordinateReferenceSystem()
    )


class GridPlacement:
    """Places geometries of one CRS on a grid.

    Where either side has no CRS, coordinates are taken for those of the grid's map.

    Args:
        source_crs: Of the geometries.
        grid: The encoding grid.
        transform_context: Which transformation to choose where there are several.
    """

    def __init__(
        self,
        source_crs: QgsCoordinateReferenceSystem,
        grid: PixelGrid,
        transform_context: QgsCoordinateTransformContext,
    ) -> None:
        self._grid = grid
        target = grid_crs(grid)
        self._transform = QgsCoordinateTransform(source_crs, target, transform_context)
        self._is_geographic = target.isValid() and target.isGeographic()
        x_min, _, x_max, _ = grid.bounds()
        self._middle_x = 0.5 * (x_min + x_max)

    def points(self, geometry: QgsGeometry) -> np.ndarray:
        """Return the vertices of a geometry, (n, 2) in grid pixels.

        Raises:
            PromptError: A vertex has no place in the grid's CRS.
        """
        return self._place(_flat(geometry))

    def lines(self, geometry: QgsGeometry) -> list[np.ndarray]:
        """Return the lines of a (multi-)line, each (n, 2) in grid pixels.

        Raises:
            PromptError: A vertex has no place in the grid's CRS.
        """
        return [self._place(part) for part in self._with_more_vertices(geometry).asGeometryCollection()]

    def bounds(self, geometry: QgsGeometry) -> tuple[float, float, float, float]:
        """Return the extent along the axes of the grid: x_min, y_min, x_max, y_max in grid pixels.

        Raises:
            PromptError: A vertex has no place in the grid's CRS.
        """
        points = self._place(self._with_more_vertices(geometry))
        (x_min, y_min), (x_max, y_max) = points.min(axis=0), points.max(axis=0)
        return float(x_min), float(y_min), float(x_max), float(y_max)

    def polygons(self, geometry: QgsGeometry) -> Outlines:
        """Return a (multi-)polygon in grid pixels; empty if it encloses nothing.

        Rings that cross themselves are mended first, and parts that overlap united.

        Raises:
            PromptError: A vertex has no place in the grid's CRS.
        """
        polygons = _mended(self._with_more_vertices(geometry))
        rings = [ring for polygon in polygons for ring in polygon]
        if not rings:
            return Outlines.empty()
        placed = self._place(QgsGeometry.fromMultiPolygonXY(polygons))
        return Outlines(
            placed,
            offsets_of(np.array([len(ring) for ring in rings])),
            offsets_of(np.array([len(polygon) for polygon in polygons])),
        )

    def _with_more_vertices(self, geometry: QgsGeometry) -> QgsGeometry:
        flat = _flat(geometry)
        return flat if self._transform.isShortCircuited() else flat.densifyByCount(_VERTICES_PER_SIDE)

    def _place(self, geometry: QgsGeometry) -> np.ndarray:
        moved = QgsGeometry(geometry)
        try:
            moved.transform(self._transform)
        except QgsCsException as error:
            raise PromptError("A prompt cannot be placed in the CRS of the feature store.") from error
        map_xy = np.array([(vertex.x(), vertex.y()) for vertex in moved.vertices()]).reshape(-1, 2)
        if not np.isfinite(map_xy).all():
            raise PromptError("A prompt cannot be placed in the CRS of the feature store.")
        if self._is_geographic:
            # A raster across the antimeridian goes on beyond 180°, or begins before -180°;
            # transformations give longitudes between the two.
            map_xy[:, 0] -= 360.0 * np.round((map_xy[:, 0] - self._middle_x) / 360.0)
        # A click on the outer edge of the raster must not come back a trillionth of a pixel beyond it.
        return np.round(self._grid.to_grid(map_xy), _DECIMALS)


def parts_by_type(geometry: QgsGeometry) -> Iterator[tuple[QgsWkbTypes.GeometryType, QgsGeometry]]:
    """Yield a geometry with its type, or the members of a mixed collection with theirs."""
    if QgsWkbTypes.flatType(geometry.wkbType()) == QgsWkbTypes.Type.GeometryCollection:
        for part in geometry.asGeometryCollection():
            yield from parts_by_type(part)
    elif not geometry.isEmpty():
        yield geometry.type(), geometry


def _mended(geometry: QgsGeometry) -> list[list[list[QgsPointXY]]]:
    """Return the closed rings of each polygon of a valid geometry on the same ground, exteriors first."""
    parts = geometry.asGeometryCollection()
    if not geometry.isGeosValid():
        # One by one: mended together, ground that two parts share would be in neither.
        areas = [
            area
            for part in parts
            for kind, area in parts_by_type(part.makeValid())
            if kind == QgsWkbTypes.GeometryType.PolygonGeometry
        ]
        parts = QgsGeometry.unaryUnion(areas).asGeometryCollection() if areas else []
    return [part.asPolygon() for part in parts if part.area() > 0]


def _flat(geometry: QgsGeometry) -> QgsGeometry:
    """Return a copy without curves, heights and measures: a height in feet would spoil the change of CRS."""
    flat = QgsGeometry(geometry.constGet().segmentize())
    flat.get().dropZValue()
    flat.get().dropMValue()
    return flat

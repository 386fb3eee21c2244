# SPDX-License-Identifier: GPL-3.0-or-later
"""Area and perimeter on the ellipsoid of a CRS."""

from __future__ import annotations

import math
from collections.abc import Callable

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsDistanceArea,
    QgsGeometry,
    QgsUnitTypes,
)


class GroundMeasure:
    """Measures geometries of one CRS in metres.

    The ellipsoid is the CRS's own, so that a result does not depend on the project that is
    open. A local CRS without an ellipsoid is measured in the plane; without CRS, or where its
    unit has no length, there is no measure.

    Args:
        crs: Of the geometries; may be invalid.
        transform_context: Which transformation to choose where there are several.
        ellipsoid: What to take for a CRS that does not name its ellipsoid; empty for none.
    """

    def __init__(
        self,
        crs: QgsCoordinateReferenceSystem,
        transform_context: QgsCoordinateTransformContext,
        ellipsoid: str = "",
    ) -> None:
        self._measure = QgsDistanceArea()
        self._measure.setSourceCrs(crs, transform_context)
        is_set = self._measure.setEllipsoid(crs.ellipsoidAcronym()) if crs.ellipsoidAcronym() else False
        if not is_set and ellipsoid:
            self._measure.setEllipsoid(ellipsoid)
        has_metres = QgsUnitTypes.unitType(crs.mapUnits()) == QgsUnitTypes.DistanceUnitType.Standard
        self._is_possible = crs.isValid() and (self._measure.willUseEllipsoid() or has_metres)

    def area_m2(self, geometry: QgsGeometry) -> float | None:
        """Return the area in square metres, or None without a measure."""
        area = self._measured(self._measure.measureArea, geometry)
        if area is None:
            return None
        return self._measure.convertAreaMeasurement(area, QgsUnitTypes.AreaUnit.AreaSquareMeters)

    def perimeter_m(self, geometry: QgsGeometry) -> float | None:
        """Return the length of all rings in metres, or None without a measure."""
        length = self._measured(self._measure.measurePerimeter, geometry)
        if length is None:
            return None
        return self._measure.convertLengthMeasurement(length, QgsUnitTypes.DistanceUnit.DistanceMeters)

    def _measured(self, measure: Callable[[QgsGeometry], float], geometry: QgsGeometry) -> float | None:
        if not self._is_possible:
            return None
        try:
            value = measure(geometry)
        except QgsCsException:
            return None
        # For some spheres PROJ has no way to geographic coordinates, and says so by NaN.
        return value if math.isfinite(value) else None

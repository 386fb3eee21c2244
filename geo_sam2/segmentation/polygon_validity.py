# SPDX-License-Identifier: GPL-3.0-or-later
"""Make sure that what is shown and saved as polygons is a valid multi-polygon and nothing else.

Cutting, joining and moving to another CRS may leave lines, points and rings that touch themselves.
"""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsMultiPolygon, QgsWkbTypes

from geo_sam2.segmentation.prompt_placement import parts_by_type


def valid_polygons(geometry: QgsGeometry, speck_share: float = 0.0) -> QgsGeometry:
    """Return the polygons of a geometry as a valid multi-polygon, empty where it has none.

    Args:
        geometry: Of any type; a valid multi-polygon comes back as it is.
        speck_share: Polygons with less than this share of the whole area are dropped: rounding
            leaves such specks along edges that two shapes have in common.
    """
    if not geometry.isGeosValid():
        geometry = geometry.makeValid()
    elif geometry.wkbType() == QgsWkbTypes.Type.MultiPolygon and not speck_share:
        return QgsGeometry(geometry)
    polygons = [
        polygon
        for kind, part in parts_by_type(geometry)
        if kind == QgsWkbTypes.GeometryType.PolygonGeometry
        for polygon in part.asGeometryCollection()
    ]
    least = speck_share * sum(polygon.area() for polygon in polygons)
    kept = [polygon for polygon in polygons if polygon.area() > least] if least > 0 else polygons
    if not kept:
        return QgsGeometry(QgsMultiPolygon())
    multi = QgsGeometry.collectGeometry(kept)
    # Collected from a single polygon it is one.
    multi.convertToMultiType()
    return multi

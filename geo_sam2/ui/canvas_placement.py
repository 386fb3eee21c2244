# SPDX-License-Identifier: GPL-3.0-or-later
"""Where geometries of any CRS lie on a canvas: in its CRS, and on its screen.

Ignorant of what is drawn. Main thread only: it asks the canvas.
"""

from __future__ import annotations

import math

from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform, QgsCsException, QgsGeometry
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QPoint
from qgis.PyQt.QtGui import QCursor, QTransform

# Straight sides are bent by a change of CRS: so many vertices are put into each before it.
_VERTICES_PER_SIDE = 7


def canvas_transform(
    crs: QgsCoordinateReferenceSystem, canvas: QgsMapCanvas
) -> QgsCoordinateTransform | None:
    """Return the way from a CRS to that of the canvas; None where numbers are taken as they are.

    That is so where the two are the same and where either is unknown: QGIS draws layers without
    CRS by their numbers, too.
    """
    target = canvas.mapSettings().destinationCrs()
    if not crs.isValid() or not target.isValid() or crs == target:
        return None
    return QgsCoordinateTransform(crs, target, canvas.mapSettings().transformContext())


def on_canvas(
    geometry: QgsGeometry,
    crs: QgsCoordinateReferenceSystem,
    canvas: QgsMapCanvas,
    *,
    has_long_sides: bool = False,
) -> QgsGeometry | None:
    """Return a geometry in the CRS of the canvas; None where it has no place there.

    Args:
        geometry: In ``crs``; it is not changed.
        crs: Of the geometry; if it is invalid, its numbers are those of the canvas.
        canvas: Where it is to be seen.
        has_long_sides: Bend its sides as the change of CRS bends them, not only its vertices.
    """
    if geometry.isNull() or geometry.isEmpty():
        return None
    transform = canvas_transform(crs, canvas)
    if transform is None:
        return geometry
    # A copy shares its vertices until it is changed.
    placed = geometry.densifyByCount(_VERTICES_PER_SIDE) if has_long_sides else QgsGeometry(geometry)
    try:
        placed.transform(transform)
    except QgsCsException:
        return None
    bounds = placed.boundingBox()
    ends = (bounds.xMinimum(), bounds.yMinimum(), bounds.xMaximum(), bounds.yMaximum())
    return placed if all(math.isfinite(end) for end in ends) else None


def screen_transform(canvas: QgsMapCanvas) -> QTransform:
    """Return the way from map coordinates to device-independent pixels of the canvas, rotation included."""
    return canvas.getCoordinateTransform().transform()


def pointer_or_middle(canvas: QgsMapCanvas) -> QPoint:
    """Return the pixel of the canvas under the pointer, or in its middle while the pointer is elsewhere."""
    viewport = canvas.viewport()
    at = viewport.mapFromGlobal(QCursor.pos())
    is_there = viewport.underMouse() and viewport.rect().contains(at)
    return at if is_there else viewport.rect().center()

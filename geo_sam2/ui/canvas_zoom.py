# SPDX-License-Identifier: GPL-3.0-or-later
"""Show a place on the canvas without touching the CRS of the project."""

from __future__ import annotations

from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform, QgsCsException, QgsRectangle
from qgis.gui import QgsMapCanvas

# What is shown does not touch the edge of the canvas.
_MARGIN = 1.1


def zoom_to(canvas: QgsMapCanvas, extent: QgsRectangle, crs: QgsCoordinateReferenceSystem) -> bool:
    """Let the canvas show an extent; False where it has no place in the CRS of the canvas."""
    settings = canvas.mapSettings()
    target = settings.destinationCrs()
    if crs.isValid() and target.isValid() and crs != target:
        try:
            extent = QgsCoordinateTransform(crs, target, settings.transformContext()).transformBoundingBox(
                extent
            )
        except QgsCsException:
            return False
    if extent.isEmpty():
        extent = extent.buffered(canvas.mapUnitsPerPixel() * 50)
    extent.scale(_MARGIN)
    canvas.setExtent(extent)
    canvas.refresh()
    return True

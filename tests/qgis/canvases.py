# SPDX-License-Identifier: GPL-3.0-or-later
"""A map canvas of its own for each test, and what its signals told."""

from __future__ import annotations

from contextlib import contextmanager

from qgis.core import QgsCoordinateReferenceSystem, QgsRectangle
from qgis.gui import QgsMapCanvas
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QPoint
from qgis.PyQt.QtWidgets import QApplication

WIDTH, HEIGHT = 600, 400
UTM = "EPSG:32612"
# A pixel of the canvas is half a metre, so that pixel (0, 0) is the corner (528000, 4978200).
LEFT_M, TOP_M, METRES_PER_PX = 528000.0, 4978200.0, 0.5


@contextmanager
def canvas_shown(crs=UTM):
    """Show a canvas of 600 × 400 pixels over 300 × 200 metres."""
    canvas = QgsMapCanvas()
    canvas.setFrameShape(canvas.Shape.NoFrame if hasattr(canvas, "Shape") else 0)
    canvas.resize(WIDTH, HEIGHT)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    canvas.show()
    QApplication.processEvents()
    canvas.setExtent(
        QgsRectangle(LEFT_M, TOP_M - HEIGHT * METRES_PER_PX, LEFT_M + WIDTH * METRES_PER_PX, TOP_M)
    )
    canvas.setFocus()
    try:
        yield canvas
    finally:
        canvas.stopRendering()
        sip.delete(canvas)


def on_map(x_px, y_px):
    """Return the map coordinates of a pixel's corner on the canvas as it is shown."""
    return LEFT_M + x_px * METRES_PER_PX, TOP_M - y_px * METRES_PER_PX


def pixel_of(canvas, point):
    """Return the pixel on which a map point of the canvas is drawn."""
    at = canvas.getCoordinateTransform().transform(point)
    return QPoint(round(at.x()), round(at.y()))


class Told:
    """Notes what signals of a tool tell, in order: (name, *values); points as pairs, rounded to 1 mm."""

    def __init__(self, tool, *names):
        self._told = []
        for name in names:
            getattr(tool, name).connect(lambda *values, name=name: self._told.append((name, *values)))

    def take(self):
        """Return what was told since the last time."""
        told, self._told = self._told, []
        return [tuple(_plain(value) for value in entry) for entry in told]


def _plain(value):
    if isinstance(value, QgsRectangle):
        sides = (value.xMinimum(), value.yMinimum(), value.xMaximum(), value.yMaximum())
        return tuple(round(side, 3) for side in sides)
    if hasattr(value, "x"):
        return round(value.x(), 3), round(value.y(), 3)
    return value

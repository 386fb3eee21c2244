# SPDX-License-Identifier: GPL-3.0-or-later
"""A polygon with holes, drawn over the map with a halo.

One item of the canvas's scene: a change repaints what it covers, not the map. Vertices stay in Qt, and
long outlines are painted in a quicker way than Qt's and QGIS's rubber bands' own, so that one under a
moving pointer holds up nothing. Ignorant of coordinate systems: shapes come in that of the canvas.
"""

from __future__ import annotations

from typing import Any

from qgis.core import QgsGeometry, QgsMapToPixelSimplifier
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QRectF, Qt
from qgis.PyQt.QtGui import QColor, QPainter, QPainterPath, QPen, QTransform

from geo_sam2.ui.canvas_placement import screen_transform
from geo_sam2.ui.overlay_style import halo_of

HALO_PX = 1.5

# A vertex that lies nearer to the one before is not drawn; in pixels of the device. Painting takes as long as
# there are vertices, and the outline of a forest on a small map has several to a pixel.
_NEAREST_VERTEX_PX = 0.75
# Up to here Qt's own wide lines take a few milliseconds at most.
_MANY_VERTICES = 256


class OutlineItem(QgsMapCanvasItem):
    """One outline; the scene owns it.

    Args:
        canvas: Where it is drawn.
        z_value: Its place among what else is drawn over the map; higher is nearer.
    """

    def __init__(self, canvas: QgsMapCanvas, z_value: float) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._on_map = QgsGeometry()
        self._on_screen = QPainterPath()
        self._transform = QTransform()
        self._bounds = QRectF()
        self._pen = QPen()
        self._halo = QPen()
        self._fill = QColor()
        self.setZValue(z_value)
        self.hide()

    def set_shape(self, geometry: QgsGeometry | None) -> None:
        """Show another polygon, in the CRS of the canvas; None shows nothing."""
        self._on_map = QgsGeometry() if geometry is None else geometry
        self._place()
        self.setVisible(not self._on_map.isEmpty())

    def set_look(self, line: QColor, width_px: float, fill_opacity: float) -> None:
        """Draw with another colour, width of the line and opacity (0–1) of the area."""
        self._pen = _pen(line, width_px)
        self._halo = _pen(halo_of(line), width_px + 2 * HALO_PX)
        self._fill = QColor(line)
        self._fill.setAlphaF(fill_opacity)
        self._place()

    @property
    def shape_on_screen(self) -> QPainterPath:
        """The outline as it is drawn, in device-independent pixels of the canvas."""
        return self._on_screen

    def updatePosition(self) -> None:
        """Follow the map; the canvas calls it after each pan, zoom and rotation."""
        if screen_transform(self._canvas) != self._transform:
            self._place()

    def boundingRect(self) -> QRectF:
        """Return what may be painted on; the scene asks."""
        return self._bounds

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Draw; the scene calls it."""
        # Its edge lies under the line, where nobody sees steps; smooth, it takes four times as long.
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.fillPath(self._on_screen, self._fill)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._on_screen.elementCount() <= _MANY_VERTICES:
            painter.strokePath(self._on_screen, self._halo)
            painter.strokePath(self._on_screen, self._pen)
        else:
            self._stroke_quickly(painter)

    def _stroke_quickly(self, painter: QPainter) -> None:
        """Draw the wide lines as many thin ones side by side.

        Qt has a quick way for smooth lines of one device pixel only: an outline of 10,000 vertices
        takes it 2 ms, and 180 ms if it is 2 pixels wide.
        """
        painter.save()
        # The painter counts in device-independent pixels; the lines' width is one of the device's.
        ratio = painter.device().devicePixelRatioF()
        base = painter.transform()
        for pen in (self._halo, self._pen):
            # Opaque: where lines overlap, transparent ones would add up.
            thin = QPen(QColor(pen.color().rgb()), 1)
            thin.setCosmetic(True)
            for dx, dy in _thin_lines_in(pen.widthF() * ratio):
                painter.setTransform(base * QTransform.fromTranslate(dx / ratio, dy / ratio))
                painter.strokePath(self._on_screen, thin)
        painter.restore()

    def _place(self) -> None:
        self.prepareGeometryChange()
        self._transform = screen_transform(self._canvas)
        self._on_screen = self._transform.map(self._drawn_path())
        margin = self._halo.widthF() / 2 + 1
        bounds = self._on_screen.controlPointRect()
        self._bounds = bounds.adjusted(-margin, -margin, margin, margin) if not bounds.isNull() else QRectF()
        self.update()

    def _drawn_path(self) -> QPainterPath:
        """Return what is to be seen of the polygon at the scale of the map, in the CRS of the canvas."""
        if self._on_map.isEmpty():
            return QPainterPath()
        pixel = self._canvas.mapUnitsPerPixel() / self._canvas.devicePixelRatioF()
        # By distance, its default; the name of that choice differs between versions of QGIS.
        simplify = QgsMapToPixelSimplifier.SimplifyFlag.SimplifyGeometry
        simplifier = QgsMapToPixelSimplifier(simplify, _NEAREST_VERTEX_PX * pixel)
        drawn = simplifier.simplify(self._on_map)  # owns what constGet returns
        return drawn.constGet().asQPainterPath()


def _pen(colour: QColor, width_px: float) -> QPen:
    return QPen(colour, width_px, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin)


def _thin_lines_in(width_px: float) -> list[tuple[float, float]]:
    """Return how far lines of one pixel are moved (x, y) that together make one of a width, in pixels."""
    reach = max(width_px - 1, 0) / 2
    steps = [step - reach for step in range(int(2 * reach) + 1)]
    # Without the corners of the square: round, like the ends of the wide pen.
    return [(dx, dy) for dx in steps for dy in steps if dx * dx + dy * dy <= reach * reach + 0.5]

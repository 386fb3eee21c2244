# SPDX-License-Identifier: GPL-3.0-or-later
"""The markers of points and the boxes of the object that is being worked on, drawn over the map.

Owns where each of them is on the screen, and therefore which of them a pixel hits. Ignorant of
coordinate systems: places come in that of the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QLineF, QPoint, QPointF, QRectF, Qt
from qgis.PyQt.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF

from geo_sam2.ui.canvas_placement import screen_transform
from geo_sam2.ui.overlay_style import OverlayStyle, halo_of

FOREGROUND, BACKGROUND, BOX = "foreground", "background", "box"

# A hand hits a marker that it misses by so much, and a box's line at this distance.
_GRAB_MARGIN_PX = 4.0
_LINE_REACH_PX = 5.0
_HALO_PX = 1.5
_HOT_GROWTH_PX = 4.0


@dataclass(frozen=True)
class PlacedPrompt:
    """A prompt in the CRS of the canvas.

    Attributes:
        id: Of the prompt in its session.
        kind: ``FOREGROUND``, ``BACKGROUND`` or ``BOX``.
        geometry: A point, or the polygon of a box.
    """

    id: int
    kind: str
    geometry: QgsGeometry

    @property
    def centre(self) -> QgsPointXY:
        """The point, or the middle of the box."""
        return self.geometry.asPoint() if self.kind != BOX else self.geometry.boundingBox().center()


class PromptItem(QgsMapCanvasItem):
    """All prompts in one item of the scene: they are few, and change together."""

    def __init__(self, canvas: QgsMapCanvas, z_value: float) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._style = OverlayStyle()
        self._prompts: tuple[PlacedPrompt, ...] = ()
        self._paths: dict[int, QPainterPath] = {}
        self._hot: int | None = None
        self._dragged: tuple[int, float, float] | None = None
        self._bounds = QRectF()
        self.setZValue(z_value)

    def set_prompts(self, prompts: Sequence[PlacedPrompt]) -> None:
        """Show these; the last one is on top."""
        self._prompts, self._dragged = tuple(prompts), None
        self._place()

    def set_style(self, style: OverlayStyle) -> None:
        """Draw in another style."""
        self._style = style
        self._place()

    def set_hot(self, prompt_id: int | None) -> None:
        """Draw the prompt that the next press would take larger."""
        if prompt_id != self._hot:
            self._hot = prompt_id
            self._place()

    def drag(self, prompt_id: int, dx: float, dy: float) -> None:
        """Draw one prompt elsewhere, until others are set: moved by map units of the canvas."""
        self._dragged = (prompt_id, dx, dy)
        self._place()

    def drop(self) -> None:
        """Draw the dragged prompt where it belongs."""
        self._dragged = None
        self._place()

    def prompt(self, prompt_id: int) -> PlacedPrompt | None:
        """Return one of the prompts that are shown."""
        return next((prompt for prompt in self._prompts if prompt.id == prompt_id), None)

    def prompt_at(self, at: QPoint) -> int | None:
        """Return the prompt that a pixel hits: the nearest point, or else the box with the nearest line."""
        place = QPointF(at)
        reach_px = self._style.marker_size_px / 2 + _GRAB_MARGIN_PX
        points, lines = [], []
        for order, prompt in enumerate(reversed(self._prompts)):  # what is on top first
            path = self._paths[prompt.id]
            if prompt.kind == BOX:
                lines.append((_distance_to_line(path, place), order, prompt.id))
            else:
                points.append((QLineF(path.currentPosition(), place).length(), order, prompt.id))
        for found, limit in ((points, reach_px), (lines, _LINE_REACH_PX)):
            if found and min(found)[0] <= limit:
                return min(found)[2]
        return None

    def updatePosition(self) -> None:
        """Follow the map; the canvas calls it after each pan, zoom and rotation."""
        self._place()

    def boundingRect(self) -> QRectF:
        """Return what may be painted on; the scene asks."""
        return self._bounds

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Draw; the scene calls it."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for prompt in self._prompts:
            growth = _HOT_GROWTH_PX if prompt.id == self._hot else 0.0
            if prompt.kind == BOX:
                self._paint_box(painter, self._paths[prompt.id], growth / 2)
            else:
                self._paint_marker(painter, self._paths[prompt.id].currentPosition(), prompt.kind, growth)

    def _paint_box(self, painter: QPainter, path: QPainterPath, growth: float) -> None:
        colour, width = QColor(self._style.box), self._style.width_px + growth
        painter.strokePath(path, QPen(halo_of(colour), width + 2 * _HALO_PX))
        pen = QPen(colour, width, Qt.PenStyle.DashLine)
        painter.strokePath(path, pen)

    def _paint_marker(self, painter: QPainter, at: QPointF, kind: str, growth: float) -> None:
        colour = QColor(self._style.foreground if kind == FOREGROUND else self._style.background)
        halo, radius = halo_of(colour), (self._style.marker_size_px + growth) / 2
        painter.setBrush(Qt.BrushStyle.NoBrush)
        shape = _marker(self._style.marker_shape, at, radius)
        if self._style.marker_shape == "cross":
            # Nothing but lines: turned by 45° it says “not here”.
            if kind == BACKGROUND:
                shape = _marker("x", at, radius)
            width = max(self._style.width_px, 2.0)
            painter.strokePath(shape, QPen(halo, width + 2 * _HALO_PX))
            painter.strokePath(shape, QPen(colour, width))
            return
        painter.strokePath(shape, QPen(halo, 2 * _HALO_PX + 1))
        painter.fillPath(shape, colour)
        sign_px, half = radius * 0.5, max(1.0, radius / 5)
        painter.fillRect(QRectF(at.x() - sign_px, at.y() - half, 2 * sign_px, 2 * half), halo)
        if kind == FOREGROUND:
            upper = QRectF(at.x() - half, at.y() - sign_px, 2 * half, sign_px - half)
            painter.fillRect(upper, halo)
            painter.fillRect(upper.translated(0, sign_px + half), halo)

    def _place(self) -> None:
        self.prepareGeometryChange()
        transform = screen_transform(self._canvas)
        margin = self._style.marker_size_px / 2 + _HOT_GROWTH_PX + self._style.width_px + 2 * _HALO_PX
        self._bounds, self._paths = QRectF(), {}
        for prompt in self._prompts:
            dx, dy = self._dragged[1:] if self._dragged and self._dragged[0] == prompt.id else (0.0, 0.0)
            if prompt.kind == BOX:
                path = transform.map(prompt.geometry.constGet().asQPainterPath().translated(dx, dy))
                bounds = path.controlPointRect()
            else:
                point = prompt.geometry.asPoint()
                path = QPainterPath(transform.map(QPointF(point.x() + dx, point.y() + dy)))
                # Not the path's own: to Qt one of a single point has none.
                bounds = QRectF(path.currentPosition(), path.currentPosition())
            self._paths[prompt.id] = path
            corner = QPointF(margin, margin)
            self._bounds |= QRectF(bounds.topLeft() - corner, bounds.bottomRight() + corner)
        self.setVisible(bool(self._prompts))
        self.update()


def _marker(shape: str, at: QPointF, radius: float) -> QPainterPath:
    path = QPainterPath()
    x, y = at.x(), at.y()
    if shape == "circle":
        path.addEllipse(at, radius, radius)
    elif shape == "square":
        path.addRect(QRectF(x - radius, y - radius, 2 * radius, 2 * radius).adjusted(1, 1, -1, -1))
    elif shape == "diamond":
        reach = radius * 1.25
        corners = [QPointF(x, y - reach), QPointF(x + reach, y), QPointF(x, y + reach), QPointF(x - reach, y)]
        path.addPolygon(QPolygonF(corners))
        path.closeSubpath()
    else:
        reach = radius if shape == "cross" else radius * 0.8
        ends = ((reach, 0), (0, reach)) if shape == "cross" else ((reach, reach), (reach, -reach))
        for dx, dy in ends:
            path.moveTo(x - dx, y - dy)
            path.lineTo(x + dx, y + dy)
    return path


def _distance_to_line(path: QPainterPath, place: QPointF) -> float:
    """Return how far a pixel lies from the outline of a polygon, in pixels."""
    nearest = float("inf")
    for polygon in path.toSubpathPolygons():
        corners = [polygon[index] for index in range(polygon.count())]
        for start, end in zip(corners, corners[1:]):
            side = end - start
            length2 = QPointF.dotProduct(side, side)
            along = QPointF.dotProduct(place - start, side) / length2 if length2 else 0.0
            foot = start + side * min(max(along, 0.0), 1.0)
            nearest = min(nearest, QLineF(foot, place).length())
    return nearest

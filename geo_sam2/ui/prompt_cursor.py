# SPDX-License-Identifier: GPL-3.0-or-later
"""The mouse pointer of the map tools: a cross with a sign of what the left button sets."""

from __future__ import annotations

import enum

from qgis.PyQt.QtCore import QLineF, QRectF, Qt
from qgis.PyQt.QtGui import QColor, QCursor, QGuiApplication, QPainter, QPen, QPixmap

from geo_sam2.ui.overlay_style import OverlayStyle

_SIDE_PX, _MIDDLE_PX, _ARM_PX, _GAP_PX = 32, 15.5, 9.0, 3.0


class PromptKind(str, enum.Enum):
    """What the left button does.

    Attributes:
        AUTO: A click adds a point on the object, a drag draws a box.
        FOREGROUND: A click adds a point on the object, however far the hand slips.
        BACKGROUND: The same with points beside the object.
        BOX: A drag draws a box, and so do two clicks at its corners.
    """

    AUTO = "auto"
    FOREGROUND = "foreground"
    BACKGROUND = "background"
    BOX = "box"


def prompt_cursor(kind: PromptKind, style: OverlayStyle) -> QCursor:
    """Return the pointer of a kind of prompt, sharp on screens of any density."""
    ratio = QGuiApplication.primaryScreen().devicePixelRatio() if QGuiApplication.primaryScreen() else 1.0
    pixmap = QPixmap(round(_SIDE_PX * ratio), round(_SIDE_PX * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    # White under black is seen on snow and on shade.
    for colour, width in ((QColor("white"), 3.0), (QColor("black"), 1.0)):
        painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.SquareCap))
        for side in (-1, 1):
            near, far = _MIDDLE_PX + side * _GAP_PX, _MIDDLE_PX + side * _ARM_PX
            painter.drawLine(QLineF(_MIDDLE_PX, near, _MIDDLE_PX, far))
            painter.drawLine(QLineF(near, _MIDDLE_PX, far, _MIDDLE_PX))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    _paint_sign(painter, kind, style)
    painter.end()
    return QCursor(pixmap, int(_MIDDLE_PX), int(_MIDDLE_PX))


def _paint_sign(painter: QPainter, kind: PromptKind, style: OverlayStyle) -> None:
    """Paint what tells the kinds apart, to the lower right of the cross."""
    if kind is PromptKind.AUTO:
        return
    colour = QColor(getattr(style, kind.value))
    sign = QRectF(20.0, 20.0, 10.0, 10.0)
    painter.setPen(QPen(QColor("white"), 1.5))
    if kind is PromptKind.BOX:
        painter.drawRect(sign.adjusted(0, 1, 0, -1))
        painter.setPen(QPen(colour, 2.0))
        painter.drawRect(sign.adjusted(1.5, 2.5, -1.5, -2.5))
        return
    painter.setBrush(colour)
    painter.drawEllipse(sign)
    middle = sign.center()
    painter.drawLine(QLineF(middle.x() - 2.5, middle.y(), middle.x() + 2.5, middle.y()))
    if kind is PromptKind.FOREGROUND:
        painter.drawLine(QLineF(middle.x(), middle.y() - 2.5, middle.x(), middle.y() + 2.5))

# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of the harness itself want from inside: a map tool that notes clicks, and a fault."""

from __future__ import annotations

from qgis.gui import QgsMapToolEmitPoint
from qgis.PyQt.QtCore import QTimer
from qgis.utils import iface

_tools: list[QgsMapToolEmitPoint] = []
_clicks: list[list[float]] = []


def record_clicks() -> None:
    """Note the places of clicks on the canvas from now on."""
    tool = QgsMapToolEmitPoint(iface.mapCanvas())
    tool.canvasClicked.connect(lambda point, _button: _clicks.append([point.x(), point.y()]))
    _tools.append(tool)
    iface.mapCanvas().setMapTool(tool)


def clicks(count: int) -> list[list[float]]:
    """Return the places when there are so many of them, in map units of the canvas, else nothing."""
    return list(_clicks) if len(_clicks) == count else []


def pixel_m() -> float:
    """Return the side of a pixel of the screen in map units."""
    return iface.mapCanvas().mapUnitsPerPixel()


def raise_in_a_slot() -> None:
    """Let an exception go uncaught, in a slot."""
    QTimer.singleShot(0, lambda: 1 / 0)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in a row without a hand: click, wait for the outline, Enter, wait for the layer, the next one.

Clicks and keys are events of the canvas's viewport, as those of the mouse are. Notes how long each
object took from its click until it was saved.
"""

from __future__ import annotations

import time

from qgis.core import QgsPointXY
from qgis.PyQt.QtCore import QPoint, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.utils import iface

from tests.desktop.inside import dock

_running: list[_Script] = []


class _Script:
    """A row of objects.

    Args:
        places: Points of the map to click, in the CRS of the canvas.
    """

    def __init__(self, places: list[list[float]]) -> None:
        self._places = places
        self._before = dock.saved_count()
        self._is_clicked = False
        self._began = 0.0
        self.seconds: list[float] = []
        self._timer = QTimer()
        # The dock tells of every change; the timer is for what it does not tell.
        self._timer.setInterval(20)
        self._timer.timeout.connect(self._advance)
        self._controller = dock.dock()._controller
        self._controller.changed.connect(self._advance_soon)

    @property
    def is_done(self) -> bool:
        return len(self.seconds) == len(self._places)

    def begin(self) -> None:
        """Click at the first place, as soon as QGIS comes to it."""
        self._timer.start()

    def _advance_soon(self, _view: object) -> None:
        QTimer.singleShot(0, self._advance)

    def _advance(self) -> None:
        if self.is_done:
            return
        count = len(self.seconds)
        shown = self._controller.view().object
        if self._began == 0.0:
            self._began = time.perf_counter()
            self._click(self._places[count])
        elif not self._is_clicked and shown.can_accept and not shown.is_busy:
            self._is_clicked = True
            QTest.keyClick(iface.mapCanvas().viewport(), Qt.Key.Key_Return)
        if self._is_clicked and dock.saved_count() == self._before + count + 1 and dock.is_object_closed():
            self.seconds.append(time.perf_counter() - self._began)
            self._is_clicked, self._began = False, 0.0
            if self.is_done:
                self.end()
            else:
                QTimer.singleShot(0, self._advance)

    def end(self) -> None:
        """Let go of the dock."""
        self._timer.stop()
        self._controller.changed.disconnect(self._advance_soon)

    @staticmethod
    def _click(place: list[float]) -> None:
        canvas = iface.mapCanvas()
        pixel = canvas.getCoordinateTransform().transform(QgsPointXY(*place))
        at = QPoint(round(pixel.x()), round(pixel.y()))
        button, modifier = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(canvas.viewport(), button, modifier, at)


def begin(places: list[list[float]]) -> None:
    """Begin with a row of objects; it goes on while this returns."""
    script = _Script(places)
    _running[:] = [script]
    script.begin()


def is_done() -> bool:
    """Return whether all are saved."""
    return _running[0].is_done


def accepted() -> int:
    """Return how many are saved so far."""
    return len(_running[0].seconds)


def seconds() -> list[float]:
    """Return how long each took, from its click until it was saved."""
    return list(_running[0].seconds)

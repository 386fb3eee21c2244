# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand on a canvas: mouse, wheel and keys as a window system would report them."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, QPoint, QPointF, Qt
from qgis.PyQt.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from qgis.PyQt.QtWidgets import QApplication

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
MIDDLE, NONE = Qt.MouseButton.MiddleButton, Qt.MouseButton.NoButton
NO_KEY = Qt.KeyboardModifier.NoModifier
SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
ALT = Qt.KeyboardModifier.AltModifier


class Hand:
    """Sends events to the canvas's viewport and knows which buttons are down.

    QTest's own moves say that no button is down, whatever was pressed before.
    """

    def __init__(self, canvas):
        self._canvas = canvas
        self._down = NONE
        self.at = QPoint(0, 0)

    def move(self, x, y):
        self.at = QPoint(x, y)
        self._send(QEvent.Type.MouseMove, NONE)

    def press(self, x, y, button=LEFT, modifiers=NO_KEY):
        self.at = QPoint(x, y)
        self._down = self._down | button
        self._send(QEvent.Type.MouseButtonPress, button, modifiers)

    def release(self, button=LEFT, modifiers=NO_KEY):
        self._down = self._down & ~button
        self._send(QEvent.Type.MouseButtonRelease, button, modifiers)

    def lose_release(self):
        """Let go where the window system tells nobody."""
        self._down = NONE

    def click(self, x, y, button=LEFT, modifiers=NO_KEY):
        self.press(x, y, button, modifiers)
        self.release(button, modifiers)

    def double_click(self, x, y, button=LEFT, slip=0):
        """Click twice, the second time ``slip`` pixels beside the first."""
        self.click(x, y, button)
        self.press_second(x + slip, y, button)
        self.release(button)

    def press_second(self, x, y, button=LEFT):
        """Press as Qt reports it when a press was there a moment ago."""
        self.at = QPoint(x, y)
        self._down = self._down | button
        self._send(QEvent.Type.MouseButtonDblClick, button)

    def drag(self, start, *places, button=LEFT, modifiers=NO_KEY):
        self.press(*start, button, modifiers)
        for place in places:
            self.move(*place)
        self.release(button, modifiers)

    def leave(self):
        QApplication.sendEvent(self._canvas.viewport(), QEvent(QEvent.Type.Leave))

    def turn_wheel(self, dx, dy, modifiers=NO_KEY, phase=Qt.ScrollPhase.NoScrollPhase):
        """Turn by eighths of a degree; returns whether the canvas's extent is the same afterwards."""
        before = self._canvas.extent()
        at = QPointF(self.at)
        event = QWheelEvent(
            at, self._global(), QPoint(0, 0), QPoint(dx, dy), self._down, modifiers, phase, False
        )
        QApplication.sendEvent(self._canvas.viewport(), event)
        return self._canvas.extent() == before

    def key(self, key, modifiers=NO_KEY, *, is_repeated=False):
        """Press and release a key; returns whether a shortcut of QGIS would have been kept from it."""
        override = QKeyEvent(QEvent.Type.ShortcutOverride, key, modifiers, "", is_repeated)
        override.ignore()
        QApplication.sendEvent(self._canvas, override)
        self.hold_key(key, modifiers, is_repeated=is_repeated)
        self.release_key(key, modifiers)
        return override.isAccepted()

    def hold_key(self, key, modifiers=NO_KEY, *, is_repeated=False):
        event = QKeyEvent(QEvent.Type.KeyPress, key, modifiers, "", is_repeated)
        QApplication.sendEvent(self._canvas, event)

    def release_key(self, key, modifiers=NO_KEY):
        QApplication.sendEvent(self._canvas, QKeyEvent(QEvent.Type.KeyRelease, key, modifiers))

    def _send(self, kind, button, modifiers=NO_KEY):
        event = QMouseEvent(kind, QPointF(self.at), self._global(), button, self._down, modifiers)
        QApplication.sendEvent(self._canvas.viewport(), event)

    def _global(self):
        return QPointF(self._canvas.viewport().mapToGlobal(self.at))

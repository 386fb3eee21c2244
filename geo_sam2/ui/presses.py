# SPDX-License-Identifier: GPL-3.0-or-later
"""Presses of mouse buttons: one that goes on, and one of a moment ago.

Distances and times are those of the user's desktop. Ignorant of what is pressed on.
"""

from __future__ import annotations

from dataclasses import dataclass

from qgis.PyQt.QtCore import QElapsedTimer, QPoint, Qt
from qgis.PyQt.QtWidgets import QApplication


@dataclass
class Press:
    """A button that is down.

    Attributes:
        button: Left or right.
        at: Where it went down, in pixels of the canvas.
        prompt_id: The prompt that it went down on.
        is_drag: The hand has moved further than a click allows.
    """

    button: Qt.MouseButton
    at: QPoint
    prompt_id: int | None
    is_drag: bool = False

    def follow(self, at: QPoint) -> bool:
        """Note where the hand is now, and say whether that makes a drag; once one, it stays one."""
        self.is_drag |= (at - self.at).manhattanLength() >= QApplication.startDragDistance()
        return self.is_drag


class RecentPress:
    """Where a press was a moment ago, for as long as a second one makes it a double-click."""

    def __init__(self) -> None:
        self._at = QPoint()
        self._since = QElapsedTimer()

    def note(self, at: QPoint) -> None:
        """Remember a press."""
        self._at = QPoint(at)
        self._since.start()

    def forget(self) -> None:
        """Let the next press be a first one."""
        self._since.invalidate()

    def is_repeated_at(self, at: QPoint) -> bool:
        """Say whether a press there, now, is the second of two."""
        return (
            self._since.isValid()
            and self._since.elapsed() <= QApplication.doubleClickInterval()
            and (at - self._at).manhattanLength() < QApplication.startDragDistance()
        )

# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of a wheel, or of two fingers on a touchpad, as whole steps."""

from __future__ import annotations

from qgis.PyQt.QtCore import QElapsedTimer, Qt
from qgis.PyQt.QtGui import QWheelEvent

# What Qt reports for a notch of an ordinary wheel, in eighths of a degree; touchpads report less at once.
_NOTCH = 120
# After so long a rest a gesture is over, and what it left unfinished is forgotten.
_REST_MS = 500


class WheelSteps:
    """Adds up small turns until they make a step."""

    def __init__(self) -> None:
        self._turned = 0
        self._since = QElapsedTimer()

    def add(self, event: QWheelEvent) -> int:
        """Return how many steps an event completes: positive away from the user, mostly 0 on touchpads."""
        # Fingers that have been lifted ask for nothing more, however far the page would roll on.
        if event.phase() == Qt.ScrollPhase.ScrollMomentum:
            return 0
        delta = event.angleDelta()
        # With Shift or Alt some systems report a vertical wheel as a horizontal one.
        turn = delta.y() if abs(delta.y()) >= abs(delta.x()) else delta.x()
        has_rested = not self._since.isValid() or self._since.elapsed() > _REST_MS
        if has_rested or turn * self._turned < 0:
            self._turned = 0
        self._since.start()
        self._turned += turn
        steps = int(self._turned / _NOTCH)
        self._turned -= steps * _NOTCH
        return steps

# SPDX-License-Identifier: GPL-3.0-or-later
"""The map tool that picks a saved polygon; which one lies there is the controller's to find."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsPointXY
from qgis.gui import QgsMapCanvas, QgsMapMouseEvent, QgsMapTool
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QPoint, Qt, pyqtSignal
from qgis.PyQt.QtGui import QKeyEvent
from qgis.PyQt.QtWidgets import QApplication

from geo_sam2.ui.canvas_placement import pointer_or_middle


class ReopenTool(QgsMapTool):
    """Tells where the user clicks, in the CRS of the canvas; Esc asks for the tool before.

    Enter clicks under the pointer, or in the middle of the canvas where there is none.
    """

    picked = pyqtSignal(QgsPointXY)
    cancelled = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._pressed_at: QPoint | None = None
        self.setCursor(QgsApplication.getThemeCursor(QgsApplication.Cursor.Select))

    def flags(self) -> QgsMapTool.Flag:
        """Let Shift and a drag zoom in, as with QGIS's own tools."""
        return QgsMapTool.Flag.AllowZoomRect

    def activate(self) -> None:
        """Take the canvas: keys work at once, without a click on it first."""
        super().activate()
        self._canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    def canvasPressEvent(self, event: QgsMapMouseEvent) -> None:
        """Note where a click may begin; with a second button it is none."""
        is_alone = event.buttons() == Qt.MouseButton.LeftButton
        self._pressed_at = event.pos() if is_alone else None

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        """Tell a click; a press that moved away is none."""
        start, self._pressed_at = self._pressed_at, None
        if start is None or event.button() != Qt.MouseButton.LeftButton:
            return
        if (event.pos() - start).manhattanLength() < QApplication.startDragDistance():
            self.picked.emit(self.toMapCoordinates(start))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Pick with Enter, give up on Esc; other keys are QGIS's."""
        if event.key() == Qt.Key.Key_Escape:
            event.accept()
            self._pressed_at = None
            self.cancelled.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            event.accept()
            self.picked.emit(self.toMapCoordinates(pointer_or_middle(self._canvas)))
        else:
            event.ignore()

    def deactivate(self) -> None:
        """Forget a press that has not been released."""
        self._pressed_at = None
        super().deactivate()

    def remove(self) -> None:
        """Take the tool off the canvas, for good."""
        if not sip.isdeleted(self):
            if not sip.isdeleted(self._canvas):
                self._canvas.unsetMapTool(self)
            self.deleteLater()

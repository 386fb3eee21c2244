# SPDX-License-Identifier: GPL-3.0-or-later
"""A box while it is drawn on the canvas: dragged, or between two clicks.

Ignorant of buttons and of what becomes of the box.
"""

from __future__ import annotations

from qgis.core import QgsRectangle
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QPoint

from geo_sam2.ui.overlay import Overlay

# A box with a side shorter than this was not meant.
_LEAST_BOX_PX = 3


class BoxDrawing:
    """Boxes along the axes of the map, between pixels of the canvas.

    Args:
        canvas: The map.
        overlay: Shows the box.

    Attributes:
        corner: The first click of a box that is drawn with two; None without one.
    """

    def __init__(self, canvas: QgsMapCanvas, overlay: Overlay) -> None:
        self._canvas = canvas
        self._overlay = overlay
        self.corner: QPoint | None = None

    def show(self, corner: QPoint, opposite: QPoint) -> None:
        """Show the box as it would be now."""
        self._overlay.set_drawn_box(self._box(corner, opposite))

    def hide(self) -> None:
        """Show no box; a first click stays."""
        self._overlay.set_drawn_box(None)

    def call_off(self) -> None:
        """Forget the first click too."""
        self.corner = None
        self.hide()

    def finish(self, corner: QPoint, opposite: QPoint) -> QgsRectangle | None:
        """End the box and return it, in the CRS of the canvas; None where it was not meant."""
        self.call_off()
        box = self._box(corner, opposite)
        is_meant = min(box.width(), box.height()) >= _LEAST_BOX_PX * self._canvas.mapUnitsPerPixel()
        return box if is_meant else None

    def _box(self, corner: QPoint, opposite: QPoint) -> QgsRectangle:
        """Return the box between two pixels; it ends where the canvas ends.

        On a rotated canvas its sides are turned with the map: what is seen is what is told.
        """
        view = self._canvas.viewport().rect()
        inside = QPoint(
            min(max(opposite.x(), view.left()), view.right()),
            min(max(opposite.y(), view.top()), view.bottom()),
        )
        place = self._canvas.getCoordinateTransform().toMapCoordinates
        return QgsRectangle(place(corner), place(inside))

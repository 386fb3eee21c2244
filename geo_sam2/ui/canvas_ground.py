# SPDX-License-Identifier: GPL-3.0-or-later
"""From the canvas to pixels of the ground that is worked on, whatever the CRS of either.

Main thread: asks the canvas. Ignorant of prompts.
"""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsPointXY, QgsRectangle
from qgis.gui import QgsMapCanvas

from geo_sam2.segmentation.prompt_placement import GridPlacement
from geo_sam2.ui.open_store import Ground

Bounds = tuple[float, float, float, float]


class CanvasGround:
    """Places what is on the canvas on the grid.

    Args:
        canvas: The map.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        self._canvas = canvas
        self._ground: Ground | None = None
        self._placement: GridPlacement | None = None
        canvas.destinationCrsChanged.connect(self._forget)
        canvas.transformContextChanged.connect(self._forget)

    def set_ground(self, ground: Ground | None) -> None:
        """Place things on another ground."""
        self._ground = ground
        self._forget()

    def point_px(self, point: QgsPointXY) -> tuple[float, float]:
        """Return where a point of the canvas lies, (x, y) in grid pixels.

        Raises:
            PromptError: It has no place in the grid's CRS.
        """
        ((x_px, y_px),) = self._placed().points(QgsGeometry.fromPointXY(point))
        return float(x_px), float(y_px)

    def bounds_px(self, rectangle: QgsRectangle) -> Bounds:
        """Return the extent on the grid of a rectangle of the canvas: x_min, y_min, x_max, y_max.

        Raises:
            PromptError: It has no place in the grid's CRS.
        """
        return self._placed().bounds(QgsGeometry.fromRect(rectangle))

    def view_px(self) -> Bounds:
        """Return the extent on the grid of what the canvas shows.

        Raises:
            PromptError: It has no place in the grid's CRS.
        """
        polygon = self._canvas.mapSettings().visiblePolygon()
        return self._placed().bounds(QgsGeometry.fromQPolygonF(polygon))

    def close(self) -> None:
        """Hear of the canvas no more."""
        self._canvas.destinationCrsChanged.disconnect(self._forget)
        self._canvas.transformContextChanged.disconnect(self._forget)

    def _placed(self) -> GridPlacement:
        if self._placement is None:
            if self._ground is None:
                raise ValueError("There is no ground.")
            settings = self._canvas.mapSettings()
            self._placement = GridPlacement(
                settings.destinationCrs(), self._ground.grid, settings.transformContext()
            )
        return self._placement

    def _forget(self) -> None:
        self._placement = None

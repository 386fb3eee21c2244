# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pixels of an encoding grid are on the screen of a canvas, many at a time.

The way leads over the grid's geotransform, a change of CRS and the canvas's view with its rotation.
Ignorant of tiles and of drawing. Main thread only: it asks the canvas.
"""

from __future__ import annotations

import numpy as np
from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsLineString,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QPointF
from qgis.PyQt.QtGui import QTransform

from geo_sam2.encoder.extent_outline import rectangle_outline
from geo_sam2.grid import PixelGrid
from geo_sam2.ui.canvas_placement import canvas_transform, screen_transform

# Byte order, type and count come before the coordinates of a line in well-known binary.
_WKB_HEADER = 9


class GridOnCanvas:
    """The way from a grid to the screen, as the canvas shows it at this moment.

    Args:
        grid: The encoding grid.
        crs: Of the grid; if it is invalid, its numbers are those of the canvas.
        canvas: The map.
    """

    def __init__(self, grid: PixelGrid, crs: QgsCoordinateReferenceSystem, canvas: QgsMapCanvas) -> None:
        self._grid = grid
        self._change = canvas_transform(crs, canvas)
        self._screen = screen_transform(canvas)
        viewport = canvas.viewport().rect()
        self._view = (0.0, 0.0, float(viewport.width()), float(viewport.height()))

    @property
    def is_affine(self) -> bool:
        """Whether straight lines of the grid are straight on the screen."""
        return self._change is None

    def to_screen(self, points_px: np.ndarray) -> np.ndarray:
        """Return where grid pixels are drawn.

        Args:
            points_px: (n, 2) grid coordinates.

        Returns:
            (n, 2) device-independent pixels of the canvas; NaN for all where one has no place in the
            canvas's CRS.
        """
        placed = _changed(self._grid.to_map(points_px), self._change)
        return _mapped(placed, self._screen)

    def visible_px(self) -> tuple[float, float, float, float]:
        """Return (x_min, y_min, x_max, y_max) of the grid pixels that the canvas may show.

        All of the grid where the view has no place in its CRS, such as a view of the whole Earth.
        """
        whole = (0.0, 0.0, float(self._grid.width), float(self._grid.height))
        back, is_invertible = self._screen.inverted()
        if not is_invertible:
            return whole
        # A canvas in another CRS bends the view's sides: the outline has points along them.
        corners = _mapped(rectangle_outline(self._view), back)
        on_grid_map = _changed(corners, self._change, is_back=True)
        if not np.isfinite(on_grid_map).all() or self._goes_round(corners, on_grid_map):
            return whole
        points = self._grid.to_grid(on_grid_map)
        (x_min, y_min), (x_max, y_max) = points.min(axis=0), points.max(axis=0)
        x_min, x_max = np.clip((x_min, x_max), 0, self._grid.width)
        y_min, y_max = np.clip((y_min, y_max), 0, self._grid.height)
        return float(x_min), float(y_min), float(x_max), float(y_max)

    def _goes_round(self, corners: np.ndarray, on_grid_map: np.ndarray) -> bool:
        """Say whether the view does not come back from the grid's CRS as it went there."""
        if self._change is None:
            return False
        there_again = _changed(on_grid_map, self._change)
        size = np.ptp(corners, axis=0).max()
        return not bool((np.abs(there_again - corners) < 1e-3 * size).all())


def _mapped(points_xy: np.ndarray, by: QTransform) -> np.ndarray:
    """Return points moved by an affine transform."""
    matrix = np.array([[by.m11(), by.m12()], [by.m21(), by.m22()]])
    # Relative to a point near by: map coordinates are large, and the view's shift is as large.
    origin = points_xy[0] if len(points_xy) and np.isfinite(points_xy[0]).all() else np.zeros(2)
    at = by.map(QPointF(*origin))
    moved: np.ndarray = (points_xy - origin) @ matrix + [at.x(), at.y()]
    return moved


def _changed(
    points_xy: np.ndarray, by: QgsCoordinateTransform | None, *, is_back: bool = False
) -> np.ndarray:
    """Return points in another CRS; all NaN where one has no place there."""
    if by is None or not len(points_xy):
        return points_xy
    line = QgsGeometry(QgsLineString(points_xy[:, 0].tolist(), points_xy[:, 1].tolist()))
    direction = Qgis.TransformDirection
    try:
        line.transform(by, direction.Reverse if is_back else direction.Forward)
    except QgsCsException:
        return np.full_like(points_xy, np.nan)
    # By way of bytes: a hundred times quicker than point by point.
    return np.frombuffer(bytes(line.asWkb()), dtype="<f8", offset=_WKB_HEADER).reshape(-1, 2)

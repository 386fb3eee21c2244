# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiles of a raster and what is known of each, drawn over the map; in the project is no layer.

Draws what the view shows, however many tiles there are: few as outlines in the colour of their
state, many as a picture with a pixel per tile. Where windows overlap, in the last column and row,
a tile is drawn as far as clicks belong to it. Main thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from qgis.core import QgsCoordinateReferenceSystem
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QRectF
from qgis.PyQt.QtGui import QPainter, QTransform
from qgis.PyQt.QtWidgets import QGraphicsItem

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.grid import PixelGrid
from geo_sam2.tile_window import TileWindow
from geo_sam2.ui.canvas_placement import screen_transform
from geo_sam2.ui.grid_on_canvas import GridOnCanvas
from geo_sam2.ui.overlay_style import OverlayStyle
from geo_sam2.ui.tile_picture import TilePicture
from geo_sam2.ui.tile_states import code_of, no_states, place_of, state_array

_TILES_Z = 50.0


class TileOverlay(QgsMapCanvasItem):
    """The item over one canvas; the scene owns it until ``remove`` takes it out."""

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._grid: PixelGrid | None = None
        self._crs = QgsCoordinateReferenceSystem()
        self._tiling = Tiling(1, 1)
        self._states = no_states(self._tiling)
        self._style = OverlayStyle()
        self._shows_tiles = True
        self._shows_boundary = True
        self._picture: TilePicture | None = None  # of the view as it is; None when it has to be made anew
        self._view = QTransform()
        self._bounds = QRectF()
        self._is_removed = False
        self.setZValue(_TILES_Z)
        # Outlines move over the tiles with each move of the mouse: those are then not drawn again.
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.hide()
        canvas.destinationCrsChanged.connect(self._draw_anew)
        canvas.transformContextChanged.connect(self._draw_anew)

    def set_grid(
        self,
        grid: PixelGrid | None,
        crs: QgsCoordinateReferenceSystem | None = None,
        tiling: Tiling | None = None,
    ) -> None:
        """Show another grid, of whose tiles nothing is known yet; None shows nothing.

        Args:
            grid: The encoding grid.
            crs: As QGIS knows the grid's; None or invalid: its numbers are those of the canvas.
            tiling: Its windows, if they are at hand.
        """
        self._grid = grid
        self._crs = crs or QgsCoordinateReferenceSystem()
        if grid is not None:
            self._tiling = tiling or Tiling(grid.width, grid.height)
            self._states = no_states(self._tiling)
        self._draw_anew()

    def set_state(self, window: TileWindow, state: str) -> None:
        """Show what is known of a tile now; windows that are no tile of this grid are left out.

        Args:
            window: Of level 0.
            state: A ``ShownState``, a ``TileState`` of the store's index, or the value of one.
        """
        place = place_of(window, self._tiling)
        if self._grid is not None and place is not None and self._states[place] != code_of(state):
            self._states[place] = code_of(state)
            self._draw_anew()

    def set_states(self, states: Iterable[tuple[TileWindow, str]]) -> None:
        """Show these states, and nothing of all other tiles; 100,000 take a quarter of a second."""
        if self._grid is not None:
            self.set_state_array(state_array(self._tiling, states))

    def set_state_array(self, states: np.ndarray) -> None:
        """Show the states that ``tile_states.state_array`` gave, on whatever thread; it is copied.

        Raises:
            ValueError: The array is not of this grid.
        """
        if states.shape != self._states.shape:
            raise ValueError(f"States of {states.shape} tiles for a grid of {self._states.shape}.")
        self._states = states.astype(np.uint8)
        self._draw_anew()

    def set_tiles_visible(self, is_visible: bool) -> None:
        """Show or hide the tiles, apart from the boundary."""
        self._shows_tiles = is_visible
        self._draw_anew()

    def set_boundary_visible(self, is_visible: bool) -> None:
        """Show or hide the boundary of the raster."""
        self._shows_boundary = is_visible
        self._draw_anew()

    def set_style(self, style: OverlayStyle) -> None:
        """Draw boundary and seams in another style."""
        self._style = style
        self._draw_anew()

    def remove(self) -> None:
        """Take the item out of the scene, for good; a second call does nothing."""
        if self._is_removed:
            return
        self._is_removed = True
        if not sip.isdeleted(self._canvas):
            self._canvas.destinationCrsChanged.disconnect(self._draw_anew)
            self._canvas.transformContextChanged.disconnect(self._draw_anew)
            self._canvas.scene().removeItem(self)

    def updatePosition(self) -> None:
        """Follow the map; the canvas calls it after each pan, zoom and rotation."""
        size = self._canvas.viewport().size()
        if (
            screen_transform(self._canvas) != self._view
            or QRectF(0, 0, size.width(), size.height()) != self._bounds
        ):
            self._draw_anew()

    def boundingRect(self) -> QRectF:
        """Return what may be painted on; the scene asks."""
        return self._bounds

    def paint(self, painter: QPainter, *_: Any) -> None:
        """Draw; the scene calls it."""
        if self._grid is None:
            return
        if self._picture is None:
            # Not before it is looked at: states may come in by the hundred.
            place = GridOnCanvas(self._grid, self._crs, self._canvas)
            self._picture = TilePicture(place, self._tiling, self._states)
        self._picture.paint(
            painter, self._style, shows_tiles=self._shows_tiles, shows_boundary=self._shows_boundary
        )

    def _draw_anew(self) -> None:
        self.prepareGeometryChange()
        self._picture = None
        self._view = screen_transform(self._canvas)
        self._bounds = QRectF(self._canvas.viewport().rect())
        self.setVisible(self._grid is not None and (self._shows_tiles or self._shows_boundary))
        self.update()

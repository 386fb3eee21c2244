# SPDX-License-Identifier: GPL-3.0-or-later
"""A window of the grid that a tile covers: the name under which both processes know it.

Ignorant of how a raster is cut into windows (``encoder.tiling``) and of files beyond
their names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geo_sam2.errors import StoreError, WindowError
from geo_sam2.json_record import JsonRecord


@dataclass(frozen=True)
class TileWindow(JsonRecord):
    """A window of the grid that a tile covers.

    Attributes:
        level: 0 is native; level k covers 2**k grid pixels with one pixel of the tile.
        xoff: First column, in grid pixels.
        yoff: First row, in grid pixels.
        width: Columns, in pixels of the level.
        height: Rows, in pixels of the level.
    """

    level: int
    xoff: int
    yoff: int
    width: int
    height: int

    @property
    def pixel_size(self) -> int:
        """Grid pixels per pixel of the tile, along x and along y."""
        return int(2**self.level)

    def file_name(self, generation: int) -> str:
        """Return the tile's path in the store; a re-encoded tile gets a new generation, so a new name."""
        return f"tiles/{self.level}/x{self.xoff:08d}_y{self.yoff:08d}.{generation}.safetensors"

    def corners(self) -> np.ndarray:
        """Return the outer corners in grid pixels, (4, 2) float: first, right, opposite, below."""
        left, top = float(self.xoff), float(self.yoff)
        right, bottom = left + self.width * self.pixel_size, top + self.height * self.pixel_size
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def read_tile_window(value: object) -> TileWindow:
    """Read a window from a message.

    Raises:
        WindowError: It is no record of five whole numbers, or has no pixels.
    """
    try:
        window = TileWindow.from_json(value, "window")
    except StoreError as error:
        raise WindowError(error.text) from error
    if window.width < 1 or window.height < 1 or window.level > 20:
        raise WindowError(f"A window of {window.width} × {window.height} pixels at level {window.level}.")
    return window

# SPDX-License-Identifier: GPL-3.0-or-later
"""The pixel grid: where pixels lie on the map, decided once.

Grid coordinates are floats, x right and y down, with (0, 0) at the outer corner of the first
pixel, so a pixel centre is at .5. Arrays speak (row, col), maps speak (x, y); this is where
they meet. Ignorant of GDAL, QGIS and files: a CRS is text here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from geo_sam2.errors import GridError
from geo_sam2.json_record import JsonRecord
from geo_sam2.tile_window import TileWindow

# Two grids are the same while no corner has moved by more than this part of a pixel: far below
# what can be seen, far above what different versions of PROJ disagree about.
SAME_PLACE_PX = 0.01

# Where QGIS draws a raster without georeference: a unit per pixel, y down from 0.
UNGEOREFERENCED = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True)
class PixelGrid(JsonRecord):
    """The encoding grid: of a raster, or of its warped VRT.

    Attributes:
        width: Columns.
        height: Rows.
        geotransform: GDAL's six terms: x of the outer corner of the first pixel, map x per
            column, map x per row, y of that corner, map y per column, map y per row.
        crs_wkt: WKT2:2019 of the CRS, axes in traditional GIS order; empty without CRS.
        crs_authid: As QGIS names it (``EPSG:32612``); empty when it has no such name.

    Raises:
        GridError: The grid has no pixels, or its pixels have no area or no place.
    """

    width: int
    height: int
    geotransform: tuple[float, float, float, float, float, float]
    crs_wkt: str
    crs_authid: str

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise GridError(f"A grid of {self.width} × {self.height} pixels.")
        if not all(math.isfinite(term) for term in self.geotransform):
            raise GridError(f"The geotransform {self.geotransform} has terms that are no numbers.")
        _, a, b, _, c, d = self.geotransform
        # Relative to the pixel's sides: pixels in degrees have an area of 1e-10 and are fine.
        if abs(a * d - b * c) <= 1e-9 * math.hypot(a, c) * math.hypot(b, d):
            raise GridError(f"The geotransform {self.geotransform} gives pixels no area.")

    def to_map(self, points_xy: Any) -> np.ndarray:
        """Place grid coordinates on the map.

        Args:
            points_xy: (…, 2) numbers, grid pixels.

        Returns:
            (…, 2) float64, map x and y in units of the CRS.
        """
        points: np.ndarray = np.asarray(points_xy, dtype=np.float64) @ self._steps()
        points += self._origin()
        return points

    def to_grid(self, points_xy: Any) -> np.ndarray:
        """Find map positions in the grid; the opposite of ``to_map``.

        Args:
            points_xy: (…, 2) numbers, map x and y in units of the CRS.

        Returns:
            (…, 2) float64, grid pixels; outside the raster they are below 0 or above its size.
        """
        points: np.ndarray = (
            np.asarray(points_xy, dtype=np.float64) - self._origin()
        ) @ self._inverse_steps()
        return points

    def footprint(self, window: TileWindow) -> np.ndarray:
        """Return the map positions of a window's corners, (4, 2): first, right, opposite, below.

        On the map the ring runs clockwise where the raster is north-up.
        """
        return self.to_map(window_corners(window))

    def corners(self) -> np.ndarray:
        """Return the map positions of the grid's outer corners, (4, 2), in the order of ``footprint``."""
        return self.footprint(TileWindow(0, 0, 0, self.width, self.height))

    def bounds(self) -> tuple[float, float, float, float]:
        """Return (x_min, y_min, x_max, y_max) of the grid on the map."""
        corners = self.corners()
        (x_min, y_min), (x_max, y_max) = corners.min(axis=0), corners.max(axis=0)
        return float(x_min), float(y_min), float(x_max), float(y_max)

    def pixel_area(self) -> float:
        """Return the area of a pixel in square units of the CRS (square degrees if it is geographic)."""
        _, a, b, _, c, d = self.geotransform
        return abs(a * d - b * c)

    def pixel_size(self) -> tuple[float, float]:
        """Return the lengths of a pixel's sides along a row and along a column, in units of the CRS."""
        _, a, b, _, c, d = self.geotransform
        return math.hypot(a, c), math.hypot(b, d)

    @property
    def has_crs(self) -> bool:
        """Whether it is known where on Earth the grid lies."""
        return bool(self.crs_wkt)

    def difference_to(self, other: PixelGrid) -> str | None:
        """Name the first difference to another grid, or return None when they are the same.

        Geotransforms are compared by what they do to the corners, within ``SAME_PLACE_PX``. The
        WKT of one CRS differs between versions of PROJ, so that it is compared only as to
        whether there is one where a CRS has no name.
        """
        if (self.width, self.height) != (other.width, other.height):
            return f"{self.width} × {self.height} pixels instead of {other.width} × {other.height}"
        if self.has_crs != other.has_crs:
            return "a CRS instead of none" if self.has_crs else "no CRS instead of one"
        if self.crs_authid != other.crs_authid:
            mine, theirs = (
                self.crs_authid or "a CRS without a code",
                other.crs_authid or "a CRS without a code",
            )
            return f"{mine} instead of {theirs}"
        moved = np.abs(other.to_grid(self.corners()) - other.to_grid(other.corners())).max()
        if moved > SAME_PLACE_PX:
            return f"a place that differs by {moved:.3g} pixels"
        return None

    def _steps(self) -> np.ndarray:
        """Map x and y per column (first row) and per row of pixels (second row)."""
        _, a, b, _, c, d = self.geotransform
        return np.array([[a, c], [b, d]])

    def _inverse_steps(self) -> np.ndarray:
        """Grid columns and rows per map x (first row) and per map y (second row)."""
        # In closed form: exact for north-up grids, where a general inverse may round.
        _, a, b, _, c, d = self.geotransform
        determinant = a * d - b * c
        return np.array([[d / determinant, -c / determinant], [-b / determinant, a / determinant]])

    def _origin(self) -> np.ndarray:
        return np.array([self.geotransform[0], self.geotransform[3]])


def window_corners(window: TileWindow) -> np.ndarray:
    """Return a window's outer corners in grid pixels, (4, 2) float: first, right, opposite, below."""
    left, top = window.xoff, window.yoff
    right = left + window.width * window.pixel_size
    bottom = top + window.height * window.pixel_size
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)

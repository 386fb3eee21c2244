# SPDX-License-Identifier: GPL-3.0-or-later
"""A raster of bright squares on black, each of which the fake engine takes for an object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, osr

_PITCH_PX, _SIDE_PX = 40, 20
_LEFT_M, _TOP_M, _GSD_M = 691_200.0, 5_334_400.0, 0.5
_BRIGHT = 200


@dataclass(frozen=True)
class Square:
    """Where a square lies, in map units.

    Attributes:
        middle: (x, y).
        envelope: x_min, x_max, y_min, y_max, as OGR orders them.
    """

    middle: tuple[float, float]
    envelope: tuple[float, float, float, float]


def write_bright_squares(path: Path, columns: int, rows: int) -> list[Square]:
    """Write the raster, in UTM, and return its squares row by row."""
    values = np.zeros((rows * _PITCH_PX, columns * _PITCH_PX), np.uint8)
    margin = (_PITCH_PX - _SIDE_PX) // 2
    squares = []
    for row in range(rows):
        for column in range(columns):
            left_px, top_px = column * _PITCH_PX + margin, row * _PITCH_PX + margin
            values[top_px : top_px + _SIDE_PX, left_px : left_px + _SIDE_PX] = _BRIGHT
            left, top = _LEFT_M + left_px * _GSD_M, _TOP_M - top_px * _GSD_M
            side = _SIDE_PX * _GSD_M
            squares.append(Square((left + side / 2, top - side / 2), (left, left + side, top - side, top)))
    raster = gdal.GetDriverByName("GTiff").Create(str(path), values.shape[1], values.shape[0], 3)
    raster.SetGeoTransform((_LEFT_M, _GSD_M, 0, _TOP_M, 0, -_GSD_M))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32632)
    raster.SetProjection(crs.ExportToWkt())
    for band in range(3):
        raster.GetRasterBand(band + 1).WriteArray(values)
    raster.FlushCache()
    return squares

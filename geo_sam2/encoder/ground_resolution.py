# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a pixel of a grid is on the ground, in metres, and how to say it.

Measured on the ellipsoid at the middle of the grid, so that degrees, feet and web Mercator's
stretched metres all become metres on the ground.
"""

from __future__ import annotations

import math

import numpy as np

from geo_sam2.encoder.crs import PointTransform, read_crs
from geo_sam2.errors import GridError
from geo_sam2.grid import PixelGrid

# WGS 84
_SEMI_MAJOR_M = 6_378_137.0
_ECCENTRICITY_2 = 6.694379990141e-3
_FROM_METRES = 0.995
_SAME_TEXT = 5e-3
# A step of one pixel of a few centimetres would lose digits in degrees.
_STEP_PX = 64.0


def ground_resolution_m(grid: PixelGrid) -> float | None:
    """Return the side of a square as large as a pixel in the grid's middle, in metres.

    Returns:
        None where the grid has no CRS, or none that says where on Earth it is.
    """
    if not grid.has_crs:
        return None
    middle = np.array([grid.width / 2, grid.height / 2])
    places = grid.to_map(middle + _STEP_PX * np.array([(0, 0), (1, 0), (0, 1)]))
    try:
        to_degrees = PointTransform(read_crs(grid.crs_wkt), read_crs("EPSG:4326"))
        degrees = to_degrees(places)
    except GridError:
        return None
    if not np.isfinite(degrees).all():
        return None
    steps = (degrees[1:] - degrees[0] + 180) % 360 - 180  # across the antimeridian as well
    latitude = math.radians(float(degrees[0, 1]))
    # Radii of curvature of the prime vertical and of the meridian.
    flatness = 1 - _ECCENTRICITY_2 * math.sin(latitude) ** 2
    across_m = _SEMI_MAJOR_M / math.sqrt(flatness)
    along_m = across_m * (1 - _ECCENTRICITY_2) / flatness
    steps = np.radians(steps) * (across_m * math.cos(latitude), along_m) / _STEP_PX
    area = abs(steps[0, 0] * steps[1, 1] - steps[0, 1] * steps[1, 0])
    return math.sqrt(area) if area > 0 else None


def resolution_text(gsd_m: float | None, factor: int | None = 1) -> str:
    """Return a ground resolution for people: “3 cm”, “1.2 m”; in pixels of the raster where unknown."""
    if gsd_m is None:
        return f"{factor} px" if factor else "?"
    value, unit = (gsd_m * 100, "cm") if gsd_m < _FROM_METRES else (gsd_m, "m")
    # Map scale makes 8.01 of 8; a third digit is worth its place where the second is far off.
    short = float(f"{value:.2g}")
    return f"{short if abs(short / value - 1) < _SAME_TEXT else float(f'{value:.3g}'):g} {unit}"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Coordinate reference systems as OSR knows them: reading, naming, and moving points between them.

Axes are in traditional GIS order (x = east or longitude) everywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from osgeo import osr

from geo_sam2.encoder.gdal_calls import ask
from geo_sam2.errors import GridError

# OSR's own scale of 0 to 100: at 90, name or minor parameters may differ, the place does not.
_SURE = 90


def read_crs(text: str) -> Any:
    """Return the ``osr.SpatialReference`` of a WKT or of a name such as ``EPSG:32612``.

    Raises:
        GridError: It is none.
    """
    srs = osr.SpatialReference()
    failed, message = ask(srs.SetFromUserInput, text)
    if failed != 0:
        short = text if len(text) <= 80 else f"{text[:80]}…"
        reason = f" ({message})" if message else ""
        raise GridError(f"“{short}” is no coordinate reference system{reason}.", "Choose another CRS.")
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return srs


def crs_texts(srs: Any) -> tuple[str, str]:
    """Return (WKT2:2019, authority name) of a CRS; both are empty for None.

    The name is the one it says of itself, or else that of the EPSG entry that it equals.
    """
    if srs is None:
        return "", ""
    wkt, _ = ask(srs.ExportToWkt, ["FORMAT=WKT2_2019"])
    authority, code = srs.GetAuthorityName(None), srs.GetAuthorityCode(None)
    if not (authority and code):
        matches, _ = ask(srs.FindMatches)
        for match, confidence in matches or []:
            if confidence >= _SURE:
                authority, code = match.GetAuthorityName(None), match.GetAuthorityCode(None)
                break
    return wkt or "", f"{authority}:{code}" if authority and code else ""


def full_turn(srs: Any) -> float:
    """Return what a turn round the Earth is in x of the CRS: 360 in degrees, infinite if projected."""
    if srs is None or not srs.IsGeographic():
        return math.inf
    return 2 * math.pi / float(srs.GetAngularUnits())


class PointTransform:
    """Moves points from one CRS to another.

    Raises:
        GridError: PROJ knows no way between them.
    """

    def __init__(self, source: Any, target: Any) -> None:
        transform, message = ask(osr.CoordinateTransformation, source, target)
        # Its wrapped pointer is null when PROJ knows no way and exceptions are off.
        if transform is None or getattr(transform, "this", None) is None:
            raise GridError(f"There is no way from {source.GetName()} to {target.GetName()}: {message}.")
        self._transform = transform

    def __call__(self, points_xy: np.ndarray) -> np.ndarray:
        """Return the places of (n, 2) points; infinite where there is none."""
        moved, _ = ask(self._transform.TransformPoints, np.asarray(points_xy, dtype=np.float64).tolist())
        if moved is None:  # with exceptions on, one point without place hides all
            moved = [ask(self._transform.TransformPoint, float(x), float(y))[0] for x, y in points_xy]
        rows = [(math.inf, math.inf) if point is None else point[:2] for point in moved]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the decoder found of an object to one multi-polygon on the map.

Owns the joint of tiles, the minimum area, and the step from pixels to the map. Ignorant of
prompts and layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from qgis.core import QgsGeometry, QgsLineString, QgsMultiPolygon, QgsPolygon

from geo_sam2.engine.outline_rings import Outlines, offsets_of, without_collinear_points
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.batch_decoder import DecodedPass
from geo_sam2.segmentation.polygon_validity import valid_polygons
from geo_sam2.segmentation.tile_choice import reaches_open_edge

# Where masks of two tiles do not quite agree, their joint may leave specks smaller than a pixel.
_SPECK_PX2 = 1.0


@dataclass(frozen=True)
class ObjectOutline:
    """An object as one shape.

    Attributes:
        outlines: Its polygons in grid pixels; none if nothing was found.
        score: Predicted IoU; of several passes the mean, weighted by the areas that they found.
        stability: The same of the stability.
        is_truncated: It reaches the edge of the tiles that were looked at, and may go on beyond.
    """

    outlines: Outlines
    score: float
    stability: float
    is_truncated: bool

    @property
    def area_px(self) -> float:
        """Area in square grid pixels, holes taken off."""
        return float(self.outlines.area_px2.sum())


def join_passes(passes: Sequence[DecodedPass], min_area_px: float) -> ObjectOutline:
    """Unite what was found of an object in its tiles.

    Outlines end exactly on the sides of windows, so neighbours join without gap. Parts smaller
    than the minimum are dropped after that: a part that a seam cuts in two is one.

    Args:
        passes: At least one.
        min_area_px: Least area of a part, in square grid pixels; 0 keeps all.
    """
    areas = np.array([float(part.outlines.area_px2.sum()) for part in passes])
    weights = areas if areas.sum() > 0 else np.ones(len(passes))
    found = [part.outlines for part in passes if len(part.outlines)]
    outlines = united(found) if len(found) > 1 else found[0] if found else Outlines.empty()
    if min_area_px > 0:
        outlines = outlines.select_rings((outlines.area_px2 >= min_area_px)[outlines.polygon_of_ring])
    return ObjectOutline(
        outlines=outlines,
        score=float(np.average([part.predicted_iou for part in passes], weights=weights)),
        stability=float(np.average([part.stability for part in passes], weights=weights)),
        is_truncated=reaches_open_edge([(part.window, part.outlines) for part in passes]),
    )


def united(found: Sequence[Outlines]) -> Outlines:
    """Return the ground of several outlines as one, without a trace of the seams between them."""
    union = QgsGeometry.unaryUnion([multi_polygon(outlines) for outlines in found])
    outlines = without_collinear_points(outlines_of(union))
    return outlines.select_rings(np.abs(outlines.signed_ring_area_px2) >= _SPECK_PX2)


def outlines_of(geometry: QgsGeometry) -> Outlines:
    """Return the polygons of a geometry as arrays."""
    geometry = QgsGeometry(geometry)
    geometry.convertToMultiType()
    polygons = geometry.asMultiPolygon()
    rings = [np.array(ring, dtype=np.float64) for polygon in polygons for ring in polygon]
    if not rings:
        return Outlines.empty()
    return Outlines(
        np.concatenate(rings),
        offsets_of(np.array([len(ring) for ring in rings])),
        offsets_of(np.array([len(polygon) for polygon in polygons])),
    ).oriented()


def multi_polygon(outlines: Outlines) -> QgsGeometry:
    """Return arrays as a multi-polygon, in their own coordinates."""
    multi = QgsMultiPolygon()
    for rings in outlines.polygons():
        lines = [QgsLineString(ring[:, 0].tolist(), ring[:, 1].tolist()) for ring in rings]
        polygon = QgsPolygon(lines[0])
        for hole in lines[1:]:
            polygon.addInteriorRing(hole)
        multi.addGeometry(polygon)
    return QgsGeometry(multi)


def on_map(outlines: Outlines, grid: PixelGrid) -> QgsGeometry:
    """Return outlines in grid pixels as a valid multi-polygon on the grid's map."""
    placed = Outlines(grid.to_map(outlines.points_xy), outlines.ring_offsets, outlines.polygon_offsets)
    # Rounding far from the map's origin may let vertices of a thin neck coincide.
    return valid_polygons(multi_polygon(placed))

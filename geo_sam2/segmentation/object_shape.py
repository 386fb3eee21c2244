# SPDX-License-Identifier: GPL-3.0-or-later
"""From the answers of an object's tiles to its shape in pixels, and from there to the map.

Owns the joint of the tiles, what is done to outlines after it, and right angles. What comes out is
what is shown and what is saved. Ignorant of prompts, layers and the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qgis.core import QgsGeometry

from geo_sam2.engine.outline_parts import chosen_parts
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.object_outline import multi_polygon, on_map, outlines_of, united
from geo_sam2.segmentation.object_result import Candidate, ObjectResult
from geo_sam2.segmentation.polygon_validity import valid_polygons
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.segmentation.tile_choice import reaches_open_edge
from geo_sam2.tile_window import TileWindow

if TYPE_CHECKING:
    from geo_sam2.segmentation.interactive_decoder import TileAnswer

# QGIS's own values for its "Orthogonalize" (tolerance, angle in degrees).
_TOLERANCE, _ANGLE = 1e-8, 15.0
_MAX_ITERATIONS, _MIN_ITERATIONS = 1000, 20
# An iteration looks at every vertex, which takes 0.16 µs: an outline that was not simplified would hold
# up the hand for half a second, and has no right angles to be found anyway.
_MAX_VERTEX_VISITS = 50_000


def joined(
    answers: Sequence[TileAnswer], shape: ShapeOptions, missing: Sequence[TileWindow] = ()
) -> ObjectResult:
    """Unite what was found of an object in its tiles.

    With one tile the engine has done all that the shape asks for, and the candidates stay a
    choice. With several the chosen candidate of each is a part of the object: outlines end exactly
    on the sides of windows, so neighbours join without a gap, and only then holes and small parts
    are judged.

    Args:
        answers: One a tile, at least one.
        shape: As the answers were asked for.
        missing: Windows that prompts on the object lie in but that are not encoded; the object
            counts as truncated then.
    """
    windows = tuple(answer.window for answer in answers)
    if len(answers) == 1:
        (answer,) = answers
        candidates = tuple(
            Candidate(mask, outlines, predicted_iou, stability)
            for mask, predicted_iou, stability, outlines in answer.candidates
        )
        chosen = answer.chosen
    else:
        candidates, chosen = (_joint(answers, shape),), 0
    # By what is left of the object: a speck that was dropped does not go on beyond a seam.
    outlines = candidates[chosen].outlines
    is_open = reaches_open_edge([(window, outlines) for window in windows])
    return ObjectResult(candidates, chosen, is_open or bool(missing), windows, tuple(missing))


def finished(outlines: Outlines, shape: ShapeOptions, grid: PixelGrid) -> QgsGeometry:
    """Return the shape on the grid's map: a valid multi-polygon, empty where there is nothing.

    Args:
        outlines: In grid pixels; simplified by the engine already, areas judged.
        shape: Its right angles are made here, in grid pixels, so that they do not depend on the CRS.
        grid: Where the pixels lie.
    """
    if shape.right_angles and len(outlines):
        outlines = _with_right_angles(outlines)
    return on_map(outlines, grid)


def _joint(answers: Sequence[TileAnswer], shape: ShapeOptions) -> Candidate:
    parts = [answer.candidates[answer.chosen] for answer in answers]
    mask = parts[0][0]
    found = [outlines for _, _, _, outlines in parts if len(outlines)]
    outlines = united(found) if len(found) > 1 else found[0] if found else Outlines.empty()
    areas = np.array([float(part.area_px2.sum()) for _, _, _, part in parts])
    weights = areas if areas.sum() > 0 else np.ones(len(parts))
    return Candidate(
        mask=mask,
        outlines=chosen_parts(
            outlines,
            max_hole_px2=shape.max_hole_px2,
            min_area_px2=shape.min_area_px2,
            largest_only=shape.largest_only,
        ),
        score=float(np.average([predicted_iou for _, predicted_iou, _, _ in parts], weights=weights)),
        stability=float(np.average([stability for _, _, stability, _ in parts], weights=weights)),
    )


def _with_right_angles(outlines: Outlines) -> Outlines:
    """Square the corners that are nearly square, as QGIS does; what it cannot square stays as it is."""
    # Near the origin: in the far corner of a large raster its tolerance is below the rounding.
    origin = outlines.points_xy[0].copy()
    local = Outlines(outlines.points_xy - origin, outlines.ring_offsets, outlines.polygon_offsets)
    geometry = multi_polygon(local)
    squared = _squared(geometry)
    if not squared.isGeosValid():
        # Rings that came to cross each other: each is squared by itself, then holes are taken off.
        squared = _squared_one_by_one(local)
    if squared.isEmpty():
        return outlines
    result = outlines_of(squared)
    return Outlines(result.points_xy + origin, result.ring_offsets, result.polygon_offsets)


def _squared(geometry: QgsGeometry) -> QgsGeometry:
    visits = max(1, geometry.constGet().nCoordinates())
    iterations = min(_MAX_ITERATIONS, max(_MIN_ITERATIONS, _MAX_VERTEX_VISITS // visits))
    squared = geometry.orthogonalize(_TOLERANCE, iterations, _ANGLE)
    return geometry if squared.isEmpty() else squared


def _squared_one_by_one(outlines: Outlines) -> QgsGeometry:
    solids, holes = [], []
    for index in range(outlines.ring_count):
        ring = outlines.ring(index)
        alone = multi_polygon(Outlines(ring, np.array([0, len(ring)]), np.array([0, 1])))
        squared = valid_polygons(_squared(alone))
        (solids if outlines.is_exterior[index] else holes).append(squared)
    solid = QgsGeometry.unaryUnion(solids)
    return valid_polygons(solid.difference(QgsGeometry.unaryUnion(holes)) if holes else solid)

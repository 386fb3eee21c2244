# SPDX-License-Identifier: GPL-3.0-or-later
"""Which polygons and holes of an outline are kept, by their areas.

The engine asks it of an outline in one tile, the QGIS side of an object that was joined from several:
a part that a seam cuts in two is one, so that only the joint can be judged. numpy only.
"""

from __future__ import annotations

import numpy as np

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.ring_conflicts import points_in_ring


def chosen_parts(
    outlines: Outlines, *, max_hole_px2: float = 0.0, min_area_px2: float = 0.0, largest_only: bool = False
) -> Outlines:
    """Fill small holes, then drop small parts, then all but the largest part.

    Args:
        outlines: Polygons in pixels.
        max_hole_px2: Holes up to this area are filled, with whatever lies in them; 0 fills none.
        min_area_px2: Parts with less area (holes taken off, after filling) are dropped; 0 drops none.
        largest_only: Keep the part with the largest area alone, the first of several as large.
    """
    if max_hole_px2 > 0:
        outlines = _with_filled_holes(outlines, max_hole_px2)
    if min_area_px2 > 0:
        outlines = _selected_polygons(outlines, outlines.area_px2 >= min_area_px2)
    if largest_only and len(outlines) > 1:
        outlines = _selected_polygons(outlines, np.arange(len(outlines)) == np.argmax(outlines.area_px2))
    return outlines


def _selected_polygons(outlines: Outlines, keep: np.ndarray) -> Outlines:
    return outlines.select_rings(keep[outlines.polygon_of_ring])


def _with_filled_holes(outlines: Outlines, max_hole_px2: float) -> Outlines:
    """Drop the holes up to an area, and the polygons that lie in them."""
    fill = ~outlines.is_exterior & (-outlines.signed_ring_area_px2 <= max_hole_px2)
    keep = ~fill
    exteriors = outlines.polygon_offsets[:-1]
    bounds = outlines.ring_bounds
    # The middle of an edge lies on no other ring; a vertex may, in the pixel style.
    first = outlines.ring_offsets[exteriors]
    probes = 0.5 * (outlines.points_xy[first] + outlines.points_xy[first + 1])
    for hole in np.flatnonzero(fill):
        within = (bounds[exteriors, :2] >= bounds[hole, :2]).all(axis=1)
        within &= (bounds[exteriors, 2:] <= bounds[hole, 2:]).all(axis=1)
        inner = np.flatnonzero(within)
        if len(inner):
            keep[exteriors[inner[points_in_ring(probes[inner], outlines.ring(hole))]]] = False
    return outlines.select_rings(keep)

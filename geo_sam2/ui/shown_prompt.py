# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts, which lie in pixels of a grid, as the overlay shows them on the map."""

from __future__ import annotations

from qgis.core import QgsGeometry, QgsPointXY

from geo_sam2.segmentation.object_state import Prompt, is_on_object
from geo_sam2.segmentation.prompts import Box
from geo_sam2.ui.open_store import Ground
from geo_sam2.ui.overlay import ShownPrompt


def shown_prompt(prompt: Prompt, ground: Ground) -> ShownPrompt:
    """Return a prompt as it is drawn: a point, or the outline of a box, in the CRS of the ground."""
    grid, crs = ground.grid, ground.crs
    if isinstance(prompt, Box):
        x_min, y_min, x_max, y_max = prompt.bounds_px
        corners = grid.to_map([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)])
        ring = [QgsPointXY(float(x), float(y)) for x, y in corners]
        return ShownPrompt(prompt.source_id, "box", QgsGeometry.fromPolygonXY([[*ring, ring[0]]]), crs)
    ((x, y),) = grid.to_map([(prompt.x_px, prompt.y_px)])
    kind = "foreground" if is_on_object(prompt) else "background"
    point = QgsGeometry.fromPointXY(QgsPointXY(float(x), float(y)))
    return ShownPrompt(prompt.source_id, kind, point, crs)

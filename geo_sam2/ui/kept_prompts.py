# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts of an object that was left without saving it, until somebody comes back to its raster.

Another raster or project is opened, or the plugin is reloaded: nobody who clicked twenty times wants
to do so again. Kept by grid; what was kept when the plugin ends is in QGIS's settings.
"""

from __future__ import annotations

import json

from qgis.core import QgsSettings

from geo_sam2.errors import GeoSam2Error
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.object_state import ObjectState
from geo_sam2.segmentation.prompt_text import read_prompts, write_prompts

_KEY = "geo_sam2/kept_prompts"
# Old ones are of no use to anybody.
_MOST = 10


class KeptPrompts:
    """States of objects by the grid on which they lie."""

    def __init__(self) -> None:
        self._kept: list[tuple[PixelGrid, ObjectState]] = _read()

    def put(self, grid: PixelGrid, state: ObjectState) -> None:
        """Keep the prompts of an object; without prompts nothing is kept of the grid any more."""
        self.take(grid)
        if state.prompts:
            self._kept = [*self._kept, (grid, state)][-_MOST:]

    def take(self, grid: PixelGrid) -> ObjectState | None:
        """Return what is kept of a grid, and keep it no longer."""
        for index, (other, state) in enumerate(self._kept):
            if grid.difference_to(other) is None:
                del self._kept[index]
                return state
        return None

    def write(self) -> None:
        """Keep everything beyond the end of the plugin."""
        if not self._kept:
            QgsSettings().remove(_KEY)
            return
        rows = [{"grid": grid.to_json(), "prompts": write_prompts(state)} for grid, state in self._kept]
        QgsSettings().setValue(_KEY, json.dumps(rows))


def _read() -> list[tuple[PixelGrid, ObjectState]]:
    try:
        rows = json.loads(str(QgsSettings().value(_KEY, "") or "[]"))
        return [(PixelGrid.from_json(row["grid"], "grid"), read_prompts(row["prompts"])) for row in rows]
    except (ValueError, TypeError, KeyError, GeoSam2Error):
        return []  # written by another version, or edited

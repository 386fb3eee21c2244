# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as they are on the screen, which is as they are saved.

Owns how a decoded object comes to lie in the output, and which ones were shown a moment ago.
Ignorant of how they were asked for and of what draws them.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass

from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry

from geo_sam2.segmentation.object_result import ObjectResult
from geo_sam2.segmentation.object_state import ObjectState
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.decode_bridge import Decoded

# What a double-click may save was on the screen a moment ago.
_RECENT = 8

#: Moves a geometry in some CRS into the output, as it would be saved there: (geometry, crs) of it.
Place = Callable[
    [QgsGeometry, QgsCoordinateReferenceSystem], "tuple[QgsGeometry, QgsCoordinateReferenceSystem]"
]


@dataclass(frozen=True, eq=False)
class ShownObject:
    """What is on the screen: exactly this is saved.

    Attributes:
        state: The prompts that led to it.
        shape: The options that it was made with.
        result: In grid pixels.
        geometry: As it lies in the output.
        crs: Of the geometry.
    """

    state: ObjectState
    shape: ShapeOptions
    result: ObjectResult
    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem


class ShownObjects:
    """Makes them, and remembers the last ones.

    Args:
        place: Says how a shape lies in the output.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._recent: collections.deque[ShownObject] = collections.deque(maxlen=_RECENT)

    def placed(
        self, state: ObjectState, shape: ShapeOptions, decoded: Decoded, crs: QgsCoordinateReferenceSystem
    ) -> ShownObject | None:
        """Return a decoded object as it would be saved; None if nothing is left of it.

        Args:
            state: Its prompts.
            shape: The options that it was made with.
            decoded: The result, with its geometry.
            crs: Of that geometry.

        Raises:
            GeoSam2Error: It has no place in the output.
        """
        geometry = decoded.geometry
        if not geometry.isEmpty():
            geometry, crs = self._place(geometry, crs)
        return self._noted(ShownObject(state, shape, decoded.result, geometry, crs))

    def unplaced(
        self, state: ObjectState, shape: ShapeOptions, decoded: Decoded, crs: QgsCoordinateReferenceSystem
    ) -> ShownObject | None:
        """Return a decoded object where it was decoded, for an output in which it has no place."""
        return self._noted(ShownObject(state, shape, decoded.result, decoded.geometry, crs))

    def of(self, result: ObjectResult) -> ShownObject | None:
        """Return how a result of a moment ago looked on the screen; None if it is forgotten."""
        return next((shown for shown in reversed(self._recent) if shown.result is result), None)

    def _noted(self, shown: ShownObject) -> ShownObject | None:
        if shown.geometry.isEmpty():
            return None
        self._recent.append(shown)
        return shown

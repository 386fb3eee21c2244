# SPDX-License-Identifier: GPL-3.0-or-later
"""What is copied of a raster layer on the main thread, so that other threads need not touch it.

A plain frozen value; ignorant of QGIS and GDAL. ``layer_request.layer_facts`` takes the copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LayerFacts:
    """A raster layer as encoding sees it.

    Attributes:
        source: ``QgsRasterLayer.source()`` of a layer that GDAL opens.
        name: As the layer tree shows it.
        shown_bands: Bands that the renderer shows, counted from 1; None where it does not say.
        stores_folder: Where a store goes that cannot lie beside the raster.
        beside_raster: Whether a store may lie beside the raster at all: not where Processing deletes
            everything when QGIS ends.
    """

    source: str
    name: str
    shown_bands: tuple[int, ...] | None
    stores_folder: Path
    beside_raster: bool = True

    @property
    def file(self) -> str:
        """What GDAL opens, without the options that QGIS appends."""
        return self.source if self.source.startswith("<") else self.source.partition("|")[0]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layers of a project the dock begins with, where that is plain."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer


def raster_layers(project: QgsProject) -> list[QgsRasterLayer]:
    """Return the raster layers that can be worked on."""
    return [
        layer
        for layer in project.mapLayers().values()
        if isinstance(layer, QgsRasterLayer) and layer.isValid() and layer.providerType() == "gdal"
    ]


def raster_to_begin_with(project: QgsProject, current: QgsMapLayer | None) -> QgsRasterLayer | None:
    """Return the current layer if it is a raster, else the only raster; None where a person must choose."""
    rasters = raster_layers(project)
    if current in rasters:
        return current
    return rasters[0] if len(rasters) == 1 else None


def output_of(project: QgsProject, path: Path) -> QgsVectorLayer | None:
    """Return the project's layer in a file."""
    for layer in project.mapLayers().values():
        source = layer.source().partition("|")[0]
        if isinstance(layer, QgsVectorLayer) and source and Path(source) == path:
            return layer
    return None

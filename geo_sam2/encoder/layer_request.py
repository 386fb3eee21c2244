# SPDX-License-Identifier: GPL-3.0-or-later
"""From a raster layer to a request to encode it, for the dock and for Processing alike.

Main thread only: the layer is asked here, and copied. Ignorant of stores and of the engine.
"""

from __future__ import annotations

import os

from qgis.core import QgsProcessingUtils, QgsRasterLayer

from geo_sam2 import settings
from geo_sam2.encoder.encode_request import EncodeRequest, ModelChoice
from geo_sam2.encoder.layer_facts import LayerFacts
from geo_sam2.encoder.model_file import model_file
from geo_sam2.encoder.raster_source import RasterRequest
from geo_sam2.encoder.shown_bands import shown_bands
from geo_sam2.errors import EncodeRequestError


def layer_facts(layer: QgsRasterLayer) -> LayerFacts:
    """Copy what encoding needs of a layer.

    Raises:
        EncodeRequestError: The layer is broken, or GDAL does not open it.
    """
    refuse_service(layer)
    if not layer.isValid():
        raise EncodeRequestError(
            f"The layer “{layer.name()}” has lost its file.",
            "Repair its data source, or choose another layer.",
        )
    return LayerFacts(
        source=layer.source(),
        name=layer.name(),
        shown_bands=shown_bands(layer),
        stores_folder=settings.stores_folder(),
        beside_raster=not is_in_processing_folder(layer.source()),
    )


def refuse_service(layer: QgsRasterLayer) -> None:
    """Raise EncodeRequestError for a layer that GDAL does not open: XYZ, WMS and the like."""
    if layer.providerType() != "gdal":
        raise EncodeRequestError(
            f"The layer “{layer.name()}” comes from a service ({layer.providerType()});"
            " only rasters that GDAL opens can be encoded so far.",
            "Save what you need of it as a GeoTIFF and encode that.",
        )


def layer_encode_request(
    layer: QgsRasterLayer | LayerFacts,
    model_id: str,
    factor: int = 1,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> EncodeRequest:
    """Return the request that encodes a layer's shown bands into the store at its default place.

    A store that is there already is continued: in its bands and stretch.

    Args:
        layer: The layer, or what was copied of it.
        model_id: ``demo`` or an official model.
        factor: 1 for the raster's own pixels; 2 or 4 for pixels of so many times the side.
        device: As ``ModelChoice`` takes it.
        precision: As ``ModelChoice`` takes it.

    Raises:
        EncodeRequestError: The layer cannot be encoded.
        RasterReadError: The factor is below 1.
        CheckpointError: The model's file is not on this computer.
    """
    facts = layer if isinstance(layer, LayerFacts) else layer_facts(layer)
    return EncodeRequest(
        raster=RasterRequest(source=facts.source, factor=factor),
        model=ModelChoice(model_file(model_id, settings.home()), device, precision),
        folder=None,
        stores_folder=facts.stores_folder,
        shown_bands=facts.shown_bands,
        beside_raster=facts.beside_raster,
    )


def is_in_processing_folder(path: str) -> bool:
    """Say whether a path lies where Processing deletes everything when QGIS ends."""
    temporary = os.path.realpath(QgsProcessingUtils.tempFolder())
    place = os.path.realpath(path)
    return place == temporary or place.startswith(temporary + os.sep)

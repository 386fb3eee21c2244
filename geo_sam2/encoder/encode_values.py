# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the parameters of ``geo_sam2:encode`` that QGIS would let pass or turn into zeros.

Main thread only: layers are loaded and asked here. What comes out are plain values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProperty,
    QgsRasterLayer,
    QgsRectangle,
)

from geo_sam2.encoder import encode_definitions as names
from geo_sam2.encoder.layer_request import is_in_processing_folder, refuse_service
from geo_sam2.errors import EncodeRequestError


class EncodeValues:
    """Reads parameters on the main thread; raises GeoSam2Errors where QGIS would give zeros."""

    def __init__(
        self, algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> None:
        self._algorithm = algorithm
        self._parameters = parameters
        self._context = context

    def raw(self, name: str) -> Any:
        """Return a value as it was given; None where it was not."""
        value = self._parameters.get(name)
        if isinstance(value, QgsProperty):
            value, _ = value.value(self._context.expressionContext())
        return value

    def text(self, name: str) -> str:
        """Return a value as text, or its default."""
        definition = self._algorithm.parameterDefinition(name)
        if definition.type() == "enum":
            return self._algorithm.parameterAsEnumString(self._parameters, name, self._context)
        return self._algorithm.parameterAsString(self._parameters, name, self._context)

    def raster_layer(self) -> QgsRasterLayer:
        """Return the raster layer to encode.

        Raises:
            EncodeRequestError: There is none, or GDAL does not open it.
        """
        layer = self._algorithm.parameterAsRasterLayer(self._parameters, names.INPUT, self._context)
        if layer is None:
            raise self._no_raster()
        refuse_service(layer)
        return layer

    def _no_raster(self) -> EncodeRequestError:
        given = self.raw(names.INPUT)
        text = given.name() if isinstance(given, QgsMapLayer) else str(given)
        other = self._algorithm.parameterAsLayer(self._parameters, names.INPUT, self._context)
        if other is not None:
            return EncodeRequestError(f"“{text}” is no raster layer.", "Choose a raster as INPUT.")
        return EncodeRequestError(
            f"The raster “{text}” cannot be opened.", "Check that the file is there and is a raster."
        )

    def target_crs_wkt(self) -> str:
        """Return the target CRS as WKT2, empty where none is given.

        Raises:
            EncodeRequestError: It is no CRS.
        """
        given = self.raw(names.CRS)
        if given is None or given == "" or given == QgsCoordinateReferenceSystem():
            return ""
        crs = self._algorithm.parameterAsCrs(self._parameters, names.CRS, self._context)
        if not crs.isValid():
            raise EncodeRequestError(f"“{given}” is no CRS.", "Give it as EPSG:32633, or leave it out.")
        return _wkt(crs)

    def extent(self) -> tuple[tuple[float, float, float, float] | None, str]:
        """Return (x_min, y_min, x_max, y_max) and its CRS as WKT; None for all of the raster.

        The WKT is empty where nobody told the CRS: it is that of the raster then.

        Raises:
            EncodeRequestError: It is no extent.
        """
        given = self.raw(names.EXTENT)
        if given is None or given == "":
            return None, ""
        extent = self._algorithm.parameterAsExtent(self._parameters, names.EXTENT, self._context)
        if extent.isNull() or extent.isEmpty():
            raise EncodeRequestError(
                f"The extent “{_extent_text(given)}” is empty or no extent.",
                "Give it as x_min,x_max,y_min,y_max [EPSG:code], or leave it out to encode all.",
            )
        crs = self._algorithm.parameterAsExtentCrs(self._parameters, names.EXTENT, self._context)
        corners = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
        return corners, _wkt(crs) if crs.isValid() else ""

    def output_folder(self) -> Path | None:
        """Return the store's folder, None for the default place.

        Raises:
            EncodeRequestError: It is temporary.
        """
        given = self.raw(names.OUTPUT)
        text = str(given or "").strip()
        if not text:
            return None
        if text == QgsProcessing.TEMPORARY_OUTPUT or is_in_processing_folder(text):
            raise EncodeRequestError(
                "A feature store cannot be temporary: hours of work would vanish with QGIS.",
                "Choose a folder that stays, or leave OUTPUT empty.",
            )
        return Path(text).expanduser().absolute()


def _wkt(crs: QgsCoordinateReferenceSystem) -> str:
    return str(crs.toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED))


def _extent_text(given: Any) -> str:
    return str(given.toString(6)) if isinstance(given, QgsRectangle) else str(given)

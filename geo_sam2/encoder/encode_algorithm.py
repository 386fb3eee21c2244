# SPDX-License-Identifier: GPL-3.0-or-later
"""``geo_sam2:encode``: encode a raster into a feature store, in the toolbox, a model or ``qgis_process``.

Owns the translation between Processing and the encode job, in both directions.
``prepareAlgorithm`` copies on the main thread all that the job needs; ``processAlgorithm``
uses the copies alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from qgis import utils as qgis_utils
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtGui import QIcon

from geo_sam2 import engine_session, settings, store_loading
from geo_sam2.encoder import encode_definitions as names
from geo_sam2.encoder.encode_definitions import translate
from geo_sam2.encoder.encode_job import EncodeJob
from geo_sam2.encoder.encode_parameters import read_bands, read_range, read_resolution
from geo_sam2.encoder.encode_report import EncodeReport, result_lines
from geo_sam2.encoder.encode_request import EncodeRequest, EncodeResult, ModelChoice
from geo_sam2.encoder.extent_ring import extent_ring
from geo_sam2.encoder.model_file import checkpoint_file, model_file
from geo_sam2.encoder.raster_source import RasterRequest
from geo_sam2.encoder.shown_bands import shown_bands
from geo_sam2.errors import CancelledError, EncodeRequestError, GeoSam2Error
from geo_sam2.grid import PixelGrid
from geo_sam2.icon_files import icon
from geo_sam2.runtime import model_catalogue
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.store_place import is_in_temporary_folder


class EncodeAlgorithm(QgsProcessingAlgorithm):
    """The Processing algorithm; QGIS makes a new instance for each run."""

    def __init__(self) -> None:
        super().__init__()
        self._request: EncodeRequest | None = None
        self._engine: EngineClient | None = None
        self._extent: tuple[float, float, float, float] | None = None
        self._extent_crs_wkt = ""
        self._layer_crs = QgsCoordinateReferenceSystem()
        self._is_to_load = False
        self._model_id = ""
        self._result: EncodeResult | None = None

    def createInstance(self) -> EncodeAlgorithm:
        """Return a new one for a run."""
        return EncodeAlgorithm()

    def name(self) -> str:
        """Return the id after the colon; public."""
        return "encode"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return translate("EncodeAlgorithm", "Encode raster")

    def shortDescription(self) -> str:
        """Return the tooltip."""
        return translate(
            "EncodeAlgorithm", "Turn a raster into a feature store, once, for clicks and prompts."
        )

    def shortHelpString(self) -> str:
        """Return the text beside the parameters."""
        return names.HELP

    def tags(self) -> list[str]:
        """Return words by which the toolbox finds it."""
        return ["segment anything", "sam", "sam2", "deep learning", "features", "embedding", "encode"]

    def icon(self) -> QIcon:
        """Return the icon."""
        return icon("encode")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Add the parameters and outputs."""
        for parameter in names.parameters(settings.default_model()):
            self.addParameter(parameter)
        for output in names.outputs():
            self.addOutput(output)

    # Main thread

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Copy what the run needs and refuse what cannot be run, before anything is written."""
        try:
            self._prepare(parameters, context)
        except GeoSam2Error as error:
            raise QgsProcessingException(str(error)) from error
        return True

    def _prepare(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        values = _Values(self, parameters, context)
        layer = values.raster_layer()
        model = self._model_choice(values)
        folder = values.output_folder()
        self._request = EncodeRequest(
            raster=RasterRequest(
                source=layer.source(),
                bands=read_bands(values.raw(names.BANDS)),
                target_crs_wkt=values.target_crs_wkt(),
                resolution=read_resolution(values.raw(names.RESOLUTION)),
                range=read_range(values.raw(names.RANGE)),
            ),
            model=model,
            folder=folder,
            stores_folder=settings.stores_folder(),
            shown_bands=shown_bands(layer),
            beside_raster=not _is_in_temporary_folder(layer.source()),
            batch_size=self.parameterAsInt(parameters, names.BATCH_SIZE, context),
            overwrite=self.parameterAsBool(parameters, names.OVERWRITE, context),
        )
        self._extent, self._extent_crs_wkt = values.extent()
        self._layer_crs = QgsCoordinateReferenceSystem(layer.crs())
        self._is_to_load = self.parameterAsBool(parameters, names.LOAD, context)
        self._engine = engine_session.client()

    def _model_choice(self, values: _Values) -> ModelChoice:
        """Return the weights that MODEL and CHECKPOINT mean together."""
        model_id = values.text(names.MODEL)
        checkpoint = values.text(names.CHECKPOINT)
        device, precision = values.text(names.DEVICE), values.text(names.PRECISION)
        if not checkpoint:
            self._model_id = model_id
            return ModelChoice(model_file(model_id, settings.home()), device, precision)
        # A default is no choice: only a model that somebody named has to be that of the file.
        is_chosen = values.raw(names.MODEL) is not None and model_id != model_catalogue.DEMO_ID
        return ModelChoice(checkpoint_file(checkpoint), device, precision, model_id if is_chosen else "")

    # Processing's thread

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Encode; being cancelled is a result like others."""
        try:
            return self._encode(feedback)
        except CancelledError as error:
            feedback.pushInfo(str(error))
            return {}
        except GeoSam2Error as error:
            if error.details:
                feedback.pushDebugInfo(error.details)
            raise QgsProcessingException(str(error)) from error

    def _encode(self, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        assert self._request is not None  # noqa: S101  # set by prepareAlgorithm, which QGIS calls first
        assert self._engine is not None  # noqa: S101
        report = EncodeReport(feedback, time.monotonic)
        with EncodeJob(self._request, self._engine, report, feedback.isCanceled) as job:
            grid = job.open()
            if self._has_other_crs(grid):
                feedback.pushWarning(
                    f"The layer is shown in {self._layer_crs.authid() or 'another CRS'}; the raster says"
                    f" {grid.crs_authid or 'another or none'}, and so does the store."
                )
            ring = None
            if self._extent is not None:
                ring = extent_ring(grid, self._extent, self._extent_crs_wkt)
            plan = job.plan(ring)
            if is_in_temporary_folder(plan.folder):
                feedback.pushWarning(f"{plan.folder} lies in the system's temporary folder: it may vanish.")
            self._result = job.run()
        for line in result_lines(self._result):
            feedback.pushInfo(line)
        return _outputs(self._result)

    def _has_other_crs(self, grid: PixelGrid) -> bool:
        """Say whether somebody gave the layer a CRS that is not the raster's."""
        assert self._request is not None  # noqa: S101
        if self._request.raster.target_crs_wkt or not self._layer_crs.isValid():
            return False
        return self._layer_crs != QgsCoordinateReferenceSystem.fromWkt(grid.crs_wkt)

    # Main thread again

    def postProcessAlgorithm(
        self, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Show the store if that is wanted, and remember the model for the next time."""
        if self._result is None:
            return {}
        settings.remember_model(self._model_id)
        if self._is_to_load:
            if qgis_utils.iface is None:
                feedback.pushInfo("LOAD has no effect here: there is no desktop to show the store in.")
            else:
                self._load(self._result.folder, feedback)
        return _outputs(self._result)

    def _load(self, folder: Path, feedback: QgsProcessingFeedback) -> None:
        try:
            feedback.pushInfo(store_loading.load_store(folder, QgsProject.instance()))
        except GeoSam2Error as error:  # the store is whole all the same
            feedback.reportError(str(error))


class _Values:
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
        if layer.providerType() != "gdal":
            raise EncodeRequestError(
                f"The layer “{layer.name()}” comes from a service ({layer.providerType()});"
                " only rasters that GDAL opens can be encoded so far.",
                "Save what you need of it as a GeoTIFF and encode that.",
            )
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
        if isinstance(given, QgsProcessingOutputLayerDefinition):
            given, _ = given.sink.value(self._context.expressionContext())
        text = str(given or "").strip()
        if not text:
            return None
        if text == QgsProcessing.TEMPORARY_OUTPUT or _is_in_temporary_folder(text):
            raise EncodeRequestError(
                "A feature store cannot be temporary: hours of work would vanish with QGIS.",
                "Choose a folder that stays, or leave OUTPUT empty.",
            )
        return Path(text).expanduser().absolute()


def _wkt(crs: QgsCoordinateReferenceSystem) -> str:
    return str(crs.toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED))


def _extent_text(given: Any) -> str:
    return str(given.toString(6)) if isinstance(given, QgsRectangle) else str(given)


def _is_in_temporary_folder(path: str) -> bool:
    """Say whether a path lies where Processing deletes everything when QGIS ends."""
    temporary = os.path.realpath(QgsProcessingUtils.tempFolder())
    place = os.path.realpath(path)
    return place == temporary or place.startswith(temporary + os.sep)


def _outputs(result: EncodeResult) -> dict[str, Any]:
    return {
        names.OUTPUT: str(result.folder),
        names.TILES: result.selected,
        names.TILES_ENCODED: result.encoded,
        names.TILES_EMPTY: result.empty,
        names.TILES_FAILED: result.failed,
        names.TILES_LEFT: result.left,
        names.IS_PARTIAL: result.is_partial,
        names.SECONDS: round(result.seconds, 3),
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""``geo_sam2:encode``: encode a raster into a feature store, in the toolbox, a model or ``qgis_process``.

Owns the translation between Processing and the encode job, in both directions.
``prepareAlgorithm`` copies on the main thread all that the job needs; ``processAlgorithm``
uses the copies alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from qgis import utils as qgis_utils
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
)
from qgis.PyQt.QtGui import QIcon

from geo_sam2 import engine_session, settings, store_loading
from geo_sam2.encoder import encode_definitions as names
from geo_sam2.encoder.encode_definitions import translate
from geo_sam2.encoder.encode_job import EncodeJob
from geo_sam2.encoder.encode_parameters import read_bands, read_range, read_resolution
from geo_sam2.encoder.encode_report import EncodeReport, result_lines
from geo_sam2.encoder.encode_request import EncodePlan, EncodeRequest, EncodeResult, ModelChoice
from geo_sam2.encoder.encode_values import EncodeValues
from geo_sam2.encoder.extent_ring import extent_ring
from geo_sam2.encoder.layer_request import layer_facts
from geo_sam2.encoder.model_file import checkpoint_file, model_file
from geo_sam2.encoder.raster_source import RasterRequest
from geo_sam2.errors import CancelledError, GeoSam2Error
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
        self._plan: EncodePlan | None = None
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

    def checkParameterValues(
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Say what is wrong with raster and extent in a sentence, where QGIS names the parameter only."""
        is_ok, text = super().checkParameterValues(parameters, context)
        if is_ok:
            return True, ""
        values = EncodeValues(self, parameters, context)
        try:
            values.raster_layer()
            values.extent()
        except GeoSam2Error as error:
            return False, str(error)
        return False, text

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
        values = EncodeValues(self, parameters, context)
        layer = values.raster_layer()
        facts = layer_facts(layer)
        model = self._model_choice(values)
        folder = values.output_folder()
        self._request = EncodeRequest(
            raster=RasterRequest(
                source=facts.source,
                bands=read_bands(values.raw(names.BANDS)),
                target_crs_wkt=values.target_crs_wkt(),
                resolution=read_resolution(values.raw(names.RESOLUTION)),
                range=read_range(values.raw(names.RANGE)),
            ),
            model=model,
            folder=folder,
            stores_folder=facts.stores_folder,
            shown_bands=facts.shown_bands,
            beside_raster=facts.beside_raster,
            batch_size=self.parameterAsInt(parameters, names.BATCH_SIZE, context),
            overwrite=self.parameterAsBool(parameters, names.OVERWRITE, context),
        )
        self._extent, self._extent_crs_wkt = values.extent()
        self._layer_crs = QgsCoordinateReferenceSystem(layer.crs())
        self._is_to_load = self.parameterAsBool(parameters, names.LOAD, context)
        self._engine = engine_session.client()

    def _model_choice(self, values: EncodeValues) -> ModelChoice:
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
            self._plan = job.plan(ring)
            folder = self._plan.folder
            if is_in_temporary_folder(folder):
                feedback.pushWarning(f"{folder} lies in the system's temporary folder: it may vanish.")
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
        if self._plan is not None and self._request is not None and self._result.encoded > 1:
            settings.remember_tile_seconds(
                self._plan.model_id, self._request.model.device, self._result.seconds / self._result.encoded
            )
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

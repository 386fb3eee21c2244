# SPDX-License-Identifier: GPL-3.0-or-later
"""``geo_sam2:segment_prompts``: a layer of prompts becomes a layer of polygons.

Owns the translation between Processing and the modules that read, place, decode and outline,
in both directions. ``prepareAlgorithm`` opens the store and finds the engine on the main
thread; ``processAlgorithm`` uses the copies and its context alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSink,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsWkbTypes,
)
from qgis.PyQt.QtGui import QIcon

from geo_sam2 import engine_session
from geo_sam2.errors import GeoSam2Error, OutlineOptionsError, PromptError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.icon_files import icon
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.segmentation import segment_definitions as names
from geo_sam2.segmentation.batch_decoder import DecodeOptions
from geo_sam2.segmentation.object_fields import output_fields
from geo_sam2.segmentation.prompt_layer import PromptFields
from geo_sam2.segmentation.prompts import MASK_CHOICES
from geo_sam2.segmentation.segment_definitions import translate
from geo_sam2.segmentation.segment_run import SegmentRun


class SegmentPromptsAlgorithm(QgsProcessingAlgorithm):
    """The Processing algorithm; QGIS makes a new instance for each run."""

    def __init__(self) -> None:
        super().__init__()
        self._store: FeatureStore | None = None
        self._engine: EngineClient | None = None
        self._options = DecodeOptions()
        self._min_area_px = 0.0

    def createInstance(self) -> SegmentPromptsAlgorithm:
        """Return a new one for a run."""
        return SegmentPromptsAlgorithm()

    def name(self) -> str:
        """Return the id after the colon; public."""
        return "segment_prompts"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return translate("SegmentPrompts", "Segment from prompts")

    def shortDescription(self) -> str:
        """Return the tooltip."""
        return translate(
            "SegmentPrompts",
            "Turn points, lines, boxes and rough masks into polygons, by a feature store.",
        )

    def shortHelpString(self) -> str:
        """Return the text beside the parameters."""
        return names.HELP

    def tags(self) -> list[str]:
        """Return words by which the toolbox finds it."""
        return ["segment anything", "sam", "sam2", "deep learning", "digitize", "clicks", "boxes", "polygons"]

    def icon(self) -> QIcon:
        """Return the icon."""
        return icon("segment_prompts")

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Add the parameters and outputs."""
        for parameter in names.parameters():
            self.addParameter(parameter)
        for output in names.outputs():
            self.addOutput(output)

    # Main thread

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Refuse what cannot be run, before anything is written."""
        try:
            self._options = self._decode_options(parameters, context)
            self._min_area_px = self.parameterAsDouble(parameters, names.MIN_AREA, context)
            folder = self.parameterAsString(parameters, names.FEATURES, context)
            self._store = FeatureStore.open(Path(folder).expanduser().absolute())
            self._engine = engine_session.client()
        except GeoSam2Error as error:
            raise QgsProcessingException(str(error)) from error
        return True

    def _decode_options(self, parameters: dict[str, Any], context: QgsProcessingContext) -> DecodeOptions:
        options = DecodeOptions(
            mask=MASK_CHOICES[self.parameterAsEnumString(parameters, names.MASK, context)],
            threshold=self.parameterAsDouble(parameters, names.THRESHOLD, context),
            style=self.parameterAsEnumString(parameters, names.OUTLINE, context),
            simplify_px=self.parameterAsDouble(parameters, names.SIMPLIFY, context),
        )
        if options.style == "pixel" and options.simplify_px > 0:
            raise OutlineOptionsError(
                "An outline cannot both follow pixel edges and be simplified.",
                "Choose the smooth outline, or simplify by 0.",
            )
        return options

    # Processing's thread

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Read, place, decode, write; being cancelled leaves what was written so far."""
        assert self._store is not None  # noqa: S101  # set by prepareAlgorithm, which QGIS calls first
        assert self._engine is not None  # noqa: S101
        source = self.parameterAsSource(parameters, names.PROMPTS, context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, names.PROMPTS))
        try:
            run = SegmentRun(self._store, self._engine, self._options, self._min_area_px, context, feedback)
            fields = self._prompt_fields(parameters, context, source)
            polygons = self.parameterAsEnumString(parameters, names.POLYGONS, context)
            objects = run.read(source, fields, polygons_are_masks=polygons == names.AS_MASK)
            placed = run.place(objects)
            sink, destination = self._sink(parameters, context, source, fields, run.crs)
            count = 0
            for record, geometry, attributes in run.decode(objects, placed):
                feature = QgsFeature()
                feature.setGeometry(geometry)
                feature.setAttributes([*record.values(), *attributes])
                if not sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
                    raise QgsProcessingException(
                        f"Object {record.object_id} cannot be written: {sink.lastError()}"
                    )
                count += 1
        except GeoSam2Error as error:
            if error.details:
                feedback.pushDebugInfo(error.details)
            raise QgsProcessingException(str(error)) from error
        if not run.crs.isValid():
            self._without_crs(destination, context)
        skipped = run.report()
        feedback.pushInfo(f"{count} of {len(objects)} objects were found.")
        return {names.OUTPUT: destination, names.OBJECT_COUNT: count, names.SKIPPED_COUNT: skipped}

    def _prompt_fields(
        self, parameters: dict[str, Any], context: QgsProcessingContext, source: QgsProcessingFeatureSource
    ) -> PromptFields:
        def index(parameter: str) -> int | None:
            name = next(iter(self.parameterAsFields(parameters, parameter, context)), "")
            if not name:
                return None
            found = source.fields().lookupField(name)
            if found < 0:
                raise PromptError(
                    f"The layer of prompts has no field “{name}”.",
                    f"Choose one of its fields as {parameter}.",
                )
            return int(found)

        return PromptFields(label=index(names.LABEL), object=index(names.OBJECT))

    def _sink(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        source: QgsProcessingFeatureSource,
        fields: PromptFields,
        crs: QgsCoordinateReferenceSystem,
    ) -> tuple[QgsFeatureSink, str]:
        object_field = None if fields.object is None else source.fields().at(fields.object)
        sink, destination = self.parameterAsSink(
            parameters,
            names.OUTPUT,
            context,
            output_fields(object_field, source.fields()),
            QgsWkbTypes.Type.MultiPolygon,
            crs,
        )
        if sink is None:
            raise QgsProcessingException(self.invalidSinkError(parameters, names.OUTPUT))
        return sink, destination

    @staticmethod
    def _without_crs(destination: str, context: QgsProcessingContext) -> None:
        """Take the CRS off a layer in memory: QGIS gives EPSG:4326 to those that should have none."""
        layer = QgsProcessingUtils.mapLayerFromString(destination, context, False)
        if layer is not None and layer.crs().isValid():
            layer.setCrs(QgsCoordinateReferenceSystem())

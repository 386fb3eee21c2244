# SPDX-License-Identifier: GPL-3.0-or-later
"""``geo_sam2:segment_prompts``: a layer of prompts becomes a layer of polygons.

Owns the translation between Processing and the modules that read, place, decode and outline,
in both directions. ``prepareAlgorithm`` opens the store and finds the engine on the main
thread; ``processAlgorithm`` uses the copies and its context alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsGeometry,
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
from geo_sam2.segmentation.batch_decoder import BatchDecoder, DecodedObject, DecodeOptions
from geo_sam2.segmentation.measures import GroundMeasure
from geo_sam2.segmentation.object_fields import ObjectRecord, output_fields
from geo_sam2.segmentation.object_outline import join_passes, on_map
from geo_sam2.segmentation.prompt_layer import PromptedObject, PromptFields, PromptReader
from geo_sam2.segmentation.prompt_placement import GridPlacement, grid_crs
from geo_sam2.segmentation.prompts import MASK_CHOICES
from geo_sam2.segmentation.segment_definitions import translate
from geo_sam2.segmentation.skipped_prompts import Skipped, SkippedPrompts
from geo_sam2.segmentation.store_tiles import StoreTiles
from geo_sam2.segmentation.tile_choice import PlacedObject, place


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
        return translate("SegmentPrompts", "Turn points, lines and boxes into polygons, by a feature store.")

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
            run = _Run(self._store, self._engine, self._options, self._min_area_px, context, feedback)
            fields = self._prompt_fields(parameters, context, source)
            objects = run.read(source, fields)
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


class _Run:
    """One run on Processing's thread, step by step."""

    def __init__(
        self,
        store: FeatureStore,
        engine: EngineClient,
        options: DecodeOptions,
        min_area_px: float,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        self._store = store
        self._grid = store.manifest.source.grid
        self._model_id = store.manifest.model.id
        self._engine = engine
        self._options = options
        self._min_area_px = min_area_px
        self._context = context
        self._feedback = feedback
        self._tiles = StoreTiles(store)
        self._skipped = SkippedPrompts()
        self.crs = grid_crs(self._grid)

    def read(self, source: QgsProcessingFeatureSource, fields: PromptFields) -> list[PromptedObject]:
        """Read the layer of prompts.

        Raises:
            PromptError: The layer is empty.
        """
        if self.crs.isValid() and not source.sourceCrs().isValid():
            self._feedback.pushWarning(
                "The prompts have no CRS; their coordinates are taken for those of"
                f" {self.crs.userFriendlyIdentifier()}."
            )
        placement = GridPlacement(source.sourceCrs(), self._grid, self._context.transformContext())
        # Whether a polygon crosses itself does not matter to the box around it.
        features = source.getFeatures(
            QgsFeatureRequest(), QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
        )
        objects = PromptReader(placement, fields, self._skipped).read(features, self._feedback.isCanceled)
        if not objects and not self._feedback.isCanceled():
            raise PromptError("The layer of prompts is empty.", "Add at least one point, line or polygon.")
        return objects

    def place(self, objects: list[PromptedObject]) -> list[PlacedObject]:
        """Find the tiles of each object.

        Raises:
            PromptError: Not one object can be decoded.
        """
        placed = []
        for item in objects:
            found = place(item.prompts, self._tiles.encoded)
            for prompt in found.unplaced:
                self._skipped.add(self._tiles.why_not(prompt), prompt.source_id)
            self._skipped.add(Skipped.NO_EFFECT, *(click.source_id for click in found.idle if found.passes))
            if not found.passes and item.prompts.clicks and not item.prompts.has_foreground:
                self._skipped.add(Skipped.NO_FOREGROUND, *item.feature_ids)
            placed.append(found)
        if not any(found.passes for found in placed) and not self._feedback.isCanceled():
            raise PromptError(
                " ".join(["None of the prompts can be used.", *self._skipped.sentences()]),
                "Check that the prompts lie on the encoded part of the raster, and their CRS.",
            )
        if self._options.mask is not None and any(part.box for found in placed for part in found.passes):
            self._feedback.pushInfo("The choice of a mask has no effect on objects that are marked by boxes.")
        return placed

    def decode(
        self, objects: list[PromptedObject], placed: list[PlacedObject]
    ) -> Iterator[tuple[ObjectRecord, QgsGeometry, list[Any]]]:
        """Decode and yield each object that was found, with the fields of its prompts.

        Raises:
            StoreError: The store is gone or damaged beyond a tile.
            EngineError: The engine died, or failed.
        """
        measure = GroundMeasure(self.crs, self._context.transformContext(), self._context.ellipsoid())
        decoder = BatchDecoder(self._engine, self._store, self._tiles.records, self._options)
        for decoded in decoder.run(placed, self._set_progress, self._feedback.isCanceled):
            item, found = objects[decoded.index], placed[decoded.index]
            self._report_damage(decoded, found)
            if not decoded.passes:
                continue
            outline = join_passes(decoded.passes, self._min_area_px)
            if not len(outline.outlines):
                self._skipped.add(Skipped.NO_MASK, *item.feature_ids)
                continue
            geometry = on_map(outline.outlines, self._grid)
            clicks = {click for part in found.passes for click in part.clicks}
            boxes = {part.box.source_id for part in found.passes if part.box is not None}
            record = ObjectRecord(
                object_id=item.id,
                score=outline.score,
                stability=outline.stability,
                area_m2=measure.area_m2(geometry),
                perimeter_m=measure.perimeter_m(geometry),
                area_px=outline.area_px,
                model=self._model_id,
                foreground=sum(click.label for click in clicks),
                background=sum(1 - click.label for click in clicks),
                boxes=len(boxes),
                truncated=outline.is_truncated or bool(decoded.damaged),
            )
            yield record, geometry, item.attributes

    def report(self) -> int:
        """Say which prompts had no effect, and return their number."""
        for sentence in self._skipped.sentences():
            self._feedback.pushWarning(sentence)
        return len(self._skipped)

    def _report_damage(self, decoded: DecodedObject, found: PlacedObject) -> None:
        for window, text in decoded.damaged.items():
            if self._tiles.note_damage(window):
                self._feedback.pushWarning(text)
            on_tile = [part for part in found.passes if part.window == window]
            prompts = [*(click for part in on_tile for click in part.clicks), *(part.box for part in on_tile)]
            self._skipped.add(Skipped.DAMAGED_TILE, *(item.source_id for item in prompts if item is not None))

    def _set_progress(self, done: int, total: int) -> None:
        self._feedback.setProgress(100.0 * done / total)

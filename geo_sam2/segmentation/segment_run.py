# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of ``geo_sam2:segment_prompts``: read, place, decode, measure, report.

Joins the modules that each know one of these; ignorant of parameters and sinks. Everything
happens on the thread that calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qgis.core import (
    QgsFeatureRequest,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
)

from geo_sam2.errors import PromptError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.segmentation.batch_decoder import BatchDecoder, DecodedObject, DecodeOptions
from geo_sam2.segmentation.measures import GroundMeasure
from geo_sam2.segmentation.object_fields import ObjectRecord
from geo_sam2.segmentation.object_outline import join_passes, on_map
from geo_sam2.segmentation.prompt_layer import PromptedObject, PromptFields, PromptReader
from geo_sam2.segmentation.prompt_placement import GridPlacement, grid_crs
from geo_sam2.segmentation.skipped_prompts import Skipped, SkippedPrompts
from geo_sam2.segmentation.store_tiles import StoreTiles
from geo_sam2.segmentation.tile_choice import PlacedObject, place


class SegmentRun:
    """The steps of a run, to be called in the order in which they stand here.

    Args:
        store: The open store.
        engine: The client of the engine.
        options: How objects are decoded and outlined.
        min_area_px: Least area of a part, in square grid pixels.
        context: Of the run; says which transformations to choose.
        feedback: Is told of progress and of prompts without effect; asked about cancel.

    Attributes:
        crs: Of the polygons; invalid where the store has none.
    """

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

    def read(
        self, source: QgsProcessingFeatureSource, fields: PromptFields, polygons_are_masks: bool
    ) -> list[PromptedObject]:
        """Read the layer of prompts.

        Args:
            source: The layer.
            fields: Which of its fields mean something.
            polygons_are_masks: Polygons are masks to refine; else boxes.

        Raises:
            PromptError: The layer is empty.
        """
        if self.crs.isValid() and not source.sourceCrs().isValid():
            self._feedback.pushWarning(
                "The prompts have no CRS; their coordinates are taken for those of"
                f" {self.crs.userFriendlyIdentifier()}."
            )
        placement = GridPlacement(source.sourceCrs(), self._grid, self._context.transformContext())
        # Whether a polygon crosses itself does not matter to the box around it; a mask is mended.
        features = source.getFeatures(
            QgsFeatureRequest(), QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
        )
        reader = PromptReader(placement, fields, self._skipped, polygons_are_masks)
        objects = reader.read(features, self._feedback.isCanceled)
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

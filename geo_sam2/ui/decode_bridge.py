# SPDX-License-Identifier: GPL-3.0-or-later
"""From a plan to what can be shown: decoded by the engine, joined and placed on a worker.

What comes of it is told on the main thread. Ignorant of which object is meant, and of whether its
answer still counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qgis.core import QgsGeometry

from geo_sam2.errors import GeoSam2Error
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.segmentation.interactive_decoder import InteractiveDecoder, TileAnswers
from geo_sam2.segmentation.object_result import ObjectResult
from geo_sam2.segmentation.object_shape import finished, joined
from geo_sam2.segmentation.object_steps import TilePlan
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.background import Background
from geo_sam2.ui.open_store import OpenStore

OnDecoded = Callable[["Decoded"], None]
OnFailed = Callable[[GeoSam2Error], None]


@dataclass(frozen=True, eq=False)
class Decoded:
    """A result with its geometry.

    Attributes:
        result: In grid pixels.
        geometry: Of the chosen candidate, on the grid's map; empty if nothing was found.
    """

    result: ObjectResult
    geometry: QgsGeometry


class DecodeBridge:
    """Decodes on one store; main thread.

    Args:
        store: The open store.
        engine: Returns the client of the engine.
        worker: Joins and places polygons, which may take longer than a frame.
    """

    def __init__(self, store: OpenStore, engine: Callable[[], EngineClient], worker: Background) -> None:
        self._store = store
        self._worker = worker
        self._decoder = InteractiveDecoder(engine, store.store, store.records)

    @property
    def preview_queue_length(self) -> int:
        """How many previews wait for the one on its way: 0 or 1; for benchmarks."""
        return self._decoder.queue_length

    def note(self, record: object) -> None:
        """Take over a row of the index."""
        self._decoder.update_records([record])

    def decode(self, plan: TilePlan, shape: ShapeOptions, then: OnDecoded, otherwise: OnFailed) -> None:
        """Decode an object; exactly one of the two is called, on the main thread, until the worker ends."""
        self._decoder.decode(plan, shape, self._on_done(plan, shape, then, otherwise))

    def reshape(self, plan: TilePlan, shape: ShapeOptions, then: OnDecoded, otherwise: OnFailed) -> None:
        """Decode again in another shape, newest wins: what is superseded is never answered."""
        self._decoder.reshape(plan, shape, self._on_done(plan, shape, then, otherwise))

    def preview(self, plan: TilePlan, shape: ShapeOptions, then: OnDecoded, otherwise: OnFailed) -> None:
        """Decode what is under the pointer, newest wins."""
        self._decoder.preview(plan, shape, self._on_done(plan, shape, then, otherwise))

    def forget_previews(self) -> None:
        """Let no preview asked for so far come back."""
        self._decoder.forget_previews()

    def place(self, result: ObjectResult, shape: ShapeOptions, then: OnDecoded, otherwise: OnFailed) -> None:
        """Place a result that is known already."""
        self._worker.run(lambda: self._decoded(result, shape), then, otherwise)

    def close(self) -> None:
        """Drop what is on its way; answers that still come are told as cancelled."""
        self._decoder.close()

    def _on_done(
        self, plan: TilePlan, shape: ShapeOptions, then: OnDecoded, otherwise: OnFailed
    ) -> Callable[[TileAnswers | GeoSam2Error], None]:
        def work(answer: TileAnswers | GeoSam2Error) -> Decoded:
            if isinstance(answer, GeoSam2Error):
                raise answer
            return self._decoded(joined(answer, shape, plan.missing), shape)

        # On a thread of the engine's client, which must not be kept.
        return lambda answer: self._worker.run(lambda: work(answer), then, otherwise)

    def _decoded(self, result: ObjectResult, shape: ShapeOptions) -> Decoded:
        return Decoded(result, finished(result.shown.outlines, shape, self._store.grid))

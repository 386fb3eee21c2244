# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the live encoder: from the opening of raster and store until nothing is wanted.

The same parts as an encode job's, put together for windows that come and change their order.
Ignorant of threads, pauses and errors, which are ``live_encoder``'s.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from geo_sam2.encoder.encode_input import EncodeInput
from geo_sam2.encoder.encode_request import EncodeRequest
from geo_sam2.encoder.encode_target import EncodeTarget
from geo_sam2.encoder.live_listener import Teller
from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.encoder.tile_pipeline import LIVE
from geo_sam2.encoder.waiting import IsCancelled
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.errors import GeoSam2Error, StoreError
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState, TileWindow
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_aside import has_store

# While another job encodes into the store: how often its index is looked into, for how many windows.
_LOOK_S = 1.0
_LOOK_WINDOWS = 500


@dataclass
class LiveKnowledge:
    """What one run leaves to the next; changed by the encoder's thread, read by any.

    Attributes:
        model_id: Of the model; empty before it is loaded.
        device: On which it runs, in words.
        precision: In which it runs.
        notes: What the engine does differently than asked.
        folder: The store's; None before it is known. It stays, whatever else would be its place now.
        source: What the raster was found to be; None before it was sampled.
        store_uuid: Of the store that the listener knows.
        encoding: The window that the engine has.
        problems: Why windows failed, by window.
        tile_seconds: What the last tiles took the engine.
    """

    model_id: str = ""
    device: str = ""
    precision: str = ""
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    source: SourceInfo | None = None
    store_uuid: str = ""
    encoding: TileWindow | None = None
    problems: dict[TileWindow, GeoSam2Error] = field(default_factory=dict)
    tile_seconds: list[float] = field(default_factory=list)


class LiveRun:
    """One run; used once, on the encoder's thread.

    Args:
        request: What to encode with what into which store.
        engine: Who encodes.
        queue: What is wanted; windows that are taken and not settled at the end are under way in it.
        listener: Who is told.
        knowledge: What earlier runs found out; added to.
        is_stopped: Asked every tenth of a second; the run ends within a tile.
        is_wanted: Asked while another job has the store, whether waiting for it makes sense still.
    """

    def __init__(
        self,
        request: EncodeRequest,
        engine: EngineClient,
        queue: WindowQueue,
        listener: Teller,
        knowledge: LiveKnowledge,
        is_stopped: IsCancelled,
        is_wanted: IsCancelled,
    ) -> None:
        self._request = replace(request, folder=request.folder or knowledge.folder)
        self._engine = engine
        self._queue = queue
        self._listener = listener
        self._knowledge = knowledge
        self._is_stopped = is_stopped
        self._is_wanted = is_wanted
        self._other_progress: EncodeProgress | None = None
        self._next_look_s = 0.0

    def run(self) -> None:
        """Encode until nothing is wanted.

        Raises:
            CancelledError: It was stopped, or nothing is wanted any more while another job has the store.
            GeoSam2Error: As ``EncodeInput.open``, ``EncodeTarget.open`` and ``TilePipeline.run``.
        """
        knowledge = self._knowledge
        with contextlib.ExitStack() as stack:
            encode_input = EncodeInput(self._request, self._is_stopped)
            stack.callback(encode_input.close)
            encode_input.open(self._engine)
            knowledge.model_id = encode_input.model_info.id
            knowledge.device, knowledge.precision = encode_input.device, encode_input.precision
            knowledge.notes = tuple(encode_input.notes)
            target = stack.enter_context(
                EncodeTarget(self._request, encode_input, self._engine, self._is_stopped)
            )
            target.take_turn(
                lambda progress: self._while_waiting(target, encode_input, progress),
                lambda: self._is_stopped() or not self._is_wanted(),
            )
            target.open(knowledge.source)
            knowledge.folder, knowledge.source = target.folder, target.info
            self._tell_opened(target.store)
            pipeline = target.pipeline(
                self._queue,
                on_progress=self._listener.progressed,
                flow=LIVE,
                on_sent=self._sent,
                on_failed=self._failed,
                on_settled=self._settled,
            )
            try:
                pipeline.run(encode_input.release(), self._queue)
            finally:
                knowledge.encoding = None
                knowledge.notes = tuple(dict.fromkeys((*knowledge.notes, *pipeline.tally.notes)))

    # Another job has the store

    def _while_waiting(
        self, target: EncodeTarget, encode_input: EncodeInput, progress: EncodeProgress | None
    ) -> None:
        """Let the other job hurry with what is urgent, and take what it has done."""
        if progress is not None and progress != self._other_progress:
            self._other_progress = progress
            self._listener.progressed(progress)
        queue = target.turn.queue
        if queue is not None:
            queue.hurry(self._queue.urgent_waiting())
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + _LOOK_S
            with contextlib.suppress(StoreError):  # the store is just being made, or made anew
                self._look_into(target, encode_input)

    def _look_into(self, target: EncodeTarget, encode_input: EncodeInput) -> None:
        if not has_store(target.folder):
            return
        store = FeatureStore.open(target.folder)
        grid = encode_input.source.grid
        if (
            store.manifest.model != encode_input.model_info
            or store.manifest.source.grid.difference_to(grid) is not None
            or not store.decoder_path.is_file()
        ):
            return  # when the turn comes, a sentence says what differs
        self._tell_opened(store)
        records = store.index.get_all(self._queue.first_waiting(_LOOK_WINDOWS))
        for record in records:
            if record.state in (TileState.DONE, TileState.EMPTY):
                self._queue.settle([record.window])
                self._listener.settled(record)

    # What happens

    def _tell_opened(self, store: FeatureStore) -> None:
        if store.manifest.uuid != self._knowledge.store_uuid:
            self._knowledge.store_uuid = store.manifest.uuid
            self._listener.opened(store)

    def _sent(self, windows: Sequence[TileWindow]) -> None:
        for window in windows:
            self._knowledge.encoding = window
            self._listener.started(window)

    def _failed(self, window: TileWindow, error: GeoSam2Error) -> None:
        self._knowledge.problems[window] = error

    def _settled(self, records: Sequence[TileRecord]) -> None:
        knowledge = self._knowledge
        for record in records:
            if knowledge.encoding == record.window:
                knowledge.encoding = None
            if record.state is not TileState.FAILED:
                knowledge.problems.pop(record.window, None)
            if record.state is TileState.DONE:
                knowledge.tile_seconds.append(record.seconds)
            self._listener.settled(record)

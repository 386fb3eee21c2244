# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of one object to the engine and back, while a person waits.

Owns the messages, and what overtakes what: an object that was clicked is always decoded and
answered; previews and changes of shape are worth nothing once there is a newer one, and never
queue up. Thread-safe, without Qt and without a wait. Ignorant of sessions, layers and widgets.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Optional, Union, cast

from geo_sam2.errors import (
    CancelledError,
    DamagedTileError,
    EngineError,
    EnvironmentMissingError,
    GeoSam2Error,
    StoreError,
)
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.runtime.engine_client import EngineClient, EngineState
from geo_sam2.runtime.engine_future import EngineFuture, EngineResult, Outcome
from geo_sam2.segmentation.newest_wins import Finish, NewestWins
from geo_sam2.segmentation.object_steps import TilePlan
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.segmentation.tile_answer import TileAnswer, TileAnswers, TileCandidate, read_answers
from geo_sam2.tile_window import TileWindow

# What whoever decodes needs.
__all__ = ["InteractiveDecoder", "OnDone", "TileAnswer", "TileAnswers", "TileCandidate", "TileDamagedError"]


class TileDamagedError(DamagedTileError):
    """One of the tiles of an object is damaged.

    To go on, mark it failed (``FeatureStore.mark_failed``) and have it encoded again. Where that
    finds other news in the index, another program has encoded it meanwhile.

    Attributes:
        record: Its row in the index, as it was asked for.
    """

    def __init__(self, error: DamagedTileError, record: TileRecord) -> None:
        super().__init__(error.text, error.hint)
        self.details = error.details
        self.file = record.file
        self.record = record


OnDone = Callable[[Union[TileAnswers, GeoSam2Error]], None]
OnEnd = Callable[[Optional[GeoSam2Error]], None]

_ALL_MASKS = {"all_candidates": True}
# The group is the engine's own newest-wins, which is of use where one store follows another.
_PREVIEW = {"preview": True, "preview_group": "hover"}
# After these the next request fares no better.
_OF_THE_ENGINE = (EngineError, EnvironmentMissingError, CancelledError)


@dataclass(frozen=True)
class _Job:
    plan: TilePlan
    shape: ShapeOptions
    fields: Mapping[str, Any]
    on_done: OnDone


class InteractiveDecoder:
    """Decodes objects of one store.

    All callbacks come on a thread of the engine's client, in the order of the answers, and must
    return soon; where the request cannot even be sent, or there is nothing to decode, on the
    calling thread before the call returns.

    Args:
        engine: Returns the client of the engine; may raise a ``GeoSam2Error``, which is then the answer.
        store: The open store.
        records: Rows of its index by window; only tiles that are done are decoded.
    """

    def __init__(
        self,
        engine: Callable[[], EngineClient],
        store: FeatureStore,
        records: Mapping[TileWindow, TileRecord],
    ) -> None:
        self._engine = engine
        self._store = store
        self._lock = threading.Lock()
        self._records: dict[TileWindow, TileRecord] = {}
        self._sent: set[EngineFuture] = set()
        self._client: EngineClient | None = None
        self._hover = NewestWins()
        self._shape = NewestWins()
        self._hover_era = 0
        self.update_records(records.values())

    @property
    def queue_length(self) -> int:
        """How many previews wait for the one that is on its way: 0 or 1."""
        return self._hover.waiting

    def update_records(self, records: Iterable[TileRecord]) -> None:
        """Take over rows of the index that are new or have changed."""
        with self._lock:
            for record in records:
                if record.state is TileState.DONE:
                    self._records[record.window] = record
                else:
                    self._records.pop(record.window, None)

    def decode(self, plan: TilePlan, shape: ShapeOptions, on_done: OnDone) -> None:
        """Decode an object: its tiles in one message, all masks of a lone click.

        Args:
            plan: Where and with which steps.
            shape: How its outlines should be.
            on_done: Called exactly once, with an answer a tile in the order of the plan, or with
                what went wrong: ``TileDamagedError`` names the tile, ``CancelledError`` means that
                the engine was stopped or this decoder closed.
        """
        self._send(_Job(plan, shape, _ALL_MASKS, on_done))

    def reshape(self, plan: TilePlan, shape: ShapeOptions, on_done: OnDone) -> None:
        """Decode as ``decode`` does, but newest wins: for a slider that moves.

        The engine remembers the masks, so that this takes a fraction of a decode. What a newer
        call supersedes while it waits gets no callback; the newest gets it exactly once.
        """
        self._offer(self._shape, _Job(plan, shape, _ALL_MASKS, on_done))

    def preview(self, plan: TilePlan, shape: ShapeOptions, on_done: OnDone) -> None:
        """Decode what the pointer rests on, the chosen mask alone; newest wins.

        At most one preview is on its way and one waits. No callback gets what a newer one
        supersedes while it waits, what waits when the engine fails, and what ``forget_previews`` forgets.
        """
        era = self._hover_era

        def on_preview(answer: TileAnswers | GeoSam2Error) -> None:
            if era == self._hover_era:
                on_done(answer)

        self._offer(self._hover, _Job(plan, shape, _PREVIEW, on_preview), gives_up=True)

    def forget_previews(self) -> None:
        """Let no preview that was asked for so far call back: the pointer has left."""
        self._hover_era += 1
        self._hover.drop_waiting()

    def close(self) -> None:
        """Cancel what is on its way and let the engine forget the store's tiles; to be used no more.

        Objects on their way still get their callback; previews do not, nor a change of shape that waits.
        """
        self.forget_previews()
        self._shape.drop_waiting()
        with self._lock:
            sent, client = list(self._sent), self._client
        for future in sent:
            future.cancel_request()
        if client is not None and client.state is EngineState.READY:
            client.request({"type": "close_store", "store": str(self._store.folder)})

    def _offer(self, lane: NewestWins, job: _Job, gives_up: bool = False) -> None:
        """Send a job when its turn comes; who gives up lets none follow where the engine has failed."""

        def start(finish: Finish) -> None:
            def on_end(error: GeoSam2Error | None) -> None:
                if gives_up and isinstance(error, _OF_THE_ENGINE):
                    lane.drop_waiting()
                finish()

            self._send(job, on_end)

        lane.offer(start)

    def _send(self, job: _Job, on_end: OnEnd = lambda _: None) -> None:
        """Send a request.

        Args:
            job: What to ask.
            on_end: Called when it is answered, before the answer is read, so that the engine does
                not stand idle meanwhile.
        """
        if not job.plan.tiles:
            on_end(None)
            job.on_done(())
            return
        try:
            records = self._records_of(job.plan)
            client = self._engine()
            future = client.request(self._message(job, records))
        except GeoSam2Error as error:
            on_end(error)
            job.on_done(error)
            return
        with self._lock:
            self._client = client
            self._sent.add(future)
        future.add_done_callback(functools.partial(self._receive, job, records, on_end))

    def _records_of(self, plan: TilePlan) -> list[TileRecord]:
        with self._lock:
            records = [self._records.get(window) for window in plan.windows]
        found = [record for record in records if record is not None]
        if len(found) < len(records):
            raise StoreError("A tile of the object is not encoded any more.", "Encode it again.")
        return found

    def _message(self, job: _Job, records: Sequence[TileRecord]) -> dict[str, Any]:
        return {
            "type": "decode",
            "store": str(self._store.folder),
            "objects": [
                {
                    "tile": {"window": tile.window.to_json(), "file": record.file, "crc32": record.crc32},
                    "steps": tile.to_json(),
                }
                for tile, record in zip(job.plan.tiles, records)
            ],
            "outline": job.shape.outline_fields(is_joined=job.plan.is_joined),
            **job.fields,
        }

    def _receive(
        self, job: _Job, records: Sequence[TileRecord], on_end: OnEnd, future: Future[EngineResult]
    ) -> None:
        """Hand an answer over; on a thread of the client."""
        with self._lock:
            self._sent.discard(cast(EngineFuture, future))
        error = future.exception()
        if error is None and future.result().outcome is Outcome.CANCELLED:
            error = CancelledError("The engine was stopped.", "Click again to go on.")
        if error is not None:
            known = _known_error(error, records)
            on_end(known)
            job.on_done(known)
            return
        on_end(None)
        result = future.result()
        if result.outcome is not Outcome.SUPERSEDED:
            job.on_done(read_answers(result, job.plan))


def _known_error(error: BaseException, records: Sequence[TileRecord]) -> GeoSam2Error:
    """Return an error of ours, with the tile if it says that one is damaged."""
    if isinstance(error, DamagedTileError):
        damaged = [record for record in records if error.file == record.file or len(records) == 1]
        return TileDamagedError(error, damaged[0]) if damaged else error
    if isinstance(error, GeoSam2Error):
        return error
    known = EngineError(f"The engine's answer was lost: {error}.", "Click again.")
    known.__cause__ = error
    return known

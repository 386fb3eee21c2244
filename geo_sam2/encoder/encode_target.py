# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an encode goes: the store, opened or made, with its turn, its decoder and its writer.

Shared by the job over a list of windows and the live encoder. Ignorant of QGIS and of the order
of windows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from geo_sam2.encoder.encode_input import EncodeInput
from geo_sam2.encoder.encode_request import EncodeRequest
from geo_sam2.encoder.engine_task import EngineTask
from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.encoder.store_turns import TURNS, StoreTurn
from geo_sam2.encoder.tile_pipeline import TilePipeline
from geo_sam2.encoder.waiting import IsCancelled, answer_of, check
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.errors import StoreError
from geo_sam2.feature_store import FeatureStore, StoreWriter
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_aside import has_store
from geo_sam2.store_opening import store_for_encoding, undo_overwriting
from geo_sam2.tile_file import tile_bytes


class EncodeTarget:
    """The store that a request is encoded into; a context manager for one thread.

    Leaving it lets go of writer and turn. A store that was to be overwritten is brought back
    unless ``is_finished`` was set.

    Args:
        request: What to do.
        encode_input: Its raster and model, opened.
        engine: Who writes the decoder and the tiles.
        is_cancelled: Asked every tenth of a second.

    Attributes:
        folder: Where the store is. This and the following are there after ``take_turn``.
        turn: Its turn among the jobs of this process.
        store: The store; this and the following are there after ``open``.
        writer: Its writer.
        info: What the raster is.
        is_new: Whether the store was made now.
        is_finished: An overwriting has come to its end; set by who encodes.
    """

    folder: Path
    turn: StoreTurn
    store: FeatureStore
    writer: StoreWriter
    info: SourceInfo
    is_new: bool

    def __init__(
        self,
        request: EncodeRequest,
        encode_input: EncodeInput,
        engine: EngineClient,
        is_cancelled: IsCancelled,
    ) -> None:
        self._request = request
        self._input = encode_input
        self._engine = engine
        self._is_cancelled = is_cancelled
        self._stack = contextlib.ExitStack()
        self.is_finished = False

    def __enter__(self) -> EncodeTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def take_turn(
        self,
        on_wait: Callable[[EncodeProgress | None], None],
        is_cancelled: IsCancelled | None = None,
    ) -> None:
        """Find out where the store is, and wait until no other job of this process writes to it.

        Args:
            on_wait: Called again and again meanwhile with the progress of the job that has the turn.
            is_cancelled: Asked instead of the usual one while waiting.

        Raises:
            CancelledError: The user cancelled.
            EncodeRequestError: A file is where the folder would be.
            StoreError: The store is to be overwritten, and a job encodes into it.
        """
        self.folder = self._input.folder()
        self.turn = self._stack.enter_context(TURNS.join(self.folder))
        if self._request.overwrite and self.turn.is_taken:
            raise StoreError(
                f"The store {self.folder} is being encoded by another run in this QGIS.",
                "Cancel that run before the store is made anew.",
            )
        self.turn.take(is_cancelled or self._is_cancelled, on_wait)
        self._stack.callback(self.turn.give_back)

    def open(self, known: SourceInfo | None = None) -> None:
        """Open the store for writing, or make it; its turn has been taken.

        Args:
            known: What the raster was found to be before; see ``EncodeInput.info``.

        Raises:
            CancelledError: The user cancelled.
            RasterReadError, StretchError: The raster cannot be sampled.
            StoreMismatchError: The store was made from another raster or model.
            StoreLockedError: Another process writes to the store.
            StoreError: The store cannot be made or written.
        """
        overwrite = self._request.overwrite
        if not overwrite:
            self._input.follow_store(self.folder)
        self.info = self._input.info(known)
        check(self._is_cancelled)  # nothing is on the disk yet
        self.is_new = overwrite or not has_store(self.folder)
        self.store = store_for_encoding(
            self.folder, self._input.model_info, self.info, overwrite=self._request.overwrite
        )
        self._stack.push(self._undo_if_replacing)  # after the writer is left
        self._write_decoder()
        self.writer = self._stack.enter_context(self.store.writer())

    def pipeline(self, windows: WindowQueue, **options: Any) -> TilePipeline:
        """Return the pipeline into the store, whose progress others who wait for the turn see.

        Args:
            windows: What it will be run on.
            options: As ``TilePipeline`` takes them, ``on_progress`` among them.
        """
        task = EngineTask(
            self._engine,
            self.store.folder,
            self._request.model.fields(),
            self._request.batch_size,
            self.tile_bytes,
        )
        self.turn.queue = windows
        on_progress = options.pop("on_progress")

        def tell(progress: EncodeProgress) -> None:
            self.turn.progress = progress
            on_progress(progress)

        return TilePipeline(task, self.writer, tell, self._is_cancelled, **options)

    @property
    def tile_bytes(self) -> int:
        """What a tile takes on disk at most."""
        return tile_bytes(self._input.model_info.feature_shapes)

    def _undo_if_replacing(self, *_: object) -> bool:
        """Bring an old store back into its place unless the new one was finished."""
        if self._request.overwrite and not self.is_finished:
            undo_overwriting(self.store.folder)
        return False

    def _write_decoder(self) -> None:
        """Put the decoder's weights into a store that is new, or whose making was killed before this."""
        if self.store.decoder_path.is_file():
            return
        fields = {
            "type": "write_decoder",
            "store": str(self.store.folder),
            "model": self._request.model.fields(),
        }
        answer_of(self._engine.request(fields), self._is_cancelled)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Encodes what a store lacks of a raster: opens both, plans, runs, and says what it did.

Three steps, so that whoever asks can place an extent on the grid in between::

    with EncodeJob(request, engine, listener, is_cancelled) as job:
        grid = job.open()
        plan = job.plan(ring_on(grid))
        result = job.run()

Ignorant of QGIS: runs in Processing's thread, in a script and in a test alike.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from types import TracebackType
from typing import Protocol

import numpy as np

from geo_sam2.encoder.encode_input import EncodeInput
from geo_sam2.encoder.encode_request import EncodePlan, EncodeRequest, EncodeResult
from geo_sam2.encoder.encode_target import EncodeTarget
from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.encoder.waiting import IsCancelled, check
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.encoder.window_selection import selected_windows
from geo_sam2.errors import CancelledError
from geo_sam2.grid import PixelGrid
from geo_sam2.runtime.engine_client import EngineClient

# A row of the index with its footprint.
_ROW_BYTES = 512


class JobListener(Protocol):
    """Who is told how a job goes; called on the thread that runs the job."""

    def step(self, text: str) -> None:
        """Something begins that takes a while and has no count."""

    def waiting(self, progress: EncodeProgress | None) -> None:
        """Another job of this process has the store; called again and again."""

    def planned(self, plan: EncodePlan) -> None:
        """The plan is made; encoding begins now."""

    def progressed(self, progress: EncodeProgress) -> None:
        """Windows were settled."""


class EncodeJob:
    """One encoding, used once, on one thread; a context manager that lets go of raster, store and turn.

    Args:
        request: What to do.
        engine: Who encodes.
        listener: Who is told.
        is_cancelled: Asked every tenth of a second.
    """

    def __init__(
        self, request: EncodeRequest, engine: EngineClient, listener: JobListener, is_cancelled: IsCancelled
    ) -> None:
        self._request = request
        self._engine = engine
        self._listener = listener
        self._is_cancelled = is_cancelled
        self._stack = contextlib.ExitStack()
        self._input = EncodeInput(request, is_cancelled)
        self._target = EncodeTarget(request, self._input, engine, is_cancelled)

    def __enter__(self) -> EncodeJob:
        self._stack.callback(self._input.close)
        self._stack.enter_context(self._target)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    # First step

    def open(self) -> PixelGrid:
        """Open the raster and load the model; see ``EncodeInput.open``.

        Returns:
            The grid on which ``plan`` wants an extent.
        """
        check(self._is_cancelled)
        self._listener.step("Loading the model")
        return self._input.open(self._engine)

    # Second step

    def plan(self, ring_xy: np.ndarray | None = None) -> EncodePlan:
        """Open or make the store and find out what it lacks.

        Where another job of this process encodes into the same store, it is waited for first.

        Args:
            ring_xy: Outline of the extent, (n, 2) grid pixels; None for all of the raster.

        Raises:
            CancelledError: The user cancelled.
            GridError: The extent touches no window, or there are absurdly many.
            StoreMismatchError: The store was made from another raster or model.
            StoreLockedError: Another process writes to the store.
            StoreError: The store cannot be made or written.
        """
        target = self._target
        windows = selected_windows(self._input.source.grid, ring_xy)
        target.take_turn(self._listener.waiting)
        self._listener.step("Looking at the raster")
        target.open()
        self._windows = target.writer.add_pending(windows)
        self._selected = len(windows)
        plan = EncodePlan(
            folder=target.folder,
            model_id=self._input.model_info.id,
            device=self._input.device,
            precision=self._input.precision,
            selected=self._selected,
            to_encode=len(self._windows),
            bytes_needed=len(self._windows) * (target.tile_bytes + _ROW_BYTES),
            bytes_free=shutil.disk_usage(target.folder).free,
            is_new=target.is_new,
        )
        self._listener.planned(plan)
        return plan

    # Third step

    def run(self) -> EncodeResult:
        """Encode what was planned; being cancelled is a result like others.

        Raises:
            StoreError: The disk is full or cannot be written.
            EngineDiedError: The engine ended; the same job again goes on.
            RasterReadError: Several windows in a row cannot be read, or the file is gone.
        """
        target = self._target
        queue = WindowQueue(self._windows)
        pipeline = target.pipeline(queue, on_progress=self._listener.progressed)
        started_s = time.monotonic()
        is_cancelled = False
        if self._windows:
            target.turn.progress = EncodeProgress(0, len(self._windows), None)
            self._listener.progressed(target.turn.progress)
            try:
                pipeline.run(self._input.release(), queue)
            except CancelledError:
                is_cancelled = True
        target.is_finished = not is_cancelled
        tally = pipeline.tally
        return EncodeResult(
            folder=target.folder,
            selected=self._selected,
            encoded=tally.encoded,
            empty=tally.empty,
            failed=tally.failed,
            present=self._selected - len(self._windows),
            left=len(self._windows) - tally.settled,
            seconds=time.monotonic() - started_s,
            store_counts=target.writer.counts(),
            is_partial=not target.writer.is_complete,
            is_cancelled=is_cancelled,
            problems=tuple(tally.problems),
            notes=tuple(dict.fromkeys((*self._input.notes, *tally.notes))),
        )

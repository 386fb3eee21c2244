# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves windows from the reader to the engine and their records into the index.

Three things happen at once: a thread reads the next windows, the engine encodes, and this
(the job's own thread) records what is done. Two requests are on their way at any time, so
that the engine finds the next batch when it has answered one. Ignorant of QGIS, GDAL and of
how the store was chosen.
"""

from __future__ import annotations

import functools
import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from geo_sam2.encoder.engine_task import EngineTask
from geo_sam2.encoder.progress import EncodeProgress, Pace
from geo_sam2.encoder.read_ahead import ReadAhead, ReadingEnded, WindowRead, WindowSource
from geo_sam2.encoder.tally import Tally
from geo_sam2.encoder.waiting import STEP_S, IsCancelled, check
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.engine.protocol import read_field
from geo_sam2.errors import FeatureValueError, GeoSam2Error
from geo_sam2.runtime.engine_future import EngineFuture
from geo_sam2.store_index import TileRecord, TileState
from geo_sam2.store_writer import StoreWriter
from geo_sam2.tile_window import TileWindow

LOG = logging.getLogger(__name__)

# One unreadable block is a hole in the store; so many in a row are a raster that has gone.
_FAILURES_IN_A_ROW = 8
# Urgent windows that are read though as many as allowed are read already; 3 MB each.
_MOST_HURRIED = 4
_WIND_DOWN_S = 30.0


@dataclass(frozen=True)
class Flow:
    """How many windows may be on their way, that is: how late their order may still change.

    Attributes:
        requests_in_flight: Requests that the engine has at a time.
        read_ahead: Windows beyond these that are read, at most; no more than a request takes.
        empty_rows: Rows of empty windows, which cost no engine time, wait for so many of each other,
            to spare the disk.
    """

    requests_in_flight: int
    read_ahead: int
    empty_rows: int


# The engine finds the next request when it has answered one.
BULK = Flow(requests_in_flight=2, read_ahead=8, empty_rows=64)
# Somebody waits for a tile: the order may change until a tile before theirs is read.
LIVE = Flow(requests_in_flight=1, read_ahead=1, empty_rows=1)


@dataclass(frozen=True)
class _Batch:
    items: tuple[tuple[TileWindow, np.ndarray], ...]
    future: EngineFuture


@dataclass(frozen=True)
class _Answer:
    request_id: int


@dataclass(frozen=True)
class _Present:
    """The store has a window already."""

    row: TileRecord


class _Hurry:
    """A window has become urgent."""


def _ignore(*_: object) -> None:
    pass


class TilePipeline:
    """One run over a queue of windows; used once, on one thread.

    Args:
        task: What to send where.
        writer: The store's open writer.
        on_progress: Called on this thread after each change.
        is_cancelled: Asked every tenth of a second.
        flow: How many windows may be on their way.
        on_sent: Called on this thread with the windows of each request, when it is sent.
        on_failed: Called on this thread with a window that could not be read or encoded, and why,
            before its row is settled.
        on_settled: Called on this thread with rows that are in the index.
    """

    def __init__(
        self,
        task: EngineTask,
        writer: StoreWriter,
        on_progress: Callable[[EncodeProgress], None],
        is_cancelled: IsCancelled,
        *,
        flow: Flow = BULK,
        on_sent: Callable[[Sequence[TileWindow]], None] = _ignore,
        on_failed: Callable[[TileWindow, GeoSam2Error], None] = _ignore,
        on_settled: Callable[[Sequence[TileRecord]], None] = _ignore,
    ) -> None:
        self.tally = Tally()
        self._task = task
        self._writer = writer
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self._flow = flow
        self._on_sent = on_sent
        self._on_failed = on_failed
        self._on_settled = on_settled
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._read: deque[tuple[TileWindow, np.ndarray]] = deque()
        self._again: deque[tuple[TileWindow, np.ndarray]] = deque()
        self._in_flight: dict[int, _Batch] = {}
        self._rows: list[TileRecord] = []
        self._are_rows_due = False
        self._has_read_all = False
        self._is_winding_down = False
        self._failures_in_a_row = 0
        self._hurried = 0

    def run(self, source: WindowSource, windows: WindowQueue) -> None:
        """Encode the windows; ``tally`` says what was done, also when this raises.

        The source is closed at the end, and nothing more is taken from the queue. Whatever ends the
        run, what the engine has answered is in the index then; the rest is under way in the queue.

        Raises:
            CancelledError: The user cancelled.
            StoreError: The disk is full or cannot be written.
            EngineDiedError: The engine ended; the windows that it had are still to do.
            RasterReadError: Several windows in a row cannot be read, or the file is gone.
        """
        size, flow, events = self._task.batch_size, self._flow, self._events
        # Beyond what is sent only some: the rest of a large batch is read while two others are encoded.
        ahead = flow.requests_in_flight * size + min(size, flow.read_ahead)
        self._queue = windows
        self._reader = ReadAhead(source, self._take, ahead, events)
        self._pace = Pace()
        windows.begin_taking()
        windows.on_urgent = lambda: events.put(_Hurry())
        self._reader.start()
        try:
            while not self._has_ended():
                check(self._is_cancelled)
                self._handle(self._next_event(STEP_S))
                self._send()  # first of all: the engine need not wait for the disk
                if self._are_rows_due:
                    self._write_rows()
            self._write_rows()
        except BaseException:
            self._wind_down()
            raise
        finally:
            windows.on_urgent = None
            windows.end_taking()
            self._reader.stop(_WIND_DOWN_S)

    def _take(self) -> TileWindow | None:
        """Return the next window that the store lacks; on the reader's thread."""
        while True:
            window = self._queue.take()
            row = None if window is None else self._writer.settled(window)
            if row is None:
                return window
            self._events.put(_Present(row))

    def _has_ended(self) -> bool:
        return self._has_read_all and not (self._read or self._again or self._in_flight)

    def _next_event(self, timeout_s: float) -> object:
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _handle(self, event: object) -> None:
        if isinstance(event, WindowRead):
            self._handle_read(event)
        elif isinstance(event, _Answer):
            self._handle_answer(event)
        elif isinstance(event, _Present):
            self.tally.present += 1
            self._tell_settled([event.row])
        elif isinstance(event, _Hurry):
            self._read_one_more()
        elif isinstance(event, ReadingEnded):
            self._has_read_all = True
            if event.error is not None:
                raise event.error

    # From the reader to the engine

    def _handle_read(self, event: WindowRead) -> None:
        if event.error is not None:
            self._fail(event.window, event.error)
        elif event.pixels is None:
            self._failures_in_a_row = 0
            self._settle(TileRecord(event.window, TileState.EMPTY))
        else:
            self._failures_in_a_row = 0
            self._read.append((event.window, event.pixels))

    def _send(self) -> None:
        """Keep the engine supplied; a batch is smaller than asked for only at the end."""
        while len(self._in_flight) < self._flow.requests_in_flight:
            size = self._task.batch_size
            if self._again:
                items = [self._again.popleft()]
            elif len(self._read) >= size or (self._has_read_all and self._read):
                items = [self._pop_read() for _ in range(min(size, len(self._read)))]
            else:
                return
            self._send_batch(items)

    def _pop_read(self) -> tuple[TileWindow, np.ndarray]:
        """Return the window that was read first, of urgent ones if there are any."""
        for place, (window, _) in enumerate(self._read):
            if self._queue.is_urgent(window):
                self._read.rotate(-place)
                item = self._read.popleft()
                self._read.rotate(place)
                return item
        return self._read.popleft()

    def _read_one_more(self) -> None:
        """Let an urgent window be read beside those that are read already; a few at most."""
        if self._hurried < _MOST_HURRIED:
            self._hurried += 1
            self._reader.release(1)

    def _release(self, count: int) -> None:
        """Let as many windows be read as are done with, but for those that were read beyond the limit."""
        paid = min(count, self._hurried)
        self._hurried -= paid
        self._reader.release(count - paid)

    def _send_batch(self, items: list[tuple[TileWindow, np.ndarray]]) -> None:
        under_way = sum(len(batch.items) for batch in self._in_flight.values()) + len(items)
        self._task.refuse_full_disk(under_way)
        future = self._task.request(items, self._writer.next_generation)
        self._in_flight[future.request_id] = _Batch(tuple(items), future)
        # By its number: a callback that holds the batch would keep its pixels until Python looks for cycles.
        answer, events = _Answer(future.request_id), self._events
        future.add_done_callback(lambda _: events.put(answer))
        self._on_sent([window for window, _ in items])

    # From the engine to the index

    def _handle_answer(self, answer: _Answer) -> None:
        batch = self._in_flight.pop(answer.request_id)
        try:
            result = batch.future.result()
        except FeatureValueError as error:
            if len(batch.items) > 1:  # one of them is to blame
                self._again.extend(batch.items)
            else:
                self._fail(batch.items[0][0], error)
            return
        self._release(len(batch.items))
        if result.is_done:
            self._failures_in_a_row = 0
            windows = [window for window, _ in batch.items]
            self._rows.extend(self._task.done_rows(windows, result.fields))
            self._are_rows_due = True
            self.tally.add_notes(read_field(result.fields, "notes", list, []))
        elif not self._is_winding_down:  # the engine was stopped, and has been started again by now
            self._queue.put_back([window for window, _ in batch.items])

    def _settle(self, row: TileRecord) -> None:
        """Keep the row of a window that never gets to the engine."""
        self._release(1)
        self._rows.append(row)
        self._are_rows_due = self._are_rows_due or len(self._rows) >= self._flow.empty_rows

    def _fail(self, window: TileWindow, error: GeoSam2Error) -> None:
        self.tally.add_problem(window, error)
        self._on_failed(window, error)
        self._settle(TileRecord(window, TileState.FAILED))
        self._failures_in_a_row += 1
        if self._failures_in_a_row == _FAILURES_IN_A_ROW:
            raise error

    def _write_rows(self) -> None:
        """Put all that is settled into the index, in one transaction, and tell how far we are."""
        self._are_rows_due = False
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self._writer.record(rows)
        self.tally.count(rows)
        self._tell_settled(rows)

    def _tell_settled(self, rows: Sequence[TileRecord]) -> None:
        self._queue.settle(row.window for row in rows)
        self._on_settled(rows)
        done = self.tally.settled
        total = done + len(self._queue)
        self._pace.note(time.monotonic(), done)
        self._on_progress(EncodeProgress(done, total, self._pace.seconds_left(total)))

    def _wind_down(self) -> None:
        """Cancel what is under way and record what the engine finishes all the same."""
        self._is_winding_down = True
        self._queue.end_taking()
        for batch in self._in_flight.values():
            batch.future.cancel_request()
        deadline_s = time.monotonic() + _WIND_DOWN_S
        while self._in_flight and time.monotonic() < deadline_s:
            event = self._next_event(STEP_S)
            if isinstance(event, _Answer):
                self._try(functools.partial(self._handle_answer, event))
        self._try(self._write_rows)

    def _try(self, action: Callable[[], None]) -> None:
        """Do what may fail again for the reason that we are winding down for."""
        try:
            action()
        except GeoSam2Error as error:
            LOG.info("While winding down: %s", error)

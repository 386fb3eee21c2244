# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, taking turns and reading ahead: what the encode job's threads owe each other."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.encoder.read_ahead import ReadAhead, ReadingEnded, WindowRead
from geo_sam2.encoder.store_turns import StoreTurns
from geo_sam2.encoder.waiting import answer_of, in_background, result_of
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.errors import CancelledError, RasterReadError
from geo_sam2.runtime.engine_future import EngineFuture, EngineResult, Outcome
from geo_sam2.tile_window import TileWindow

PATIENCE_S = 10.0


def never():
    return False


def test_result_of_background_work_arrives():
    assert result_of(in_background(lambda: 7, "test"), never) == 7


def test_error_of_background_work_is_raised_here():
    def fail():
        raise RasterReadError("Gone.")

    with pytest.raises(RasterReadError, match="Gone"):
        result_of(in_background(fail, "test"), never)


def test_timeout_raised_by_the_work_itself_is_not_taken_for_waiting():
    def fail():
        raise TimeoutError("of the network")

    with pytest.raises(TimeoutError, match="of the network"):
        result_of(in_background(fail, "test"), never)


def test_cancel_ends_waiting_though_the_work_goes_on():
    gate = threading.Event()
    with pytest.raises(CancelledError):
        result_of(in_background(gate.wait, "test"), lambda: True)
    gate.set()


def test_cancel_is_sent_to_the_engine():
    sent = []
    with pytest.raises(CancelledError):
        answer_of(EngineFuture(5, sent.append), lambda: True)
    assert sent == [5]


def test_request_that_was_cancelled_elsewhere_is_no_answer():
    future = EngineFuture(5, lambda _: None)
    future.set_result(EngineResult(Outcome.CANCELLED))
    with pytest.raises(CancelledError):
        answer_of(future, never)


def test_second_job_waits_for_its_turn_and_sees_the_first_ones_progress(tmp_path):
    turns, seen, done = StoreTurns(), [], threading.Event()
    is_waiting = threading.Event()

    def on_wait(progress):
        seen.append(progress)
        is_waiting.set()

    def second():
        # Another way to write the same folder.
        with turns.join(tmp_path / "x" / ".." / "store") as turn:
            turn.take(never, on_wait)
            turn.give_back()
            done.set()

    with turns.join(tmp_path / "store") as turn:
        turn.take(never, lambda _: None)
        turn.progress = EncodeProgress(1, 4, 2.0)
        thread = threading.Thread(target=second)
        thread.start()
        assert is_waiting.wait(PATIENCE_S)
        assert not done.is_set()
        turn.give_back()
        thread.join(PATIENCE_S)
    assert done.is_set()
    assert seen[0] == EncodeProgress(1, 4, 2.0)
    assert not turns._turns


def test_other_stores_do_not_wait(tmp_path):
    turns = StoreTurns()
    with turns.join(tmp_path / "a") as one, turns.join(tmp_path / "b") as other:
        one.take(never, lambda _: None)
        other.take(never, lambda _: pytest.fail("waited"))


def test_job_that_waits_can_be_cancelled(tmp_path):
    turns = StoreTurns()
    with turns.join(tmp_path) as one, turns.join(tmp_path) as other:
        one.take(never, lambda _: None)
        with pytest.raises(CancelledError):
            other.take(lambda: True, lambda _: None)


class Source:
    """Gives windows full of their number; the third is empty, the fifth cannot be read."""

    def __init__(self):
        self.read_windows = []
        self.is_closed = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed.set()

    def read(self, window):
        self.read_windows.append(window.xoff)
        if window.xoff == 2:
            return None
        if window.xoff == 4:
            raise RasterReadError("A block is damaged.")
        return np.full((1, 1, 3), window.xoff, np.uint8)


WINDOWS = [TileWindow(0, number, 0, 1, 1) for number in range(8)]


def test_windows_come_in_order_and_the_source_is_closed():
    events, source = queue.SimpleQueue(), Source()
    reader = ReadAhead(source, WindowQueue(WINDOWS).take, 100, events)
    reader.start()
    read = [events.get(timeout=PATIENCE_S) for _ in WINDOWS]
    assert [event.window for event in read] == WINDOWS
    assert read[2] == WindowRead(WINDOWS[2], None)
    assert isinstance(read[4].error, RasterReadError)
    assert (read[7].pixels == 7).all()
    assert events.get(timeout=PATIENCE_S) == ReadingEnded()
    assert source.is_closed.wait(PATIENCE_S)


def test_no_more_is_read_ahead_than_allowed():
    events, source = queue.SimpleQueue(), Source()
    reader = ReadAhead(source, WindowQueue(WINDOWS).take, 2, events)
    reader.start()
    for _ in range(2):
        events.get(timeout=PATIENCE_S)
    with pytest.raises(queue.Empty):
        events.get(timeout=0.2)
    reader.release(1)
    assert events.get(timeout=PATIENCE_S).window == WINDOWS[2]
    reader.stop(PATIENCE_S)
    assert source.read_windows == [0, 1, 2]
    assert source.is_closed.is_set()


def test_fault_of_the_source_is_handed_over():
    class Broken(Source):
        def read(self, window):
            raise ZeroDivisionError

    events = queue.SimpleQueue()
    ReadAhead(Broken(), WindowQueue(WINDOWS).take, 2, events).start()
    assert isinstance(events.get(timeout=PATIENCE_S).error, ZeroDivisionError)


def test_future_that_is_done_is_not_waited_for():
    future = Future()
    future.set_result(3)
    assert result_of(future, lambda: True) == 3

# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline between reader, engine and index, with an engine that is no process."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref

import numpy as np
import pytest

from geo_sam2.encoder.engine_task import EngineTask
from geo_sam2.encoder.tile_pipeline import TilePipeline
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.errors import CancelledError, EngineDiedError, FeatureValueError, ProtocolError, StoreError
from geo_sam2.runtime.engine_future import EngineFuture, EngineResult, Outcome
from geo_sam2.store_index import TileState
from geo_sam2.tile_window import TileWindow

MANY = [TileWindow(0, 8 * number, 0, 8, 8) for number in range(100)]
WINDOWS = MANY[:10]


class Source:
    def __init__(self):
        self.pixels = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, window):
        image = np.full((8, 8, 3), window.xoff % 256, np.uint8)
        self.pixels.append(weakref.ref(image))
        return image


class Engine:
    """Answers from a thread of its own, in order."""

    def __init__(self, answer=None):
        self.batches, self.cancelled, self.most_in_flight = [], [], 0
        self._answer = answer or answer_well
        self._ids = itertools.count(1)
        self._turn = threading.Semaphore(1)
        self._in_flight = 0

    def request(self, fields, arrays):
        future = EngineFuture(next(self._ids), self.cancelled.append)
        self.batches.append([tile["window"]["xoff"] // 8 for tile in fields["tiles"]])
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        threading.Thread(target=self._work, args=(future, fields)).start()
        return future

    def _work(self, future, fields):
        with self._turn:
            self._in_flight -= 1
            try:
                future.set_result(self._answer(fields))
            except Exception as error:  # noqa: BLE001
                future.set_exception(error)


def answer_well(fields):
    tiles = [{"file": f"{tile['window']['xoff']}", "bytes": 1, "crc32": 2} for tile in fields["tiles"]]
    return EngineResult(Outcome.DONE, {"tiles": tiles, "seconds": 1.0, "notes": ["Slow."]})


class Writer:
    def __init__(self):
        self.rows = []

    def settled(self, window):
        return next((row for row in self.rows if row.window == window), None)

    def next_generation(self, window):
        return 1

    def record(self, rows):
        self.rows += rows

    def states(self):
        return [(row.window.xoff // 8, row.state) for row in self.rows]


def pipeline(tmp_path, engine, writer, batch_size=1, is_cancelled=lambda: False):
    task = EngineTask(engine, tmp_path, {}, batch_size, 100)
    return TilePipeline(task, writer, lambda _: None, is_cancelled)


def test_all_windows_are_encoded_two_requests_at_a_time(tmp_path):
    engine, writer = Engine(), Writer()
    run = pipeline(tmp_path, engine, writer, 3)
    run.run(Source(), WindowQueue(WINDOWS))
    assert engine.batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert engine.most_in_flight <= 2
    assert sorted(writer.states()) == [(number, TileState.DONE) for number in range(10)]
    assert (run.tally.encoded, run.tally.notes) == (10, ["Slow."])


def test_pixels_are_let_go_of_without_a_search_for_cycles(tmp_path):
    def answer(fields):
        time.sleep(0.002)  # an engine that answers before it is listened to would leave no callback behind
        return answer_well(fields)

    engine, source, alive = Engine(answer), Source(), []

    def on_progress(_):
        alive.append(sum(pixels() is not None for pixels in source.pixels))

    gc.disable()
    try:
        task = EngineTask(engine, tmp_path, {}, 1, 100)
        TilePipeline(task, Writer(), on_progress, lambda: False).run(source, WindowQueue(MANY))
    finally:
        gc.enable()
    assert max(alive) < 12


def test_batch_with_one_bad_window_is_sent_again_one_by_one(tmp_path):
    def answer(fields):
        if any(tile["window"]["xoff"] == 8 for tile in fields["tiles"]):
            raise FeatureValueError("Not a number.")
        return answer_well(fields)

    engine, writer = Engine(answer), Writer()
    run = pipeline(tmp_path, engine, writer, 5)
    run.run(Source(), WindowQueue(WINDOWS))
    assert (run.tally.encoded, run.tally.failed) == (9, 1)
    assert (1, TileState.FAILED) in writer.states()
    assert sorted(map(len, engine.batches)) == [1, 1, 1, 1, 1, 5, 5]
    assert "column 8, row 0 failed: Not a number." in run.tally.problems[0]


def test_answer_on_its_way_is_recorded_when_cancelled(tmp_path):
    has_answered = threading.Event()

    def answer(fields):
        has_answered.set()
        return answer_well(fields)

    engine, writer = Engine(answer), Writer()
    run = pipeline(tmp_path, engine, writer, is_cancelled=has_answered.is_set)
    with pytest.raises(CancelledError):
        run.run(Source(), WindowQueue(WINDOWS))
    assert len(writer.rows) == len(engine.batches) == run.tally.encoded
    assert 1 <= run.tally.encoded < 10


def test_death_of_the_engine_is_told_and_records_what_was_done_before(tmp_path):
    def answer(fields):
        if fields["tiles"][0]["window"]["xoff"] >= 24:
            raise EngineDiedError("It died.")
        return answer_well(fields)

    writer = Writer()
    with pytest.raises(EngineDiedError):
        pipeline(tmp_path, Engine(answer), writer).run(Source(), WindowQueue(WINDOWS))
    assert writer.states() == [(number, TileState.DONE) for number in range(3)]


def test_index_that_cannot_be_written_ends_the_run_with_its_own_error(tmp_path):
    class Full(Writer):
        def record(self, rows):
            raise StoreError("The disk is full.")

    run = pipeline(tmp_path, Engine(), Full())
    with pytest.raises(StoreError, match="The disk is full"):
        run.run(Source(), WindowQueue(WINDOWS))
    assert run.tally.encoded == 0


def test_answer_with_too_few_tiles_is_no_answer(tmp_path):
    def answer(fields):
        return EngineResult(Outcome.DONE, {"tiles": [], "seconds": 1.0, "notes": []})

    with pytest.raises(ProtocolError, match="0 tiles where 1 were sent"):
        pipeline(tmp_path, Engine(answer), Writer()).run(Source(), WindowQueue(WINDOWS))

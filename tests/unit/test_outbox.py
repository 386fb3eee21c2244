# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue before the writing thread: order, bounds, end."""

from __future__ import annotations

import gc
import io
import threading
import weakref

import numpy as np
import pytest
from gates import PATIENCE_S

from geo_sam2.engine import outbox as outbox_module
from geo_sam2.engine.outbox import Outbox


class BlockingStream(io.BytesIO):
    """Takes bytes only while it is open; tells when a write has begun."""

    def __init__(self):
        super().__init__()
        self.is_open = threading.Event()
        self.has_begun = threading.Event()

    def write(self, buffer):
        self.has_begun.set()
        assert self.is_open.wait(PATIENCE_S)
        return super().write(buffer)


@pytest.fixture
def start_writer():
    """Return a function that starts a writer thread; all are joined after the test."""
    started = []

    def start(outbox, stream):
        thread = threading.Thread(target=outbox.write_to, args=(stream,))
        thread.start()
        started.append((outbox, stream, thread))
        return thread

    yield start
    for outbox, stream, thread in started:
        if isinstance(stream, BlockingStream):
            stream.is_open.set()
        outbox.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_frames_are_written_in_order_and_whole(start_writer):
    outbox, stream = Outbox(10, 1000), io.BytesIO()
    for number in range(5):
        assert outbox.put([b"frame ", str(number).encode()])
    start_writer(outbox, stream)
    assert outbox.put([b" end"])
    assert outbox.wait_until_written(PATIENCE_S)
    assert stream.getvalue() == b"frame 0frame 1frame 2frame 3frame 4 end"


@pytest.mark.parametrize(("bounds", "taken"), [((3, 1000), 3), ((100, 25), 2), ((1, 1), 1), ((100, 1), 1)])
def test_offer_is_refused_beyond_either_bound_but_one_frame_always_fits(bounds, taken):
    outbox = Outbox(*bounds)
    assert [outbox.offer([b"0123456789"]) for _ in range(5)] == [True] * taken + [False] * (5 - taken)


@pytest.mark.parametrize("bounds", [(2, 1000), (100, 20)])
def test_room_comes_back_as_frames_are_written(start_writer, bounds):
    outbox, stream = Outbox(*bounds), BlockingStream()
    assert [outbox.offer([b"0123456789"]) for _ in range(3)] == [True, True, False]
    start_writer(outbox, stream)
    stream.is_open.set()
    assert outbox.wait_until_written(PATIENCE_S)
    stream.is_open.clear()
    stream.has_begun.clear()
    assert outbox.offer([b"0"])
    assert stream.has_begun.wait(PATIENCE_S)  # one in the pipe, so the bound is the queue's again
    assert [outbox.offer([b"0123456789"]) for _ in range(3)] == [True, True, False]


def test_urgent_frames_have_a_reserve(monkeypatch):
    monkeypatch.setattr(outbox_module, "URGENT_RESERVE", 2)
    outbox = Outbox(1, 1000)
    assert outbox.offer([b"x" * 2000])
    assert not outbox.offer([b"x"])
    assert [outbox.offer([b"x"], is_urgent=True) for _ in range(3)] == [True, True, False]


def test_put_waits_for_room(start_writer):
    outbox, stream = Outbox(1, 1000), BlockingStream()
    start_writer(outbox, stream)
    outbox.put([b"a"])
    assert stream.has_begun.wait(PATIENCE_S)
    outbox.put([b"b"])  # fills the queue
    has_put = threading.Event()
    putter = threading.Thread(target=lambda: (outbox.put([b"c"]), has_put.set()))
    putter.start()
    assert not has_put.is_set()
    stream.is_open.set()
    putter.join(PATIENCE_S)
    assert outbox.wait_until_written(PATIENCE_S)
    assert stream.getvalue() == b"abc"


def test_close_ends_waiting_and_later_puts(start_writer):
    outbox, stream = Outbox(1, 1000), BlockingStream()
    start_writer(outbox, stream)
    outbox.put([b"a"])
    assert stream.has_begun.wait(PATIENCE_S)
    outbox.put([b"b"])
    taken = []
    putter = threading.Thread(target=lambda: taken.append(outbox.put([b"c"])))
    putter.start()
    outbox.close()
    putter.join(PATIENCE_S)
    assert taken == [False]
    assert not outbox.put([b"d"])
    assert not outbox.offer([b"e"], is_urgent=True)


@pytest.mark.parametrize(("discard", "written"), [(False, b"ab"), (True, b"a")])
def test_close_writes_what_is_queued_unless_told_to_discard_it(start_writer, discard, written):
    outbox, stream = Outbox(10, 1000), BlockingStream()
    thread = start_writer(outbox, stream)
    outbox.put([b"a"])
    assert stream.has_begun.wait(PATIENCE_S)
    outbox.put([b"b"])
    outbox.close(discard=discard)
    stream.is_open.set()
    thread.join(PATIENCE_S)
    assert stream.getvalue() == written


def test_wait_until_written_includes_the_frame_in_the_pipe_and_is_bounded(start_writer):
    outbox, stream = Outbox(10, 1000), BlockingStream()
    start_writer(outbox, stream)
    outbox.put([b"a"])
    assert stream.has_begun.wait(PATIENCE_S)
    assert not outbox.wait_until_written(0.01)
    stream.is_open.set()
    assert outbox.wait_until_written(PATIENCE_S)


def test_written_arrays_are_let_go(start_writer):
    outbox = Outbox(10, 10**6)
    array = np.zeros(1000, np.uint8)
    alive = weakref.ref(array)
    start_writer(outbox, io.BytesIO())
    outbox.put([array.data])
    del array
    assert outbox.wait_until_written(PATIENCE_S)
    gc.collect()
    assert alive() is None


def test_broken_pipe_is_told_to_who_writes():
    class Broken(io.BytesIO):
        def write(self, _buffer):
            raise BrokenPipeError

    outbox = Outbox(10, 1000)
    outbox.put([b"a"])
    with pytest.raises(BrokenPipeError):
        outbox.write_to(Broken())

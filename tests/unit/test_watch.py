# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine's watch thread does in each of its looks, without waiting for them."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import pytest

from geo_sam2.engine.outbox import Outbox
from geo_sam2.engine.protocol import Message, MessageReader
from geo_sam2.engine.request_queue import Request, RequestQueue
from geo_sam2.engine.watch import IDLE_GRACE_S, STALL_TIMEOUT_S, Watch


class ProcessEndError(Exception):
    pass


def end():
    raise ProcessEndError


def stall(error):
    raise error


@pytest.fixture
def watched():
    """Return a watch with what it looks at; one look stands for one second."""
    parts = SimpleNamespace(
        queue=RequestQueue(),
        reader=SimpleNamespace(bytes_read=0, is_inside_message=False),
        outbox=Outbox(100, 10_000),
    )

    def make(idle_timeout_s=None):
        parts.watch = Watch(
            parts.queue,
            parts.reader,
            parts.outbox,
            interval_s=1.0,
            idle_timeout_s=idle_timeout_s,
            on_stall=stall,
            end=end,
        )
        return parts

    return make


def sent(outbox):
    """Take the messages out of an outbox."""
    stream = io.BytesIO()
    outbox.close()
    outbox.write_to(stream)
    stream.seek(0)
    return [message.fields for message in iter(MessageReader(stream).read, None)]


def test_heartbeat_is_sent_while_something_runs_or_waits(watched):
    parts = watched()
    parts.watch.look()
    parts.queue.add(Request(1, "encode", Message({})))
    parts.watch.look()
    with parts.queue.activity("encode", 1):
        parts.queue.take()
        parts.watch.look()
    parts.watch.look()
    waiting, running = sent(parts.outbox)
    assert waiting == {"type": "heartbeat", "running": None, "waiting": 1}
    assert running["running"].pop("seconds") >= 0
    assert running == {"type": "heartbeat", "running": {"id": 1, "type": "encode"}, "waiting": 0}


def test_full_outbox_does_not_hold_the_watch(watched):
    parts = watched()
    parts.outbox.put([b"x" * 10_000])
    with parts.queue.activity("encode", 1):
        parts.watch.look()


def test_message_that_does_not_go_on_is_a_stall(watched):
    parts = watched()
    parts.reader.is_inside_message = True
    for _ in range(int(STALL_TIMEOUT_S) - 1):
        parts.watch.look()
    with pytest.raises(Exception, match="began and did not go on"):
        parts.watch.look()


def test_slow_message_is_no_stall(watched):
    parts = watched()
    parts.reader.is_inside_message = True
    for step in range(3 * int(STALL_TIMEOUT_S)):
        parts.reader.bytes_read += step % 2
        parts.watch.look()


def test_idle_engine_offers_its_end_once_and_ends_after_a_grace(watched):
    parts = watched(idle_timeout_s=5.0)
    for _ in range(5 + int(IDLE_GRACE_S) - 1):
        parts.watch.look()
    with pytest.raises(ProcessEndError):
        parts.watch.look()
    assert sent(parts.outbox) == [{"type": "idle"}]


def test_message_or_work_begins_the_idle_time_anew(watched):
    parts = watched(idle_timeout_s=5.0)
    for _ in range(4):
        parts.watch.look()
    parts.reader.bytes_read += 1
    for _ in range(5):
        parts.watch.look()
    with parts.queue.activity("encode", 1):
        parts.watch.look()
    for _ in range(4):
        parts.watch.look()
    assert [fields["type"] for fields in sent(parts.outbox)] == ["heartbeat"]


def test_engine_without_an_idle_time_stays(watched):
    parts = watched()
    for _ in range(1000):
        parts.watch.look()
    assert sent(parts.outbox) == []


def test_engine_whose_parent_is_gone_ends(watched, monkeypatch):
    parts = watched()
    parts.watch.look()
    parent = os.getppid()
    monkeypatch.setattr(os, "getppid", lambda: parent + 1)
    with pytest.raises(ProcessEndError):
        parts.watch.look()

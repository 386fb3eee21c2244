# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of requests, without processes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from gates import PATIENCE_S

from geo_sam2.engine import request_queue
from geo_sam2.engine.protocol import Message
from geo_sam2.engine.request_queue import Request, RequestQueue
from geo_sam2.errors import EngineError, ProtocolError


def request(request_id, kind="encode", group=None, payload_bytes=0):
    return Request(request_id, kind, Message({}, {"a": np.zeros(payload_bytes, np.uint8)}), group)


@pytest.fixture
def requests():
    """Return a queue in which "decode" is interactive."""
    requests = RequestQueue()
    requests.classify(lambda kind: kind == "decode")
    return requests


def taken_ids(requests, count):
    return [requests.take().id for _ in range(count)]


def test_interactive_requests_come_first_and_each_kind_in_order(requests):
    for number, kind in enumerate(["encode", "decode", "encode", "decode", "load"]):
        requests.add(request(number, kind))
    assert taken_ids(requests, 5) == [1, 3, 0, 2, 4]


def test_requests_that_came_before_the_classes_were_known_are_ordered_too():
    requests = RequestQueue()
    for number, kind in enumerate(["encode", "decode"]):
        requests.add(request(number, kind))
    assert requests.take_interactive() is None
    requests.classify(lambda kind: kind == "decode")
    assert taken_ids(requests, 2) == [1, 0]


def test_only_interactive_requests_are_taken_in_between(requests):
    assert requests.take_interactive() is None
    requests.add(request(1))
    assert requests.take_interactive() is None
    requests.add(request(2, "decode"))
    assert requests.take_interactive().id == 2
    assert requests.take_interactive() is None
    assert requests.take().id == 1


def test_take_waits_for_a_request(requests):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(requests.take().id))
    thread.start()
    requests.add(request(5))
    thread.join(PATIENCE_S)
    assert taken == [5]


def test_newer_preview_supersedes_waiting_ones_of_its_group_alone(requests):
    requests.add(request(1, group="a"))
    requests.add(request(2, group="b"))
    requests.add(request(3))
    assert [r.id for r in requests.add(request(4, group="a"))] == [1]
    assert requests.add(request(5)) == []
    assert taken_ids(requests, 4) == [2, 3, 4, 5]
    # taken: no longer waiting, so not superseded
    assert requests.add(request(6, group="a")) == []


def test_superseded_and_finished_ids_are_free_again_and_others_not(requests):
    requests.add(request(1, group="a"))
    requests.add(request(2, group="a"))
    requests.add(request(1))
    with pytest.raises(ProtocolError, match="The id 2"):
        requests.add(request(2))
    running = requests.take()
    with pytest.raises(ProtocolError, match="The id 2"):
        requests.add(request(2))
    requests.finish(running)
    requests.add(request(2))


def test_cancel_drops_a_waiting_request_and_marks_a_running_one(requests):
    requests.add(request(1))
    requests.add(request(2, "decode"))
    requests.add(request(3))
    running = requests.take()
    assert requests.cancel(running.id) is None
    assert running.is_cancelled
    dropped = requests.cancel(1)
    assert (dropped.id, dropped.is_cancelled) == (1, True)
    assert requests.cancel(1) is None
    assert requests.cancel(99) is None
    last = requests.take()
    assert (last.id, last.is_cancelled) == (3, False)


def test_cancelled_interactive_request_is_not_waited_for(requests):
    requests.add(request(1, "decode"))
    requests.cancel(1)
    assert requests.take_interactive() is None
    requests.add(request(2))
    assert requests.take().id == 2


def test_too_many_requests_or_bytes_are_refused_and_nothing_is_superseded_by_them(requests, monkeypatch):
    monkeypatch.setattr(request_queue, "MAX_WAITING_REQUESTS", 3)
    monkeypatch.setattr(request_queue, "MAX_WAITING_BYTES", 100)
    requests.add(request(1, group="a", payload_bytes=60))
    with pytest.raises(EngineError, match="1 requests wait"):
        requests.add(request(2, payload_bytes=50))
    with pytest.raises(EngineError):
        requests.add(request(3, group="a", payload_bytes=101))
    assert [r.id for r in requests.add(request(4, group="a", payload_bytes=100))] == [1]
    requests.add(request(5))
    requests.add(request(6))
    with pytest.raises(EngineError, match="3 requests wait"):
        requests.add(request(7))
    assert taken_ids(requests, 3) == [4, 5, 6]


def test_status_tells_the_innermost_activity_and_the_queue(requests):
    assert requests.status() == (None, 0)
    requests.add(request(1))
    with requests.activity("encode", 7):
        with pytest.raises(LookupError), requests.activity("decode", 8):
            activity, waiting = requests.status()
            assert (activity.kind, activity.request_id, waiting) == ("decode", 8, 1)
            raise LookupError
        assert requests.status()[0].request_id == 7
    assert requests.status() == (None, 1)

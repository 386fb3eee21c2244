# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests through the client to a real engine process that lives: order, cancel, previews, news."""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from gates import PATIENCE_S
from raw_engine import FAST_HEARTBEAT, fake_engine_command

from geo_sam2 import errors
from geo_sam2.runtime import engine_process
from geo_sam2.runtime.engine_client import EngineState
from geo_sam2.runtime.engine_future import Outcome


def answer(future):
    return future.result(PATIENCE_S)


def wait_until_received(client):
    """Wait until the engine has taken in all that was sent so far: its reader thread answers in order."""
    answer(client.request({"type": "hello"}))


def test_answer_has_the_fields_and_arrays_of_the_operation(client):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    future = client.request({"type": "echo", "value": [1, None, "ü"]}, {"a": array})
    result = answer(future)
    assert result.is_done
    assert result.fields == {"echo": [1, None, "ü"], "id_seen": future.request_id}
    np.testing.assert_array_equal(result.arrays["a"], array)


def test_window_of_pixels_and_more_fits_a_request(client):
    array = np.random.default_rng(1).integers(0, 255, (16, 1024, 1024, 3), np.uint8)
    np.testing.assert_array_equal(answer(client.request({"type": "echo"}, {"a": array})).arrays["a"], array)


def test_requests_from_many_threads_get_their_own_answers(client):
    found = {}

    def ask(first):
        futures = {
            n: client.request({"type": "echo", "value": n}, {"a": np.full(50, n)})
            for n in range(first, first + 40)
        }
        for number, future in futures.items():
            result = answer(future)
            found[number] = (result.fields["echo"], set(result.arrays["a"].tolist()), future.request_id)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 400, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert {number: (echo, values) for number, (echo, values, _) in found.items()} == {
        number: (number, {number}) for number in range(400)
    }
    assert len({request_id for _, _, request_id in found.values()}) == 400


def test_background_requests_keep_their_order(client, make_gate):
    gate = make_gate()
    first = client.request({"type": "work", "gates": [gate.port]})
    gate.wait_until_reached()
    futures = [client.request({"type": "work", "gates": []}) for _ in range(5)]
    gate.open()
    events = answer(futures[-1]).fields["events"]
    begun = [event for event in events if event.endswith("begins")]
    assert begun[-6:] == [f"work {future.request_id} begins" for future in (first, *futures)]


def test_interactive_request_is_served_in_the_middle_of_a_background_one(client, make_gate):
    gate, next_gate = make_gate(), make_gate()
    work = client.request({"type": "work", "gates": [gate.port, next_gate.port]})
    gate.wait_until_reached()
    other = client.request({"type": "work", "gates": []})
    click = client.request({"type": "click", "value": 3})
    wait_until_received(client)
    assert not click.done()
    gate.open()
    assert answer(click).fields == {"computed": 3}
    next_gate.wait_until_reached()
    assert not other.done()
    next_gate.open()
    assert answer(work).fields["events"][-5:] == [
        f"work {work.request_id} begins",
        f"work {work.request_id} passed a gate",
        f"click {click.request_id}",
        f"work {work.request_id} passed a gate",
        f"work {work.request_id} ends",
    ]
    assert answer(other).is_done


def test_interactive_request_waits_for_an_operation_that_does_not_serve_but_not_for_the_next(
    client, make_gate
):
    gate = make_gate()
    work = client.request({"type": "work", "gates": [gate.port], "serves": False})
    gate.wait_until_reached()
    other = client.request({"type": "work", "gates": []})
    click = client.request({"type": "click"})
    wait_until_received(client)
    gate.open()
    events = answer(other).fields["events"]
    assert events[-4:] == [
        f"work {work.request_id} ends",
        f"click {click.request_id}",
        f"work {other.request_id} begins",
        f"work {other.request_id} ends",
    ]


def test_error_of_a_request_served_in_between_is_its_own(client, make_gate):
    gate, next_gate = make_gate(), make_gate()
    work = client.request({"type": "work", "gates": [gate.port, next_gate.port]})
    gate.wait_until_reached()
    unknown = client.request({"type": "unheard_of"})
    wait_until_received(client)
    gate.open()
    with pytest.raises(errors.ProtocolError, match="unheard_of"):
        answer(unknown)
    next_gate.wait_until_reached()
    next_gate.open()
    assert answer(work).is_done


def test_waiting_request_is_cancelled_at_once(client, make_gate):
    gate = make_gate()
    work = client.request({"type": "work", "gates": [gate.port]})
    gate.wait_until_reached()
    waiting = client.request({"type": "work", "gates": []})
    waiting.cancel_request()
    result = answer(waiting)
    assert (result.outcome, result.is_done, result.fields) == (Outcome.CANCELLED, False, {})
    gate.open()
    assert not any(f"work {waiting.request_id} " in event for event in answer(work).fields["events"])


def test_running_request_is_cancelled_at_its_next_check(client, make_gate):
    gate, never = make_gate(), make_gate()
    work = client.request({"type": "work", "gates": [gate.port, never.port]})
    gate.wait_until_reached()
    work.cancel_request()
    wait_until_received(client)
    assert not work.done()
    gate.open()
    assert answer(work).outcome is Outcome.CANCELLED
    assert not never.is_reached()
    assert answer(client.request({"type": "echo"})).is_done


def test_cancel_of_one_request_leaves_the_others_alone(client, make_gate):
    gate = make_gate()
    work = client.request({"type": "work", "gates": [gate.port]})
    gate.wait_until_reached()
    futures = [client.request({"type": "echo", "value": n}) for n in range(3)]
    futures[1].cancel_request()
    wait_until_received(client)
    gate.open()
    assert answer(work).is_done
    assert [answer(f).outcome for f in futures] == [Outcome.DONE, Outcome.CANCELLED, Outcome.DONE]


def test_cancel_after_the_answer_changes_nothing(client):
    future = client.request({"type": "echo", "value": 1})
    assert answer(future).is_done
    future.cancel_request()
    assert answer(future).is_done
    assert answer(client.request({"type": "echo", "value": 2})).fields["echo"] == 2


def test_cancel_of_the_standard_library_does_nothing(client, make_gate):
    gate = make_gate()
    work = client.request({"type": "work", "gates": [gate.port]})
    assert not work.cancel()
    gate.wait_until_reached()
    gate.open()
    assert answer(work).is_done


def test_only_the_newest_waiting_preview_of_a_group_is_computed(client, make_gate):
    gate = make_gate()
    work = client.request({"type": "work", "gates": [gate.port], "serves": False})
    gate.wait_until_reached()

    def preview(group, value):
        fields = {"type": "click", "preview": True, "preview_group": group, "value": value}
        return client.request(fields)

    hover = [preview("hover", n) for n in range(4)]
    others = [preview("other", 9), client.request({"type": "click", "value": 5})]
    for future in hover[:-1]:
        result = answer(future)  # before the engine is free
        assert (result.outcome, result.fields) == (Outcome.SUPERSEDED, {})
    assert not hover[-1].done()
    gate.open()
    assert answer(work).is_done
    assert answer(hover[-1]).fields == {"computed": 3}
    assert [answer(future).fields for future in others] == [{"computed": 9}, {"computed": 5}]
    events = answer(client.request({"type": "work", "gates": []})).fields["events"]
    clicks = [event for event in events if event.startswith("click")]
    assert clicks[-3:] == [f"click {future.request_id}" for future in (hover[-1], *others)]


def test_running_preview_is_not_superseded(client, make_gate):
    gate = make_gate()
    fields = {"type": "work", "preview": True, "preview_group": "hover"}
    running = client.request({**fields, "gates": [gate.port]})
    gate.wait_until_reached()
    newer = client.request({**fields, "gates": []})
    wait_until_received(client)
    gate.open()
    assert [answer(future).outcome for future in (running, newer)] == [Outcome.DONE, Outcome.DONE]


def test_progress_and_parts_arrive_in_order_before_the_answer(client):
    news = []
    future = client.request(
        {"type": "report", "count": 3},
        on_progress=lambda done, total, text: news.append((done, total, text)),
        on_part=lambda part: news.append((part.fields, part.arrays["values"].tolist())),
    )
    assert answer(future).fields == {"count": 3}
    assert news == [item for n in (1, 2, 3) for item in ((n, 3, f"step {n}"), ({"step": n}, [n, n, n]))]


def test_news_that_nobody_asked_for_are_ignored(client):
    assert answer(client.request({"type": "report", "count": 3})).fields == {"count": 3}


@pytest.mark.parametrize("name", ["on_progress", "on_part"])
def test_callback_that_fails_fails_its_request_alone(client, name):
    def callback(*_):
        raise LookupError("a fault of the caller")

    with pytest.raises(LookupError, match="a fault of the caller"):
        answer(client.request({"type": "report", "count": 3}, **{name: callback}))
    assert answer(client.request({"type": "report", "count": 3})).is_done


def test_request_can_be_sent_from_a_callback(client):
    followed = queue.Queue()
    future = client.request({"type": "echo", "value": 1})
    future.add_done_callback(lambda _: followed.put(client.request({"type": "echo", "value": 2})))
    assert answer(followed.get(timeout=PATIENCE_S)).fields["echo"] == 2


@pytest.mark.parametrize(
    ("name", "kind", "text", "hint"),
    [
        ("PromptError", errors.PromptError, "The prompt is bad.", "Click elsewhere."),
        ("NarrowPromptError", errors.PromptError, "The prompt is narrow.", ""),
        ("ValueError", errors.EngineError, "The engine failed: ValueError: one line.", "log"),
        ("UnspeakableError", errors.EngineError, "UnspeakableError", "log"),
        ("SyntaxError", errors.EngineError, "The engine failed: SyntaxError: invalid syntax.", "log"),
        ("RecursionError", errors.EngineError, "The engine failed: RecursionError: too deep.", "log"),
        ("SystemExit", errors.EngineError, "The engine failed: SystemExit: 5.", "log"),
        ("KeyboardInterrupt", errors.EngineError, "The engine failed: KeyboardInterrupt", "log"),
        ("MemoryError", errors.DeviceMemoryError, "The engine ran out of memory.", "Close other programs"),
        ("NaN in the answer", errors.ProtocolError, "cannot be sent", ""),
        ("reserved field", errors.EngineError, "“type” or “id”", ""),
        ("not a message", errors.EngineError, "AttributeError", "log"),
    ],
)
def test_error_of_an_operation_reaches_its_request_and_the_engine_lives_on(client, name, kind, text, hint):
    with pytest.raises(errors.GeoSam2Error) as caught:
        answer(client.request({"type": "fail", "error": name}))
    assert type(caught.value) is kind
    assert text in caught.value.text
    assert hint in caught.value.hint
    assert "Traceback" in caught.value.details
    assert answer(client.request({"type": "echo", "value": 1})).fields["echo"] == 1
    assert client.state is EngineState.READY


def test_operation_that_raises_cancelled_counts_as_cancelled(client):
    assert answer(client.request({"type": "fail", "error": "CancelledError"})).outcome is Outcome.CANCELLED


@pytest.mark.parametrize(
    ("fields", "arrays"), [({"type": "echo", "value": float("nan")}, {}), ({"type": "echo"}, {"a": [1, 2]})]
)
def test_request_that_cannot_travel_is_refused_at_once(client, fields, arrays):
    with pytest.raises(errors.ProtocolError):
        client.request(fields, arrays)


def test_states_are_told_in_order(make_client):
    states = queue.Queue()
    client = make_client(on_state=states.put)
    assert client.state is EngineState.STOPPED
    assert answer(client.request({"type": "echo"})).is_done
    client.stop()
    assert [states.get(timeout=PATIENCE_S) for _ in range(4)] == [
        EngineState.STARTING,
        EngineState.LOADING,
        EngineState.READY,
        EngineState.STOPPED,
    ]


def test_request_can_be_sent_when_a_state_is_told(make_client):
    followed = queue.Queue()

    def tell(state):
        if state is EngineState.STARTING:
            followed.put(client.request({"type": "echo", "value": 2}))

    client = make_client(on_state=tell)
    assert answer(client.request({"type": "echo", "value": 1})).fields["echo"] == 1
    assert answer(followed.get(timeout=PATIENCE_S)).fields["echo"] == 2


def test_failing_listener_harms_nobody_and_is_logged(make_client, tmp_path):
    def fail(_news):
        raise LookupError("a fault of the listener")

    client = make_client(on_state=fail)
    assert answer(client.request({"type": "echo", "value": 1})).fields["echo"] == 1
    assert "a fault of the listener" in (tmp_path / "engine.log").read_text()


def test_start_ahead_of_the_first_request_says_hello(make_client):
    client = make_client()
    first = answer(client.start()).fields
    assert first["protocol"] == 1
    assert answer(client.request({"type": "describe"})).fields["pid"] == first["pid"]


def test_stopped_engine_starts_again_and_forgets_pending_requests(make_client, make_gate):
    client, gate = make_client(), make_gate()
    pid = answer(client.start()).fields["pid"]
    pending = [client.request({"type": "work", "gates": [gate.port]}), client.request({"type": "echo"})]
    gate.wait_until_reached()
    client.stop()
    gate.wait_until_gone()
    assert [answer(future).outcome for future in pending] == [Outcome.CANCELLED] * 2
    assert answer(client.start()).fields["pid"] != pid


def test_closed_client_ends_a_busy_engine_and_refuses_requests(make_client, make_gate):
    client, gate = make_client(), make_gate()
    work = client.request({"type": "work", "gates": [gate.port]})
    gate.wait_until_reached()
    client.close()
    gate.wait_until_gone()
    assert answer(work).outcome is Outcome.CANCELLED
    with pytest.raises(errors.EngineError, match="was closed"):
        answer(client.request({"type": "echo"}))
    client.close()


def test_closing_before_the_first_request_or_during_the_start_is_fine(make_client):
    make_client().close()
    client = make_client()
    future = client.request({"type": "echo"})
    client.close()
    assert answer(future).outcome is Outcome.CANCELLED
    assert client.state is EngineState.STOPPED


def test_idle_engine_ends_and_the_next_request_starts_it_again(make_client):
    states = queue.Queue()
    command = fake_engine_command(options=("--heartbeat", "0.02"), idle_timeout_s=0.1)
    client = make_client(command, on_state=states.put, death_window_s=1e9)
    pids = set()
    for _ in range(3):
        pids.add(answer(client.request({"type": "describe"})).fields["pid"])
        while states.get(timeout=PATIENCE_S) is not EngineState.STOPPED:
            pass
    assert len(pids) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_stopped_engines_leave_no_threads_and_no_descriptors(make_client):
    client = make_client()

    def start_and_stop():
        assert answer(client.request({"type": "echo"})).is_done
        client.stop()
        for thread in threading.enumerate():
            if thread.name.startswith("geo_sam2 engine") and thread not in others:
                thread.join(PATIENCE_S)
                assert not thread.is_alive()
        return len(list(Path("/proc/self/fd").iterdir()))

    others = set(threading.enumerate())  # of the client that all tests share
    descriptors = start_and_stop()
    assert [start_and_stop() for _ in range(3)] == [descriptors] * 3


def test_caller_too_far_ahead_is_refused_and_never_waits(make_client, monkeypatch):
    processes = []
    monkeypatch.setattr(engine_process, "OUTBOX_MESSAGES", 4)
    # Nothing is written before the process is started, so all requests stay in the queue.
    monkeypatch.setattr(engine_process.EngineProcess, "start", lambda process: processes.append(process))
    client = make_client()
    futures = [client.request({"type": "echo"}) for _ in range(4)]
    assert [future.done() for future in futures] == [False, False, False, True]  # hello takes one place
    with pytest.raises(errors.EngineError, match="Too many requests"):
        answer(futures[-1])
    monkeypatch.undo()
    processes[0].start()
    assert [answer(future).is_done for future in futures[:-1]] == [True] * 3


def test_heartbeats_are_told(make_client, make_gate):
    heartbeats = queue.Queue()
    gate = make_gate()
    client = make_client(fake_engine_command(options=FAST_HEARTBEAT), on_heartbeat=heartbeats.put)
    work = client.request({"type": "work", "gates": [gate.port]})
    gate.wait_until_reached()
    while heartbeats.get(timeout=PATIENCE_S)["running"]["id"] != work.request_id:
        pass
    gate.open()
    assert answer(work).is_done

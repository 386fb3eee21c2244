# SPDX-License-Identifier: GPL-3.0-or-later
"""A real engine process, spoken to without the client: bad input, order of start and end."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from gates import PATIENCE_S
from raw_engine import FAST_HEARTBEAT, RawEngine, fake_engine_command, frame
from test_protocol import BAD_FRAMES

from geo_sam2.engine.process_exit import EXIT_FRAMING, EXIT_OK
from geo_sam2.engine.protocol import MAGIC, PREFIX


@pytest.fixture(scope="module")
def engine():
    with RawEngine() as shared:
        yield shared


def test_hello_is_answered_while_the_operations_are_imported(make_gate):
    gate = make_gate()
    with RawEngine({"FAKE_ENGINE_LOAD": f"gate:{gate.port}"}, FAST_HEARTBEAT) as engine:
        engine.send({"type": "hello", "id": 1})
        assert engine.receive("result").fields["protocol"] == 1
        gate.wait_until_reached()
        engine.send({"type": "echo", "id": 2, "value": "early"})
        engine.send({"type": "hello", "id": 3})
        assert engine.receive("result").fields["id"] == 3
        heartbeat = engine.receive("heartbeat").fields
        assert (heartbeat["running"]["type"], heartbeat["running"]["id"]) == ("import", None)
        gate.open()
        assert "echo" in engine.receive("ready").fields["operations"]
        assert engine.receive("result").fields["echo"] == "early"


def test_nothing_is_imported_before_the_first_message(make_gate):
    gate = make_gate()
    options = ("--heartbeat", "0.02", "--idle-timeout", "0.1")
    with RawEngine({"FAKE_ENGINE_LOAD": f"gate:{gate.port}"}, options) as engine:
        assert engine.receive().fields == {"type": "idle"}  # else heartbeats of the import
        engine.end_input()
        assert engine.wait() == EXIT_OK
    assert not gate.is_reached()


def test_broken_environment_is_said_to_every_request():
    with RawEngine({"FAKE_ENGINE_LOAD": "fail"}) as engine:
        for number in (1, 2):
            engine.send({"type": "echo", "id": number})
            error = engine.receive("error").fields
            assert (error["id"], error["error"]) == (number, "EnvironmentMissingError")
            assert "No module named 'torch'" in error["text"]
            assert "ImportError" in error["details"]
        engine.send({"type": "hello", "id": 3})
        assert engine.receive("result").fields["id"] == 3


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_senseless_message_is_answered_and_the_engine_goes_on(engine, name):
    engine.send_bytes(BAD_FRAMES[name])
    engine.send({"type": "echo", "id": 1, "value": name}, {"a": np.arange(3)})
    error = engine.receive("error", "result").fields
    assert (error["type"], error["id"], error["error"]) == ("error", None, "ProtocolError")
    assert engine.receive("error", "result").fields["echo"] == name


@pytest.mark.parametrize(
    ("fields", "answered_id", "text"),
    [
        ({"type": "echo"}, None, "“id” is missing"),
        ({"type": "echo", "id": None}, None, "“id” is a NoneType"),
        ({"type": "echo", "id": "1"}, None, "“id” is a str"),
        ({"type": "echo", "id": True}, None, "“id” is a bool"),
        ({"type": "echo", "id": 1.0}, None, "“id” is a float"),
        ({"type": "echo", "id": [1]}, None, "“id” is a list"),
        ({"type": "echo", "id": -1}, None, "between"),
        ({"type": "echo", "id": 2**53}, None, "between"),
        ({"id": 5}, 5, "“type” is missing"),
        ({"type": 3, "id": 5}, 5, "“type” is a int"),
        ({"type": "", "id": 5}, 5, "no request “”"),
        ({"type": "unheard_of", "id": 5}, 5, "no request “unheard_of”"),
        ({"type": "echo", "id": 5, "preview": 1}, 5, "“preview” is a int"),
        ({"type": "echo", "id": 5, "preview": True}, 5, "“preview_group” is missing"),
        ({"type": "echo", "id": 5, "preview": True, "preview_group": 1}, 5, "“preview_group” is a int"),
    ],
)
def test_request_with_a_bad_field_is_answered_and_the_engine_goes_on(engine, fields, answered_id, text):
    engine.send(fields)
    error = engine.receive("error", "result").fields
    assert (error["type"], error["id"], error["error"]) == ("error", answered_id, "ProtocolError")
    assert text in error["text"]
    engine.send({"type": "echo", "id": 5, "value": "alive"})
    assert engine.receive("error", "result").fields["echo"] == "alive"


def test_id_of_an_unanswered_request_is_refused_without_touching_that_one(engine, make_gate):
    gate = make_gate()
    engine.send({"type": "work", "id": 1, "gates": [gate.port]})
    gate.wait_until_reached()
    engine.send({"type": "echo", "id": 2})
    for number in (1, 2):
        engine.send({"type": "echo", "id": number})
        error = engine.receive("error", "result").fields
        assert (error["type"], error["id"]) == ("error", None)
        assert f"The id {number} belongs" in error["text"]
    gate.open()
    assert [engine.receive("error", "result").fields["id"] for _ in range(2)] == [1, 2]
    engine.send({"type": "echo", "id": 1, "value": "free again"})
    assert engine.receive("error", "result").fields["echo"] == "free again"


def test_cancel_of_an_unknown_id_changes_nothing(engine):
    engine.send({"type": "cancel", "id": 99})
    engine.send({"type": "echo", "id": 99, "value": 1})
    assert engine.receive("error", "result", "cancelled").fields["echo"] == 1


def test_too_many_waiting_requests_are_refused(make_gate):
    gate = make_gate()
    with RawEngine() as engine:
        engine.send({"type": "work", "id": 0, "gates": [gate.port]})
        gate.wait_until_reached()
        for number in range(1, 1027):
            engine.send({"type": "echo", "id": number})
        refused = [engine.receive("error").fields for _ in range(2)]
        assert [error["id"] for error in refused] == [1025, 1026]
        assert refused[0]["error"] == "EngineError"
        assert "1024 requests wait" in refused[0]["text"]
        gate.open()
        assert [engine.receive("result", "error").fields["id"] for _ in range(1025)] == list(range(1025))


def test_end_of_input_ends_a_busy_engine_at_once(make_gate):
    gate = make_gate()
    with RawEngine() as engine:
        engine.send({"type": "work", "id": 1, "gates": [gate.port]})
        gate.wait_until_reached()
        engine.end_input()
        assert engine.wait() == EXIT_OK
        gate.wait_until_gone()
        assert "result" not in [message.fields["type"] for message in engine.receive_rest()]


def test_end_of_input_ends_an_engine_that_imports(make_gate):
    gate = make_gate()
    with RawEngine({"FAKE_ENGINE_LOAD": f"gate:{gate.port}"}) as engine:
        engine.send({"type": "hello", "id": 1})
        gate.wait_until_reached()
        engine.end_input()
        assert engine.wait() == EXIT_OK


@pytest.mark.parametrize(
    "raw",
    [
        b"this is no message at all, but long enough to be looked at",
        PREFIX.pack(MAGIC, 2**31, 0),
        PREFIX.pack(MAGIC, 2, 2**60) + b"{}",
    ],
    ids=["magic", "header", "payload"],
)
def test_damaged_framing_is_answered_and_ends_even_a_busy_engine(raw, make_gate):
    gate = make_gate()
    with RawEngine() as engine:
        engine.send({"type": "work", "id": 1, "gates": [gate.port]})
        gate.wait_until_reached()
        engine.send_bytes(raw)
        error = engine.receive("error").fields
        assert (error["id"], error["error"]) == (None, "ProtocolError")
        assert engine.receive() is None
        assert engine.wait() == EXIT_FRAMING


@pytest.mark.parametrize("length", [1, PREFIX.size - 1, PREFIX.size, PREFIX.size + 5, -1])
def test_truncated_message_is_answered_and_ends_the_engine(length):
    with RawEngine() as engine:
        engine.send_bytes(frame({"type": "echo", "id": 1}, {"a": np.arange(100)})[:length])
        engine.end_input()
        (error,) = engine.receive_rest()
        assert "ended in the middle of a message" in error.fields["text"]
        assert engine.wait() == EXIT_FRAMING


def test_engine_whose_answers_nobody_reads_ends():
    command = fake_engine_command()
    answers, end_of_engine = os.pipe()
    with subprocess.Popen(
        command.arguments, env=command.environment, stdin=subprocess.PIPE, stdout=end_of_engine, bufsize=0
    ) as process:
        os.close(end_of_engine)
        os.close(answers)
        process.stdin.write(frame({"type": "hello", "id": 1}))
        assert process.wait(PATIENCE_S) == EXIT_OK


def test_heartbeat_names_what_runs_and_how_long(make_gate):
    gate = make_gate()
    with RawEngine(options=FAST_HEARTBEAT) as engine:
        engine.send({"type": "work", "id": 7, "gates": [gate.port]})
        engine.send({"type": "echo", "id": 8})
        gate.wait_until_reached()
        first = engine.receive("heartbeat").fields
        while first["running"]["type"] == "import" or first["waiting"] == 0:
            first = engine.receive("heartbeat").fields
        second = engine.receive("heartbeat").fields
        assert (first["running"]["id"], first["running"]["type"], first["waiting"]) == (7, "work", 1)
        assert second["running"]["seconds"] > first["running"]["seconds"]
        gate.open()
        assert [engine.receive("result").fields["id"] for _ in range(2)] == [7, 8]


def test_idle_engine_says_so_and_ends_when_the_pipe_closes():
    with RawEngine(options=("--heartbeat", "0.02", "--idle-timeout", "0.1")) as engine:
        engine.send({"type": "echo", "id": 1})
        assert engine.receive("result", "idle").fields["type"] == "result"
        assert engine.receive("result", "idle").fields == {"type": "idle"}
        engine.send({"type": "echo", "id": 2})
        assert engine.receive("result", "idle").fields["id"] == 2
        assert engine.receive("result", "idle").fields == {"type": "idle"}
        engine.end_input()
        assert engine.wait() == EXIT_OK


def test_busy_engine_is_not_idle(make_gate):
    gate = make_gate()
    with RawEngine(options=("--heartbeat", "0.02", "--idle-timeout", "0.04")) as engine:
        engine.send({"type": "work", "id": 1, "gates": [gate.port]})
        gate.wait_until_reached()
        for _ in range(10):
            assert engine.receive("heartbeat", "idle").fields["type"] == "heartbeat"
        gate.open()
        assert engine.receive("result", "idle").fields["type"] == "result"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that die, hang or never start, by the real signal; and what the client makes of it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gates import PATIENCE_S
from raw_engine import FAST_HEARTBEAT, fake_engine_command

from geo_sam2 import errors
from geo_sam2.runtime import engine_client, engine_process
from geo_sam2.runtime.engine_client import EngineState

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

REPOSITORY = Path(__file__).resolve().parents[2]


def answer(future):
    return future.result(PATIENCE_S)


def error_of(future):
    error = future.exception(PATIENCE_S)
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("fields", "text", "hint"),
    [
        ({"how": "kill"}, "SIGKILL, probably because the computer ran out of memory", "Close other programs"),
        ({"how": "abort"}, "was ended by SIGABRT", "log"),
        ({"how": "segfault"}, "was ended by SIGSEGV", "log"),
        ({"how": "exit", "code": 0}, "exit code 0", "log"),
        ({"how": "exit", "code": 1}, "exit code 1", "log"),
    ],
    ids=str,
)
def test_death_fails_all_pending_requests_with_its_cause_and_the_next_starts_again(
    make_client, make_gate, fields, text, hint
):
    client, gate = make_client(), make_gate()
    pid = answer(client.start()).fields["pid"]
    dying = client.request({"type": "die", "gate": gate.port, **fields})
    gate.wait_until_reached()
    pending = [dying, client.request({"type": "work", "gates": []}), client.request({"type": "click"})]
    gate.open()
    for future in pending:
        error = error_of(future)
        assert type(error) is errors.EngineDiedError
        assert text in error.text
        assert hint in error.hint
        assert "The next request starts it again." in error.hint
        assert "last words of the engine" in error.details
    assert len({id(error_of(future)) for future in pending}) == 3
    # a new process, in which nothing of the old one was repeated
    again = client.request({"type": "work", "gates": []})
    assert answer(again).fields["events"] == [
        f"work {again.request_id} {what}" for what in ("begins", "ends")
    ]
    assert answer(client.request({"type": "describe"})).fields["pid"] != pid


def test_crash_leaves_the_python_stack_in_the_details_and_the_log(make_client, tmp_path):
    client = make_client()
    answer(client.start())
    error = error_of(client.request({"type": "die", "how": "segfault"}))
    assert "in die" in error.details
    assert "in die" in (tmp_path / "engine.log").read_text()


def test_death_from_outside_is_noticed_by_the_next_request(make_client):
    states = queue.Queue()
    client = make_client(on_state=states.put)
    pid = answer(client.start()).fields["pid"]
    os.kill(pid, signal.SIGKILL)
    while states.get(timeout=PATIENCE_S) is not EngineState.STOPPED:
        pass
    assert answer(client.request({"type": "describe"})).fields["pid"] != pid


def test_two_deaths_in_a_short_time_stop_the_restarts_until_they_are_allowed(make_client):
    client = make_client(death_window_s=1e9)
    first, second = (error_of(client.request({"type": "die", "how": "kill"})) for _ in range(2))
    assert "The next request starts it again." in first.hint
    assert "not started again by itself" in second.hint
    assert client.state is EngineState.FAILED
    refused = client.request({"type": "echo"})
    assert refused.done()
    error = error_of(refused)
    assert type(error) is errors.EngineDiedError
    assert (error.text, error.hint) == (second.text, second.hint)
    assert "last words of the engine" in error.details
    client.allow_restart()
    assert answer(client.request({"type": "echo"})).is_done
    assert error_of(client.request({"type": "die", "how": "kill"})).hint == first.hint


def test_explicit_start_works_after_two_deaths(make_client):
    client = make_client(death_window_s=1e9)
    for _ in range(2):
        error_of(client.request({"type": "die", "how": "kill"}))
    assert answer(client.start()).is_done


def test_deaths_far_apart_do_not_stop_the_restarts(make_client):
    client = make_client(death_window_s=0.0)
    for _ in range(3):
        assert type(error_of(client.request({"type": "die", "how": "kill"}))) is errors.EngineDiedError
    assert answer(client.request({"type": "echo"})).is_done


def test_silent_engine_is_ended(make_client):
    client = make_client(silence_timeout_s=1.0)
    pid = answer(client.request({"type": "describe"})).fields["pid"]  # it is ready then
    pending = [client.request({"type": "stop_self"}), client.request({"type": "echo"})]
    for future in pending:
        error = error_of(future)
        assert type(error) is errors.EngineTimeoutError
        assert "no sign of life" in error.text
    assert answer(client.request({"type": "describe"})).fields["pid"] != pid


def test_silence_without_requests_is_no_reason(make_client, monkeypatch):
    client = make_client(silence_timeout_s=1.0)
    pid = answer(client.request({"type": "describe"})).fields["pid"]
    steps = queue.Queue()

    def bytes_read(process):
        steps.put(None)
        return process._reader.bytes_read

    monkeypatch.setattr(engine_process.EngineProcess, "bytes_read", property(bytes_read))
    for _ in range(9):  # the watch reads it once in each of its four steps per timeout
        steps.get(timeout=PATIENCE_S)
    assert answer(client.request({"type": "describe"})).fields["pid"] == pid


def test_busy_engine_is_not_taken_for_a_silent_one(make_client, make_gate):
    heartbeats = queue.Queue()
    gate = make_gate()
    client = make_client(
        fake_engine_command(options=FAST_HEARTBEAT), silence_timeout_s=1.0, on_heartbeat=heartbeats.put
    )
    work = client.request({"type": "work", "gates": [gate.port]})
    gate.wait_until_reached()
    while (heartbeat := heartbeats.get(timeout=PATIENCE_S))["running"]["type"] != "work" or (
        heartbeat["running"]["seconds"] < 2.5
    ):
        pass
    gate.open()
    assert answer(work).is_done


def test_long_import_is_not_taken_for_silence(make_client, make_gate):
    heartbeats = queue.Queue()
    gate = make_gate()
    command = fake_engine_command({"FAKE_ENGINE_LOAD": f"gate:{gate.port}"}, FAST_HEARTBEAT)
    client = make_client(command, silence_timeout_s=1.0, on_heartbeat=heartbeats.put)
    future = client.request({"type": "echo"})
    gate.wait_until_reached()
    while heartbeats.get(timeout=PATIENCE_S)["running"]["seconds"] < 2.5:
        pass
    assert client.state is EngineState.LOADING
    gate.open()
    assert answer(future).is_done


def script_command(code, *arguments):
    """Return a command that runs a line of Python in place of the launcher."""
    return replace(fake_engine_command(), arguments=(sys.executable, "-c", code, *arguments))


def test_engine_that_never_says_hello_is_ended(make_client):
    client = make_client(script_command("import sys; sys.stdin.read()"), start_timeout_s=0.4)
    error = error_of(client.request({"type": "echo"}))
    assert type(error) is errors.EngineTimeoutError
    assert "did not start" in error.text


def test_missing_interpreter_is_said_each_time_and_counts_for_no_death(make_client, tmp_path):
    command = replace(fake_engine_command(), arguments=(str(tmp_path / "python"),))
    client = make_client(command, death_window_s=1e9)
    for _ in range(3):
        error = error_of(client.request({"type": "echo"}))
        assert type(error) is errors.EnvironmentMissingError
        assert str(tmp_path / "python") in error.text
        assert "Repair" in error.hint
        assert client.state is EngineState.STOPPED


@pytest.mark.parametrize(
    ("code", "detail"),
    [("import no_such_module", "ModuleNotFoundError"), ("raise SystemExit('wrong Python')", "wrong Python")],
)
def test_broken_interpreter_is_said_with_what_it_printed(make_client, code, detail):
    client = make_client(script_command(code), death_window_s=1e9)
    for _ in range(3):
        error = error_of(client.request({"type": "echo"}))
        assert type(error) is errors.EnvironmentMissingError
        assert "exit code 1" in error.text
        assert detail in error.details


def test_broken_environment_is_said_to_each_request(make_client):
    client = make_client(fake_engine_command({"FAKE_ENGINE_LOAD": "fail"}))
    for _ in range(3):
        error = error_of(client.request({"type": "echo"}))
        assert type(error) is errors.EnvironmentMissingError
        assert "No module named 'torch'" in error.text


def test_engine_of_another_release_is_refused(make_client, make_gate, monkeypatch):
    never = make_gate()
    monkeypatch.setattr(engine_client, "PROTOCOL_VERSION", 2)
    client = make_client()
    error = error_of(client.request({"type": "work", "gates": [never.port]}))
    assert type(error) is errors.EngineError
    assert "does not fit" in error.text


@pytest.mark.skipif(sys.platform != "linux", reason="finds the pipe in /proc")
def test_engine_that_sends_rubbish_is_ended(make_client):
    client = make_client()
    pid = answer(client.start()).fields["pid"]
    error = error_of(client.request({"type": "scribble"}))
    assert type(error) is errors.ProtocolError
    assert "cannot be read" in error.text
    assert answer(client.request({"type": "describe"})).fields["pid"] != pid


ANSWER = (
    "import struct, sys; raw = sys.argv[1].encode();"
    "sys.stdout.buffer.write(struct.pack('<4sIQ', b'GS2\\n', len(raw), 0) + raw); sys.stdout.flush();"
    "sys.stdin.read()"
)


@pytest.mark.parametrize(
    "header",
    [
        "nonsense",
        '{"fields": {}, "arrays": []}',
        '{"fields": {"type": []}, "arrays": []}',
        '{"fields": {"type": "result", "id": []}, "arrays": []}',
        '{"fields": {"type": "error", "id": 1}, "arrays": []}',
        '{"fields": {"type": "progress", "id": 1}, "arrays": []}',
        '{"fields": {"type": "progress", "id": 1, "done": "1", "total": 1, "text": ""}, "arrays": []}',
    ],
)
def test_engine_that_sends_senseless_messages_is_ended(make_client, header):
    client = make_client(script_command(ANSWER, header))
    assert type(error_of(client.request({"type": "echo"}))) is errors.ProtocolError


def test_message_that_the_engine_could_not_attribute_fails_what_is_pending(make_client):
    refusal = {
        "type": "error",
        "id": None,
        "error": "ProtocolError",
        "text": "What?",
        "hint": "",
        "details": "d",
    }
    client = make_client(script_command(ANSWER, json.dumps({"fields": refusal, "arrays": []})))
    error = error_of(client.request({"type": "echo"}))
    assert (type(error), error.text, error.details) == (errors.ProtocolError, "What?", "d")


def test_closing_ends_even_a_stopped_engine(make_client):
    client = make_client()
    pid = answer(client.start()).fields["pid"]
    os.kill(pid, signal.SIGSTOP)
    client.close(timeout_s=0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


PARENT = """
import os, socket, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from raw_engine import fake_engine_command
from geo_sam2.runtime.engine_client import EngineClient
client = EngineClient(fake_engine_command(options=("--heartbeat", "0.05")), Path(sys.argv[3]))
client.start().result()
gate, gate_of_fork = int(sys.argv[4]), int(sys.argv[5])
if gate_of_fork and os.fork() == 0:
    with socket.create_connection(("127.0.0.1", gate_of_fork)) as connection:
        connection.recv(1)
    os._exit(0)
client.request({"type": "work", "gates": [gate]})
sys.stdin.read()
"""


def start_parent(log_path, gate, gate_of_fork=None):
    """Start a process that uses the client and has a busy engine; it ends when its input does."""
    ports = (str(gate.port), str(gate_of_fork.port) if gate_of_fork else "0")
    folders = (str(REPOSITORY), str(REPOSITORY / "tests" / "unit"))
    command = [sys.executable, "-c", PARENT, *folders, str(log_path), *ports]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def test_engine_ends_when_its_parent_is_killed(make_gate, tmp_path):
    gate = make_gate()
    with start_parent(tmp_path / "engine.log", gate) as parent:
        gate.wait_until_reached()
        parent.kill()
    gate.wait_until_gone()


def test_engine_ends_when_its_parent_is_killed_and_a_fork_still_holds_the_pipes(make_gate, tmp_path):
    gate, gate_of_fork = make_gate(), make_gate()
    with start_parent(tmp_path / "engine.log", gate, gate_of_fork) as parent:
        gate_of_fork.wait_until_reached()
        gate.wait_until_reached()
        parent.kill()
    gate.wait_until_gone()
    gate_of_fork.open()


def test_engine_ends_when_its_parent_ends_without_closing_it(make_gate, tmp_path):
    gate = make_gate()
    with start_parent(tmp_path / "engine.log", gate) as parent:
        gate.wait_until_reached()
        parent.stdin.close()
        assert parent.wait(PATIENCE_S) == 0
    gate.wait_until_gone()

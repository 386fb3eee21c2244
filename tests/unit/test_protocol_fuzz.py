# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged bytes, drawn with a seed: refused with an error on either side, and never a hang."""

from __future__ import annotations

import io
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
from gates import PATIENCE_S
from raw_engine import RawEngine, fake_engine_command, frame

from geo_sam2.engine.process_exit import EXIT_FRAMING, EXIT_OK
from geo_sam2.engine.protocol import MAGIC, PREFIX, FramingError, MessageReader
from geo_sam2.errors import GeoSam2Error, ProtocolError

VALID = [
    frame({"type": "hello", "id": 1}),
    frame(
        {"type": "echo", "id": 2, "value": {"a": [1, 2.5, None, "ü"]}}, {"x": np.arange(20, dtype=np.float32)}
    ),
    frame({"type": "click", "id": 3, "preview": True, "preview_group": "g"}, {"b": np.array([True, False])}),
    frame({"type": "cancel", "id": 2}),
    frame({"type": "report", "id": 4, "count": 2}, {"m": np.zeros((2, 0, 3)), "n": np.uint8([1, 2])}),
]
TOKENS = [
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"[" * 50,
    b"{}",
    b'"',
    b"\xff",
    b"\\ud800",
    b"9" * 30,
    MAGIC,
    b"",
]


def flip_bytes(source, raw):
    for _ in range(source.randint(1, 4)):
        raw[source.randrange(len(raw))] = source.randrange(256)


def insert_token(source, raw):
    place = source.randrange(PREFIX.size, len(raw) + 1)
    raw[place:place] = source.choice(TOKENS)


def replace_part(source, raw):
    place = source.randrange(len(raw))
    raw[place : place + source.randint(1, 12)] = source.choice(TOKENS)


def truncate(source, raw):
    del raw[source.randrange(len(raw)) :]


def change_header(source, raw):
    """Damage the header and announce its new length, so that the damage reaches the JSON reader."""
    _, header_bytes, payload_bytes = PREFIX.unpack(raw[: PREFIX.size])
    header = bytearray(raw[PREFIX.size : PREFIX.size + header_bytes])
    payload = raw[PREFIX.size + header_bytes :]
    place = source.randrange(len(header))
    header[place : place + source.randint(0, 3)] = source.choice(TOKENS)
    raw[:] = PREFIX.pack(MAGIC, len(header), payload_bytes) + header + payload


def change_lengths(source, raw):
    magic, header_bytes, payload_bytes = PREFIX.unpack(raw[: PREFIX.size])
    lengths = [0, 1, header_bytes + 1, 2**16, 2**22, 2**22 + 1, 2**32 - 1]
    payloads = [0, 1, payload_bytes + 1, 2**28, 2**28 + 1, 2**64 - 1, payload_bytes]
    raw[: PREFIX.size] = PREFIX.pack(magic, source.choice(lengths), source.choice(payloads))


def noise(source, raw):
    raw[:] = source.randbytes(source.randint(1, 200))


DAMAGES = [flip_bytes, insert_token, replace_part, truncate, change_header, change_lengths, noise]


def damaged(source):
    raw = bytearray(source.choice(VALID))
    source.choice(DAMAGES)(source, raw)
    return bytes(raw)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_reader_ends_with_a_message_an_error_or_the_end(damage):
    source = random.Random(damage.__name__)  # noqa: S311
    outcomes = set()
    for _ in range(1500):
        raw = bytearray(source.choice(VALID))
        damage(source, raw)
        reader = MessageReader(io.BytesIO(bytes(raw) + VALID[0]))
        while True:
            try:
                message = reader.read()
            except FramingError:
                outcomes.add("framing")
                break
            except ProtocolError:
                outcomes.add("refused")
            else:
                if message is None:
                    break
                outcomes.add("message")
    assert outcomes >= ({"framing"} if damage in (noise, truncate) else {"framing", "refused"}) - (
        {"framing"} if damage is change_header else set()
    )


@pytest.mark.parametrize("seed", range(12))
def test_engine_answers_or_ends_but_never_hangs(seed):
    source = random.Random(seed)  # noqa: S311
    with RawEngine() as engine:
        engine.send({"type": "hello", "id": 2**40})
        try:
            for _ in range(20):
                engine.send_bytes(damaged(source))
            engine.end_input()
        except BrokenPipeError:
            pass  # it ended at the first message after which it could not read on
        messages = engine.receive_rest()
        assert engine.wait() in (EXIT_OK, EXIT_FRAMING)
        assert messages[0].fields["id"] == 2**40
        if engine.process.returncode == EXIT_FRAMING:
            assert messages[-1].fields["type"] == "error"
            assert messages[-1].fields["id"] is None
        assert b"has a fault" not in engine.log


@pytest.mark.parametrize("seed", range(4))
def test_engine_serves_on_after_damaged_headers(seed):
    source = random.Random(seed)  # noqa: S311
    with RawEngine() as engine:
        for number in range(60):
            raw = bytearray(source.choice(VALID))
            change_header(source, raw)
            engine.send_bytes(raw)
            engine.send({"type": "hello", "id": 2**40 + number})
            while engine.receive("result", "error", "cancelled", "superseded").fields["id"] != 2**40 + number:
                pass
        engine.end_input()
        assert engine.wait() == EXIT_OK


ANSWERS = [
    frame({"type": "result", "id": 2, "protocol": 1}),
    frame({"type": "result", "id": 1, "echo": 1}, {"x": np.arange(20, dtype=np.float32)}),
    frame({"type": "error", "id": 1, "error": "PromptError", "text": "t", "hint": "h", "details": "d"}),
    frame({"type": "progress", "id": 1, "done": 1, "total": 2, "text": ""}),
    frame({"type": "part", "id": 1, "step": 1}, {"m": np.zeros((2, 0, 3))}),
    frame({"type": "ready", "operations": ["echo"], "seconds": 0.1}),
    frame({"type": "heartbeat", "running": {"id": 1, "type": "echo", "seconds": 2.0}, "waiting": 0}),
]
# Prints a file and then lives on, silent, until its input ends.
PRINT = (
    "import sys; from pathlib import Path; sys.stdout.buffer.write(Path(sys.argv[1]).read_bytes()); "
    "sys.stdout.flush(); sys.stdin.read()"
)


@pytest.mark.parametrize("seed", range(12))
def test_client_of_a_damaged_engine_gets_an_answer_or_an_error(make_client, tmp_path, seed):
    source = random.Random(seed)  # noqa: S311
    frames = [bytearray(raw) for raw in source.sample(ANSWERS, 2)]
    source.choice(DAMAGES)(source, source.choice(frames))
    (tmp_path / "answers").write_bytes(b"".join(frames))
    command = replace(
        fake_engine_command(), arguments=(sys.executable, "-c", PRINT, str(tmp_path / "answers"))
    )
    client = make_client(command, start_timeout_s=0.5, silence_timeout_s=0.5)
    error = client.request({"type": "echo"}).exception(PATIENCE_S)
    assert error is None or isinstance(error, GeoSam2Error)

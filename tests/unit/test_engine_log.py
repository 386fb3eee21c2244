# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's log is bounded, kept, and never in the way."""

from __future__ import annotations

import io
import threading

import pytest

from geo_sam2.runtime.engine_log import TAIL_BYTES, EngineLog


def test_log_keeps_earlier_starts_and_its_tail_does_not(tmp_path):
    log = EngineLog(tmp_path / "logs" / "engine.log")
    log.begin("first start")
    log.write(b"first\n")
    assert log.tail() == "first\n"
    log.begin("second start")
    assert log.tail() == ""
    log.write(b"second\n")
    assert log.tail() == "second\n"
    text = log.path.read_text()
    assert [word for word in text.split() if word in ("first", "second")] == [
        "first",
        "first",
        "second",
        "second",
    ]


def test_full_file_moves_aside_and_both_stay_within_the_bound(tmp_path):
    log = EngineLog(tmp_path / "engine.log", max_file_bytes=1000)
    for number in range(300):
        log.write(b"%06d\n" % number)
        for path in tmp_path.iterdir():
            assert path.stat().st_size <= 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.log", "engine.log.1"]
    kept = (tmp_path / "engine.log.1").read_text() + log.path.read_text()
    assert kept.splitlines()[-142:] == [f"{number:06d}" for number in range(158, 300)]


def test_file_that_cannot_be_moved_aside_begins_anew(tmp_path):
    log = EngineLog(tmp_path / "engine.log", max_file_bytes=100)
    (tmp_path / "engine.log.1" / "in the way").mkdir(parents=True)
    for _ in range(30):
        log.write(b"some line\n")
    assert 0 < log.path.stat().st_size <= 100


def test_log_that_cannot_be_written_still_has_a_tail(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    log = EngineLog(tmp_path / "file" / "engine.log")
    log.begin("start")
    log.write(b"a line\n")
    assert log.tail() == "a line\n"


@pytest.mark.parametrize(
    ("printed", "tail"),
    [
        (b"", ""),
        (b"no line feed", "no line feed"),
        (b"caf\xe9 \xff\n", "caf\ufffd \ufffd\n"),
        (b"Windows\r\nlines\r\n", "Windows\nlines\n"),
        (b"x" * 20_000, "x" * TAIL_BYTES),
        (b"first line\n" + b"x" * (TAIL_BYTES - 6) + b"\nlast\n", "last\n"),
    ],
)
def test_tail_is_bounded_readable_and_begins_with_a_whole_line(tmp_path, printed, tail):
    log = EngineLog(tmp_path / "engine.log")
    log.write(printed)
    assert log.tail() == tail


def test_stream_is_copied_to_its_end(tmp_path):
    log = EngineLog(tmp_path / "engine.log")
    log.copy_from(io.BytesIO(b"line\n" * 50_000))
    assert log.path.read_bytes() == b"line\n" * 50_000


def test_threads_do_not_tear_each_others_lines(tmp_path):
    log = EngineLog(tmp_path / "engine.log")
    threads = [
        threading.Thread(target=lambda c=c: [log.write(c * 30 + b"\n") for _ in range(50)])
        for c in (b"a", b"b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(log.path.read_bytes().split())) == [b"a" * 30, b"b" * 30]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Remaining time and what a person reads of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from geo_sam2.encoder.encode_report import EncodeReport, result_lines
from geo_sam2.encoder.encode_request import EncodePlan, EncodeResult
from geo_sam2.encoder.progress import EncodeProgress, Pace, duration_text, size_text


def test_nothing_is_known_before_the_second_step():
    pace = Pace()
    assert pace.seconds_left(10) is None
    pace.note(100.0, 1)
    assert pace.seconds_left(10) is None


def test_rest_takes_as_long_as_what_was_done():
    pace = Pace()
    pace.note(100.0, 1)
    pace.note(102.0, 2)
    assert pace.seconds_left(10) == pytest.approx(16.0)
    pace.note(106.0, 4)
    assert pace.seconds_left(10) == pytest.approx(12.0)


def test_pace_forgets_what_was_long_ago():
    pace = Pace(memory=2)
    for done, now_s in ((1, 100.0), (2, 200.0), (3, 201.0), (4, 202.0)):
        pace.note(now_s, done)
    assert pace.seconds_left(14) == pytest.approx(10.0)


def test_steps_that_come_together_count_as_many():
    pace = Pace()
    pace.note(0.0, 1)
    pace.note(4.0, 5)
    pace.note(4.0, 5)
    assert pace.seconds_left(9) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (90, "90 s"), (120, "2 min"), (5400, "90 min"), (7200, "2 h"), (400000, "5 days")],
)
def test_duration_is_told_in_a_fitting_unit(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(1500, "2 kB"), (8.4e6, "8.4 MB"), (3e9, "3.0 GB"), (2e12, "2.0 TB")]
)
def test_size_is_told_in_a_fitting_unit(count, text):
    assert size_text(count) == text


class _Feedback:
    def __init__(self):
        self.lines, self.warnings, self.texts, self.percent = [], [], [], []

    def pushInfo(self, text):
        self.lines.append(text)

    def pushWarning(self, text):
        self.warnings.append(text)

    def setProgress(self, percent):
        self.percent.append(percent)

    def setProgressText(self, text):
        self.texts.append(text)


def plan(**changes):
    values = {
        "folder": Path("/data/lake.tiny.geosam2"),
        "model_id": "tiny",
        "device": "CPU",
        "precision": "bf16",
        "selected": 12,
        "to_encode": 10,
        "bytes_needed": 84_000_000,
        "bytes_free": 10**12,
        "is_new": True,
    }
    return EncodePlan(**{**values, **changes})


def test_tiles_and_bytes_are_told_before_the_first_tile():
    feedback = _Feedback()
    EncodeReport(feedback, lambda: 0.0).planned(plan())
    assert feedback.lines[-1] == (
        "10 tiles to encode, 2 of 12 are in the store already: up to 84.0 MB on disk, 1.0 TB are free."
    )
    assert not feedback.warnings


def test_disk_that_may_become_full_is_warned_of():
    feedback = _Feedback()
    EncodeReport(feedback, lambda: 0.0).planned(plan(bytes_free=10**6))
    assert "The disk may become full" in feedback.warnings[0]


def test_complete_store_is_said_to_be_complete():
    feedback = _Feedback()
    EncodeReport(feedback, lambda: 0.0).planned(plan(to_encode=0, bytes_needed=0))
    assert feedback.lines[-1] == "All 12 tiles are in the store already."


def test_time_is_told_as_soon_as_it_is_known_and_the_log_is_not_flooded():
    feedback = _Feedback()
    clock = iter(range(1000))
    report = EncodeReport(feedback, lambda: float(next(clock)))
    report.progressed(EncodeProgress(0, 100, None))
    report.progressed(EncodeProgress(1, 100, None))
    for done in range(2, 101):
        report.progressed(EncodeProgress(done, 100, 2.0 * (100 - done)))
    assert feedback.texts[:3] == [
        "Encoding the first tile",
        "Tile 2 of 100, about 3 min left",
        "Tile 7 of 100, about 3 min left",
    ]
    assert len(feedback.texts) == 21
    assert feedback.percent[-1] == 100.0
    assert len(feedback.percent) == 101
    assert not feedback.lines


def test_waiting_for_another_job_is_said_once():
    feedback = _Feedback()
    report = EncodeReport(feedback, lambda: 0.0)
    report.waiting(None)
    report.waiting(EncodeProgress(1, 2, 3.0))
    assert len(feedback.lines) == 1
    assert feedback.percent == [50.0]


def test_cancelled_run_says_what_is_left():
    result = EncodeResult(
        Path("/data/s"), 9, 3, 1, 0, 2, 3, 4.2, {}, is_partial=True, is_cancelled=True, problems=("Bad.",)
    )
    assert list(result_lines(result)) == [
        "Bad.",
        "3 tiles encoded in 4 s, 1 without valid pixels, 2 in the store already.",
        "Cancelled: 3 tiles are left. The same run again goes on from here.",
        "The store is partial; what is in it can be used.",
    ]

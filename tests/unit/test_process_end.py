# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit codes in words."""

from __future__ import annotations

import pytest

from geo_sam2.engine.process_exit import EXIT_FAULT, EXIT_FRAMING
from geo_sam2.runtime.process_end import describe_end

MEMORY = "probably because the computer ran out of memory"


@pytest.mark.parametrize(
    ("platform", "exit_code", "sentence"),
    [
        ("linux", 0, "The engine ended with exit code 0."),
        ("linux", 1, "The engine ended with exit code 1."),
        (
            "linux",
            EXIT_FRAMING,
            "The engine ended with exit code 3, because it could not read what it was sent.",
        ),
        ("linux", EXIT_FAULT, "The engine ended with exit code 70, because of a fault of its own."),
        ("linux", -9, f"The engine was ended by SIGKILL, {MEMORY}."),
        ("linux", 137, f"The engine was ended by SIGKILL, {MEMORY}."),
        ("linux", -11, "The engine was ended by SIGSEGV."),
        ("darwin", -6, "The engine was ended by SIGABRT."),
        ("linux", -15, "The engine was ended by SIGTERM, because it was told to end."),
        (
            "linux",
            -4,
            "The engine was ended by SIGILL, because this processor lacks an instruction that PyTorch uses.",
        ),
        ("linux", 255, "The engine ended with exit code 255."),
        ("linux", -200, "The engine ended with exit code -200."),
        ("win32", 1, "The engine ended with exit code 1."),
        ("win32", 137, "The engine ended with exit code 137."),
        (
            "win32",
            EXIT_FRAMING,
            "The engine ended with exit code 3, because it could not read what it was sent.",
        ),
        ("win32", 0xC0000005, "The engine ended with code 0xC0000005, because of an access violation."),
        (
            "win32",
            0xC0000005 - 2**32,
            "The engine ended with code 0xC0000005, because of an access violation.",
        ),
        ("win32", 0xC0000135, "The engine ended with code 0xC0000135, because a DLL is missing."),
        ("win32", 0xC0000017, f"The engine ended with code 0xC0000017, {MEMORY}."),
        ("win32", 0xC0FFEE00, "The engine ended with code 0xC0FFEE00."),
    ],
)
def test_end_is_told_in_a_sentence(platform, exit_code, sentence):
    assert describe_end(exit_code, platform)[0] == sentence


@pytest.mark.parametrize(
    ("platform", "exit_code", "hint"),
    [
        ("linux", -9, "smaller model"),
        ("linux", -11, "log"),
        ("linux", -4, "Repair"),
        ("linux", 1, "log"),
        ("win32", 0xC0000135, "Repair"),
        ("win32", 0xC0000005, "log"),
        ("win32", EXIT_FAULT, "report"),
    ],
)
def test_hint_says_what_to_do(platform, exit_code, hint):
    assert hint in describe_end(exit_code, platform)[1]

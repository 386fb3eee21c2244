# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine is, told by the machine, and what is refused before any download."""

from __future__ import annotations

import platform
import sys

import pytest

from geo_sam2.errors import InstallError
from geo_sam2.runtime.machine import Machine, detect, refuse_unsupported, windows_architecture


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PROCESSOR_ARCHITECTURE": "AMD64"}, "x86_64"),
        ({"PROCESSOR_ARCHITECTURE": "x86", "PROCESSOR_ARCHITEW6432": "AMD64"}, "x86_64"),
        ({"PROCESSOR_ARCHITECTURE": "ARM64"}, "aarch64"),
        (
            {
                "PROCESSOR_ARCHITECTURE": "AMD64",
                "PROCESSOR_IDENTIFIER": "ARMv8 (64-bit) Family 8 Model 1 Revision 201, Qualcomm",
            },
            "aarch64",
        ),
        (
            {
                "PROCESSOR_ARCHITECTURE": "AMD64",
                "PROCESSOR_IDENTIFIER": "Intel64 Family 6 Model 140 Stepping 1, GenuineIntel",
            },
            "x86_64",
        ),
        ({"PROCESSOR_ARCHITECTURE": "x86"}, "x86"),
        ({}, "x86_64"),
    ],
)
def test_windows_tells_the_machine_and_not_the_process(environ, expected):
    assert windows_architecture(environ) == expected


def test_mac_under_rosetta_is_apple_silicon(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1.2", ("", "", ""), "x86_64"))
    monkeypatch.setattr("geo_sam2.runtime.machine._sysctl_says_arm64", lambda: True)
    assert detect() == Machine("macos", "aarch64", (15, 1))
    monkeypatch.setattr("geo_sam2.runtime.machine._sysctl_says_arm64", lambda: False)
    assert detect() == Machine("macos", "x86_64", (15, 1))


def test_linux_asks_the_kernel(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert detect() == Machine("linux", "aarch64")


@pytest.mark.parametrize(
    "machine",
    [
        Machine("linux", "x86_64"),
        Machine("linux", "aarch64"),
        Machine("windows", "x86_64"),
        Machine("windows", "aarch64"),
        Machine("macos", "aarch64", (14, 0)),
        Machine("macos", "aarch64", (26, 1)),
        Machine("macos", "aarch64", (10, 16)),  # what a process of an old SDK is told
    ],
)
def test_machines_with_a_build_are_taken(machine):
    refuse_unsupported(machine)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine("macos", "x86_64", (14, 2)), "Intel processor"),
        (Machine("macos", "aarch64", (13, 6)), "macOS 13.6"),
        (Machine("linux", "armv7l"), "armv7l"),
        (Machine("windows", "x86"), "x86"),
    ],
)
def test_machines_without_a_build_are_refused_in_one_sentence(machine, words):
    with pytest.raises(InstallError) as caught:
        refuse_unsupported(machine)
    assert words in caught.value.text
    assert caught.value.hint

# SPDX-License-Identifier: GPL-3.0-or-later
"""The pins: exact, one version of each package per Python, and in step with uv's wheels."""

from __future__ import annotations

import re

import pytest

from geo_sam2.runtime import pins


def chosen_for(minor: int, platform: str) -> dict[str, str]:
    """Evaluate the few markers that pins use, as an installer would."""
    chosen: dict[str, str] = {}
    known = {
        "": True,
        "python_version < '3.11'": minor < 11,
        "python_version >= '3.11'": minor >= 11,
        "sys_platform == 'win32'": platform == "win32",
    }
    for pin in pins.WHEELS:
        if known[pin.marker]:
            assert pin.name not in chosen, f"{pin.name} twice for Python 3.{minor}"
            chosen[pin.name] = pin.version
    return chosen


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
@pytest.mark.parametrize("minor", range(pins.PYTHON_MIN[1], pins.PYTHON_MAX[1] + 1))
def test_each_python_gets_one_version_of_each_package(minor, platform):
    names = {
        pin.name for pin in pins.WHEELS if pin.marker != "sys_platform == 'win32'" or platform == "win32"
    }
    assert set(chosen_for(minor, platform)) == names


def test_requirement_carries_its_marker():
    assert pins.Pin("numpy", "2.2.6", "python_version < '3.11'").requirement == (
        "numpy==2.2.6 ; python_version < '3.11'"
    )
    assert pins.TORCH.requirement == f"torch=={pins.TORCH.version}"


def test_versions_are_exact():
    for pin in (pins.TORCH, pins.PIP, *pins.WHEELS, *pins.SDISTS):
        assert re.fullmatch(r"\d+(\.\d+)+", pin.version), pin


def test_uv_wheels_are_of_the_pinned_version_and_each_has_a_digest():
    assert {system for system, _ in pins.UV_WHEELS} == {"linux", "windows", "macos"}
    for wheel in pins.UV_WHEELS.values():
        assert wheel.name.startswith(f"uv-{pins.UV_VERSION}-py3-none-")
        assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)
    assert len({wheel.sha256 for wheel in pins.UV_WHEELS.values()}) == len(pins.UV_WHEELS)
    assert pins.UV_VERSION.startswith("{}.{}.".format(*pins.UV_SERIES))


def test_managed_python_is_within_the_range_of_the_wheels():
    minor = tuple(int(part) for part in pins.MANAGED_PYTHON.split(".")[:2])
    assert pins.PYTHON_MIN <= minor <= pins.PYTHON_MAX


def test_torchvision_is_left_out():
    assert not {"torchvision"} & {pin.name for pin in (*pins.WHEELS, *pins.SDISTS)}


def test_id_changes_with_any_pin(monkeypatch):
    before = pins.pins_id()
    assert pins.pins_id() == before
    monkeypatch.setattr(pins, "SDISTS", (*pins.SDISTS[:-1], pins.Pin("sam2", "1.1.1")))
    assert pins.pins_id() != before

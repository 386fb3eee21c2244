# SPDX-License-Identifier: GPL-3.0-or-later
"""Hovering over an encoded window: how smoothly QGIS goes on, and how many outlines are seen.

The pointer is moved by the X server, 60 times per second. The preview is switched on and off in turns, and
how long slots take is looked at in a turn of its own, since looking takes time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.dock_clicks import COUNT
from benchmarks.dock_desktop import INSIDE, Desk
from benchmarks.engine_process import clicks
from benchmarks.mosaic import WINDOW_PX
from benchmarks.timing import percentile
from tests.desktop.qgis_desktop import DesktopQgis

PER_SECOND, SECONDS = 60, 10
_ROUNDS = 2


def measure(desk: Desk, qgis: DesktopQgis, bare: Callable[[float, float], float]) -> dict[str, float]:
    """Move the pointer with the preview on, off and under observation."""
    desk.show_window(qgis, 0)
    places = _path(desk, qgis)
    _glide(qgis, places[: 2 * PER_SECOND])
    runs: dict[str, list[dict[str, Any]]] = {"on": [], "off": []}
    for _ in range(_ROUNDS):
        for name, is_on in (("on", True), ("off", False)):
            qgis.ask("dock:set_preview", is_on=is_on)
            qgis.ask(f"{INSIDE}:begin_pulse")
            taken_s = _glide(qgis, places)
            runs[name].append({**qgis.ask(f"{INSIDE}:end_pulse"), "seconds": taken_s})
    qgis.ask("dock:set_preview", is_on=True)
    qgis.ask(f"{INSIDE}:begin_slots")
    _glide(qgis, places)
    slots = qgis.ask(f"{INSIDE}:end_slots")
    slowest = max(slots, key=lambda name: slots[name])
    print(f"the slowest slot while hovering: {slowest}, {1000 * slots[slowest]:.1f} ms")
    assert not any(run["frames"] for run in runs["off"]), "outlines though the preview was off"
    bare_s = statistics.median(bare(x_px, y_px) for x_px, y_px in clicks(COUNT))
    frames_per_s = statistics.mean(len(run["frames"]) / run["seconds"] for run in runs["on"])
    moves_per_s = statistics.mean(len(places) / run["seconds"] for run in runs["on"])
    gaps = {name: [gap for run in members for gap in run["gaps"]] for name, members in runs.items()}
    return {
        "hover_gui_gap_ms_p99": 1000 * percentile(gaps["on"], 0.99),
        "hover_gui_gap_ms_max": 1000 * max(gaps["on"]),
        "hover_off_gui_gap_ms_p99": 1000 * percentile(gaps["off"], 0.99),
        "hover_off_gui_gap_ms_max": 1000 * max(gaps["off"]),
        "hover_slot_ms_max": 1000 * slots[slowest],
        "hover_frames_per_s": frames_per_s,
        "hover_moves_per_s": moves_per_s,
        # More outlines than moves nobody can ask for.
        "hover_efficiency": frames_per_s / min(moves_per_s, 1 / bare_s),
        "hover_queue_max": max(run["queue"] for run in runs["on"]),
    }


def _path(desk: Desk, qgis: DesktopQgis) -> list[list[int]]:
    """Return where the pointer goes on the screen: a loop that comes by everywhere, at the pace of a hand."""
    low, high = 0.1 * WINDOW_PX, 0.9 * WINDOW_PX
    left, top = qgis.on_map(*desk.on_map(low, low))
    right, bottom = qgis.on_map(*desk.on_map(high, high))
    places = []
    for step in range(PER_SECOND * SECONDS):
        turn = 2 * math.pi * step / (PER_SECOND * SECONDS)
        x, y = 0.5 + 0.5 * math.sin(3 * turn), 0.5 + 0.5 * math.sin(2 * turn + 0.7)
        places.append([round(left + x * (right - left)), round(top + y * (bottom - top))])
    return places


def _glide(qgis: DesktopQgis, places: list[list[int]]) -> float:
    return qgis.screen.glide(places, PER_SECOND)

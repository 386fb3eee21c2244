# SPDX-License-Identifier: GPL-3.0-or-later
"""From the click to the outline on the canvas, against the bare decode of the same click.

Warm: the engine has the tile prepared. Cold: it is encoded, but was not looked at since the engine's start.
Not encoded: it is encoded because of the click.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.dock_desktop import Desk, click_seconds
from benchmarks.engine_process import clicks
from benchmarks.mosaic import WINDOW_PX
from geo_sam2.engine.decode_objects import ObjectDecoder, ObjectRequest, TileReference
from geo_sam2.engine.outlines import OutlineOptions, outline_logits
from geo_sam2.engine.prompt_steps import read_steps
from geo_sam2.feature_store import FeatureStore
from tests.desktop.qgis_desktop import DesktopQgis

COUNT = 40
_WARM_UP = 4


def unencoded_seconds(desk: Desk, qgis: DesktopQgis) -> list[float]:
    """Click into one window after the other; encodes them, the first also starts the engine."""
    return [_click(desk, qgis, column, WINDOW_PX / 2, WINDOW_PX / 2) for column in range(desk.columns)]


def cold_seconds(desk: Desk, qgis: DesktopQgis) -> list[float]:
    """Click into one window after the other, in an engine that has none of them; the first one starts it."""
    return [_click(desk, qgis, column, WINDOW_PX / 2, WINDOW_PX / 2) for column in range(desk.columns)]


def warm_seconds(
    desk: Desk, qgis: DesktopQgis, bare: Callable[[float, float], float]
) -> dict[str, list[float]]:
    """Click at many places of the first window, each in turn with the bare decode of the same click."""
    desk.show_window(qgis, 0)
    seconds: dict[str, list[float]] = {"click": [], "bare": []}
    for number, (x_px, y_px) in enumerate(clicks(COUNT + _WARM_UP)):
        taken = click_seconds(qgis, *desk.on_map(x_px, y_px)), bare(x_px, y_px)
        if number >= _WARM_UP:
            seconds["click"].append(taken[0])
            seconds["bare"].append(taken[1])
    return seconds


def bare_decode(store_folder: Path) -> Callable[[float, float], float]:
    """Return what decodes and outlines a click in the first window in this process, and takes the time."""
    store = FeatureStore.open(store_folder)
    record = next(record for record in store.index.records() if record.window.xoff == 0)
    decoder = ObjectDecoder(store, torch.device("cpu"))
    reference = TileReference(record.window, record.file, record.crc32)
    options, grid = OutlineOptions(), decoder.grid(record.window)

    def run(x_px: float, y_px: float) -> float:
        started = time.perf_counter()
        item = ObjectRequest(reference, read_steps([{"points": [[x_px, y_px]], "labels": [1]}]))
        for _, candidates in decoder.decode([item], lambda: None):
            outline_logits(candidates.logits[candidates.best].numpy(), grid, options)
        return time.perf_counter() - started

    return run


def _click(desk: Desk, qgis: DesktopQgis, column: int, x_px: float, y_px: float) -> float:
    desk.show_window(qgis, column)
    return click_seconds(qgis, *desk.on_map(column * WINDOW_PX + x_px, y_px))


def figures(unencoded: list[float], cold: list[float], warm: dict[str, list[float]]) -> dict[str, float]:
    """Return the medians; without the first of those that start an engine."""
    overhead = [click - bare for click, bare in zip(warm["click"], warm["bare"])]
    return {
        "click_overhead_ms": 1000 * statistics.median(overhead),
        "click_warm_ms": 1000 * statistics.median(warm["click"]),
        "click_bare_decode_ms": 1000 * statistics.median(warm["bare"]),
        "click_cold_ms": 1000 * statistics.median(cold[1:]),
        "click_unencoded_s": statistics.median(unencoded[1:]),
        "click_first_of_all_s": unencoded[0],
    }

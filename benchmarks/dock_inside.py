# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks of the dock do inside QGIS: click, look when the outline is painted, feel the pulse.

Times are those of one clock, ``time.perf_counter``, from the press of a button until the outline has been
painted. Ignorant of how the dock does what it does, but for the items that paint outlines.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from qgis.core import QgsPointXY
from qgis.PyQt.QtCore import QPoint, Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.utils import iface

import geo_sam2

_PLUGIN = f"{Path(geo_sam2.__file__).parent}{os.sep}"
_frames: dict[str, list[float]] = {"hover": [], "object": []}
_new_shapes: set[int] = set()
_kinds = {60.0: "hover", 61.0: "object"}
_pulse: list[Any] = []
_click_s = [0.0]


def watch() -> None:
    """Note from now on when an outline that is new has been painted."""
    from geo_sam2.ui.outline_item import OutlineItem

    set_shape, paint = OutlineItem.set_shape, OutlineItem.paint

    def noted_set_shape(item: Any, geometry: Any) -> None:
        set_shape(item, geometry)
        (_new_shapes.add if item.isVisible() else _new_shapes.discard)(id(item))

    def noted_paint(item: Any, painter: Any, *more: Any) -> None:
        paint(item, painter, *more)
        if id(item) in _new_shapes:
            _new_shapes.discard(id(item))
            _frames[_kinds.get(item.zValue(), "object")].append(time.perf_counter())

    OutlineItem.set_shape, OutlineItem.paint = noted_set_shape, noted_paint


def click(x_map: float, y_map: float) -> None:
    """Click with the left button at a point of the map, in the CRS of the canvas."""
    viewport = iface.mapCanvas().viewport()
    at = _pixel(x_map, y_map)
    _frames["object"].clear()
    _click_s[0] = time.perf_counter()
    QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def seconds_to_outline() -> float:
    """Return how long it took from the click until the outline was painted; 0 while it is not."""
    return _frames["object"][0] - _click_s[0] if _frames["object"] else 0.0


def clear() -> None:
    """Clear the object with Esc."""
    QTest.keyClick(iface.mapCanvas().viewport(), Qt.Key.Key_Escape)


def begin_pulse() -> None:
    """Begin to note the gaps between the beats of a timer of 1 ms, and how many previews wait."""
    decoders = [thing for thing in gc.get_objects() if type(thing).__name__ == "InteractiveDecoder"]
    timer, gaps, queue, last = QTimer(), [], [0], [time.perf_counter()]
    timer.setTimerType(Qt.TimerType.PreciseTimer)

    def beat() -> None:
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now
        queue[0] = max(queue[0], *(decoder.queue_length for decoder in decoders))

    timer.timeout.connect(beat)
    _frames["hover"].clear()
    timer.start(1)
    _pulse[:] = [timer, gaps, queue]


def end_pulse() -> dict[str, Any]:
    """Return the gaps in seconds, the longest queue, and when outlines under the pointer were painted."""
    timer, gaps, queue = _pulse
    timer.stop()
    return {"gaps": gaps, "queue": queue[0], "frames": list(_frames["hover"])}


def begin_slots() -> None:
    """Begin to time what of the plugin Qt calls; that takes time of its own, so figures are upper bounds."""
    longest: dict[str, float] = {}
    stack: list[tuple[CodeType, float]] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if frame.f_code.co_filename == __file__:
            return  # our own notes around the plugin's functions
        if event == "call":
            stack.append((frame.f_code, time.perf_counter()))
        elif event == "return" and stack:
            code, started = stack.pop()
            if not stack and code.co_filename.startswith(_PLUGIN):
                name = f"{code.co_filename[len(_PLUGIN) :]}:{code.co_name}"
                longest[name] = max(longest.get(name, 0.0), time.perf_counter() - started)

    _pulse[:] = [longest]
    QTimer.singleShot(0, lambda: sys.setprofile(note))


def end_slots() -> dict[str, float]:
    """Return the longest call of each slot, in seconds."""
    sys.setprofile(None)
    return _pulse[0]


def _pixel(x_map: float, y_map: float) -> QPoint:
    pixel = iface.mapCanvas().getCoordinateTransform().transform(QgsPointXY(x_map, y_map))
    return QPoint(round(pixel.x()), round(pixel.y()))

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tiles the prompts of an object are decoded on.

The decoder sees one tile at a time, so an object whose prompts lie in several tiles is decoded
on each of them. Owns that choice as arithmetic over windows: clicks go where the object's other
clicks are and where there is most ground around them, boxes and the polygons of masks are cut at the
sides of windows.
Ignorant of stores, layers and the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.engine.ring_clip import Bounds, bounds_within, clip_to_rectangle
from geo_sam2.segmentation.prompts import Box, Click, ObjectPrompts
from geo_sam2.tile_window import TileWindow

# A share of a box that is narrower than one sample of the mask logits shows the decoder nothing.
MIN_SHARE_PX = 4.0


class TileSearch(Protocol):
    """Windows that can be decoded on, to be searched by place."""

    def containing(self, x_px: float, y_px: float) -> list[TileWindow]:
        """Return the windows that a point lies in, sides included: more than one on seams and in overlaps."""

    def meeting(self, bounds: Bounds) -> list[TileWindow]:
        """Return the windows that share ground with a rectangle (x_min, y_min, x_max, y_max)."""


class EncodedTiles:
    """The windows that can be decoded on, to be searched by place.

    Args:
        windows: Windows of one grid.
    """

    def __init__(self, windows: Iterable[TileWindow]) -> None:
        self.windows = list(windows)
        bounds = np.array([window_bounds(window) for window in self.windows], dtype=np.float64)
        self._low, self._high = bounds.reshape(-1, 4)[:, :2], bounds.reshape(-1, 4)[:, 2:]

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.windows)

    def containing(self, x_px: float, y_px: float) -> list[TileWindow]:
        """Return the windows that a point lies in, sides included: more than one on seams and in overlaps."""
        point = (x_px, y_px)
        return self._where(np.hstack((self._low <= point, self._high >= point)))

    def meeting(self, bounds: Bounds) -> list[TileWindow]:
        """Return the windows that share ground with a rectangle (x_min, y_min, x_max, y_max)."""
        x_min, y_min, x_max, y_max = bounds
        return self._where(np.hstack((self._low < (x_max, y_max), self._high > (x_min, y_min))))

    def _where(self, conditions: np.ndarray) -> list[TileWindow]:
        """Return the windows for which a row of (windows, conditions) is true throughout."""
        return [self.windows[index] for index in np.flatnonzero(conditions.all(axis=1))]


@dataclass(frozen=True)
class TilePrompts:
    """One pass of the decoder: prompts of one object on one tile.

    Attributes:
        window: The tile.
        clicks: Inside the window.
        box: Inside the window, or None.
    """

    window: TileWindow
    clicks: tuple[Click, ...]
    box: Box | None


@dataclass(frozen=True)
class PlacedObject:
    """What of an object can be decoded where.

    Attributes:
        passes: One or more for each tile; none if no prompt on the object lies in an encoded tile.
        unplaced: Clicks and boxes that lie in no encoded tile.
        idle: Background clicks in tiles in which nothing is decoded; they change nothing.
    """

    passes: tuple[TilePrompts, ...]
    unplaced: tuple[Click | Box, ...]
    idle: tuple[Click, ...]

    @property
    def windows(self) -> list[TileWindow]:
        """The tiles, each once, in the order of the passes."""
        return list(dict.fromkeys(item.window for item in self.passes))


def place(prompts: ObjectPrompts, tiles: TileSearch) -> PlacedObject:
    """Decide on which tiles an object is decoded, and with which of its prompts.

    A tile gets every click of the object that lies in its window. With one box in a tile, box
    and clicks are one prompt, as SAM 2 has it. SAM 2 knows a single box a prompt, so several
    boxes are decoded one by one, each with the foreground clicks inside it; foreground clicks
    outside all of them are a prompt of their own; background clicks go with each.
    """
    unplaced: list[Click | Box] = []
    chosen: dict[TileWindow, list[Box]] = {}
    for box in prompts.boxes:
        shares = box_shares(box, tiles.meeting(box.bounds_px))
        if not shares:
            unplaced.append(box)
        for window, share in shares:
            chosen.setdefault(window, []).append(share)
    found = {click: tiles.containing(click.x_px, click.y_px) for click in prompts.clicks}
    unplaced += [click for click, windows in found.items() if not windows]
    for window in _windows_of_clicks([found[click] for click in prompts.foreground], prompts, chosen):
        chosen.setdefault(window, [])
    passes = [
        part
        for window, boxes in chosen.items()
        for part in _passes(window, [click for click, windows in found.items() if window in windows], boxes)
    ]
    used = {click for part in passes for click in part.clicks}
    idle = [click for click, windows in found.items() if windows and click not in used]
    return PlacedObject(tuple(passes), tuple(unplaced), tuple(idle))


def window_bounds(window: TileWindow) -> Bounds:
    """Return (x_min, y_min, x_max, y_max) of a window in grid pixels."""
    size = window.pixel_size
    return (
        float(window.xoff),
        float(window.yoff),
        float(window.xoff + window.width * size),
        float(window.yoff + window.height * size),
    )


def box_shares(box: Box, windows: Sequence[TileWindow]) -> list[tuple[TileWindow, Box]]:
    """Cut a box at the sides of the windows that it meets.

    The share of a mask is the part of its polygons in a window, with the box round that part; a
    window that only the box meets is left out.

    A window whose share lies in another one's as well is left out: where windows overlap, one
    that holds the whole box, with the most ground around it, is enough. Shares too narrow to
    show anything are left out, unless there is nothing wider.
    """
    shares = {window: share for window in windows if (share := _cut(box, window_bounds(window))) is not None}
    by_room = sorted(shares, key=lambda window: (-_area(shares[window]), -_room(box, window)))
    kept: list[TileWindow] = []
    for window in by_room:
        if not any(_is_within(shares[window], window_bounds(other)) for other in kept):
            kept.append(window)
    wide = [
        window
        for window in kept
        if shares[window].width_px >= min(MIN_SHARE_PX, box.width_px)
        and shares[window].height_px >= min(MIN_SHARE_PX, box.height_px)
    ]
    return [(window, shares[window]) for window in wide or kept[:1]]


def _windows_of_clicks(
    found: Sequence[list[TileWindow]], prompts: ObjectPrompts, chosen: Iterable[TileWindow]
) -> list[TileWindow]:
    """Choose few windows that hold all foreground clicks that lie in any, beside those chosen already."""
    known = set(chosen)
    waiting = [
        (click, windows)
        for click, windows in zip(prompts.foreground, found)
        if windows and not known.intersection(windows)
    ]
    result: list[TileWindow] = []
    while waiting:
        worth: dict[TileWindow, tuple[int, float]] = {}
        for click, windows in waiting:
            for window in windows:
                count, room = worth.get(window, (0, math.inf))
                worth[window] = count + 1, min(room, _click_room(click, window))
        best = max(worth, key=lambda window: worth[window])
        result.append(best)
        waiting = [(click, windows) for click, windows in waiting if best not in windows]
    return result


def _passes(window: TileWindow, clicks: Sequence[Click], boxes: Sequence[Box]) -> list[TilePrompts]:
    if len(boxes) == 1:
        return [TilePrompts(window, tuple(clicks), boxes[0])]
    beside = [click for click in clicks if click.label == BACKGROUND]
    on_object = [click for click in clicks if click.label == FOREGROUND]
    passes = [
        TilePrompts(window, (*(click for click in on_object if box.contains(click)), *beside), box)
        for box in boxes
    ]
    outside = [click for click in on_object if not any(box.contains(click) for box in boxes)]
    if outside:
        passes.append(TilePrompts(window, (*outside, *beside), None))
    return passes


def _cut(box: Box, bounds: Bounds) -> Box | None:
    """Return what of a box lies in a window that it meets; None if it has a mask that does not."""
    if box.polygons is not None:
        found = bounds_within(box.polygons, bounds)
        part = clip_to_rectangle(box.polygons, bounds)
        return Box(*found, source_id=box.source_id, polygons=part) if found and len(part) else None
    x_min, y_min, x_max, y_max = bounds
    return replace(
        box,
        x_min_px=max(box.x_min_px, x_min),
        y_min_px=max(box.y_min_px, y_min),
        x_max_px=min(box.x_max_px, x_max),
        y_max_px=min(box.y_max_px, y_max),
    )


def _area(box: Box) -> float:
    return box.width_px * box.height_px


def _is_within(box: Box, bounds: Bounds) -> bool:
    return (
        box.x_min_px >= bounds[0]
        and box.y_min_px >= bounds[1]
        and box.x_max_px <= bounds[2]
        and box.y_max_px <= bounds[3]
    )


def _room(box: Box, window: TileWindow) -> float:
    """Distance from a box to the nearest side of a window; negative where it leaves the window."""
    bounds = window_bounds(window)
    return min(
        box.x_min_px - bounds[0],
        box.y_min_px - bounds[1],
        bounds[2] - box.x_max_px,
        bounds[3] - box.y_max_px,
    )


def _click_room(click: Click, window: TileWindow) -> float:
    x_min, y_min, x_max, y_max = window_bounds(window)
    return min(click.x_px - x_min, click.y_px - y_min, x_max - click.x_px, y_max - click.y_px)


def reaches_open_edge(parts: Sequence[tuple[TileWindow, Outlines]]) -> bool:
    """Say whether an object reaches the edge of the ground that it was looked for on.

    That is a side of a window, unless another window of the object goes on beyond it: there the
    decoder was asked too, and its answer stands.

    Args:
        parts: The windows of the object with the outlines found in each, in grid pixels; a window
            that gave nothing belongs in it too.
    """
    windows = [window_bounds(window) for window, _ in parts]
    return any(
        _has_open_segment(outlines, bounds, windows)
        for (_, outlines), bounds in zip(parts, windows)
        if len(outlines)
    )


def _has_open_segment(outlines: Outlines, bounds: Bounds, windows: Sequence[Bounds]) -> bool:
    """Look at the segments on each side of a window for ground beyond which no window lies."""
    starts, ends = outlines.points_xy[:-1], outlines.points_xy[1:]
    within_ring = outlines.ring_of_point[:-1] == outlines.ring_of_point[1:]
    for side in range(4):
        axis, is_far, place_px = side % 2, side >= 2, bounds[side]
        on_side = within_ring & (starts[:, axis] == place_px) & (ends[:, axis] == place_px)
        if not on_side.any():
            continue
        covers = [
            (other[1 - axis], other[3 - axis])
            for other in windows
            if (
                other[axis] <= place_px < other[axis + 2]
                if is_far
                else other[axis] < place_px <= other[axis + 2]
            )
        ]
        across = np.sort(np.column_stack((starts[on_side, 1 - axis], ends[on_side, 1 - axis])), axis=1)
        if any(_is_left_open(float(low), float(high), covers) for low, high in across):
            return True
    return False


def _is_left_open(low: float, high: float, covers: Sequence[tuple[float, float]]) -> bool:
    """Whether some length of an interval is covered by none of the others."""
    for start, end in sorted(covers):
        if start > low:
            break
        low = max(low, end)
    return low < high

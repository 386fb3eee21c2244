# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person marked on the image, in pixels of the encoding grid, and what SAM 2 is asked with.

Owns clicks, boxes and drawn masks as plain values, how a line becomes clicks, and in which steps the
prompts of one tile are handed to the decoder (``engine.prompt_steps`` reads them). Ignorant of
layers, coordinate systems, stores and of which tile a prompt belongs to (``tile_choice``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND

#: What may be chosen of the three masks that a lone click gives; None is the best by predicted IoU.
MASK_CHOICES: dict[str, int | None] = {"best": None, "part": 0, "object": 1, "whole": 2}

# A straight line through a tile gives eight clicks; SAM 2 was trained with up to eight.
LINE_SPACING_PX = 128.0
# So many clicks tell even a short line from a single click that happened to fall there.
LINE_MIN_CLICKS = 3


@dataclass(frozen=True)
class Click:
    """A point on the object, or beside it.

    Attributes:
        x_px: Grid pixels from the left outer edge of the grid.
        y_px: Grid pixels from the upper outer edge of the grid.
        label: ``FOREGROUND`` or ``BACKGROUND``.
        source_id: The feature that it comes from, for reports.
    """

    x_px: float
    y_px: float
    label: int
    source_id: int


@dataclass(frozen=True)
class Box:
    """A rectangle around the object, along the axes of the grid, in grid pixels.

    Attributes:
        x_min_px: Left side.
        y_min_px: Upper side.
        x_max_px: Right side, greater than the left one.
        y_max_px: Lower side, greater than the upper one.
        source_id: The feature that it comes from, for reports.
        polygons: A mask of the object, to be refined, in grid pixels, which the box encloses;
            None for a mere box.
    """

    x_min_px: float
    y_min_px: float
    x_max_px: float
    y_max_px: float
    source_id: int
    polygons: Outlines | None = None

    @property
    def bounds_px(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max)."""
        return self.x_min_px, self.y_min_px, self.x_max_px, self.y_max_px

    @property
    def width_px(self) -> float:
        """Length along x."""
        return self.x_max_px - self.x_min_px

    @property
    def height_px(self) -> float:
        """Length along y."""
        return self.y_max_px - self.y_min_px

    def contains(self, click: Click) -> bool:
        """Whether a click lies in the box or on its sides."""
        return self.x_min_px <= click.x_px <= self.x_max_px and self.y_min_px <= click.y_px <= self.y_max_px


@dataclass(frozen=True)
class ObjectPrompts:
    """All prompts of one object, wherever on the grid they lie, in the order of their layer."""

    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def foreground(self) -> tuple[Click, ...]:
        """The clicks on the object."""
        return tuple(click for click in self.clicks if click.label == FOREGROUND)

    @property
    def background(self) -> tuple[Click, ...]:
        """The clicks beside the object."""
        return tuple(click for click in self.clicks if click.label == BACKGROUND)

    @property
    def has_foreground(self) -> bool:
        """Whether there is anything that says where the object is."""
        return bool(self.boxes or self.foreground)


def read_label(value: object) -> int | None:
    """Return the label that a field's value stands for, or None if it is neither 1 nor 0."""
    if isinstance(value, str):
        value = {"0": 0, "1": 1}.get(value.strip())
    if isinstance(value, (bool, int, float)) and value in (BACKGROUND, FOREGROUND):
        return int(value)
    return None


def clicks_along(line_xy: np.ndarray, label: int, source_id: int) -> list[Click]:
    """Turn a line into clicks, evenly spaced along it.

    Each click stands in the middle of an equal share of the line, so that none falls on its
    ends, which are drawn least carefully. Their number follows from the extent of the line, not
    its length: a scribble gets no more of them than a straight line across the same ground.

    Args:
        line_xy: (n, 2) vertices in grid pixels.
        label: Of all its clicks.
        source_id: Of all its clicks.
    """
    steps = np.hypot(*np.diff(line_xy, axis=0).T) if len(line_xy) > 1 else np.zeros(0)
    length = float(steps.sum())
    if length == 0:
        return [Click(float(x_px), float(y_px), label, source_id) for x_px, y_px in line_xy[:1]]
    extent = math.hypot(*np.ptp(line_xy, axis=0))
    # On a line shorter than a few pixels the clicks would all fall into one.
    fewest = min(LINE_MIN_CLICKS, max(1, int(length)))
    count = max(fewest, math.ceil(extent / LINE_SPACING_PX))
    along = (np.arange(count) + 0.5) * (length / count)
    reached = np.concatenate(([0.0], np.cumsum(steps)))
    x, y = (np.interp(along, reached, line_xy[:, axis]) for axis in (0, 1))
    return [Click(float(x_px), float(y_px), label, source_id) for x_px, y_px in zip(x, y)]


def decoder_steps(
    clicks: Sequence[Click], box: Box | None, mask: int | None, first_polygon: int = 0
) -> list[dict[str, Any]]:
    """Return the steps of one object on one tile, as the engine's ``decode`` takes them.

    All prompts go in at once. Only a first lone click has three masks to choose from, so where
    one is wanted and there are several clicks, the first on the object makes the choice and the
    others correct it, as a person in front of the image would go about it. A box leaves no
    choice. A drawn mask goes with its box and with the clicks that correct it, which is how SAM 2 was
    trained: with clicks where the mask that it is given is wrong.

    Args:
        clicks: Inside the tile's window, at least one on the object unless there is a box.
        box: Inside the tile's window, or None.
        mask: One of the three masks of a lone click, or None for the best.
        first_polygon: Place of the box's first polygon among those that go with the message.
    """
    if box is not None:
        step = {**_points(clicks), "box": list(box.bounds_px)}
        if box.polygons is not None:
            step["mask_polygons"] = [first_polygon, first_polygon + len(box.polygons)]
        return [step]
    if mask is None:
        return [_points(clicks)]
    first = next(click for click in clicks if click.label == FOREGROUND)
    others = [click for click in clicks if click is not first]
    return [{**_points([first]), "mask": mask}, *([_points(others)] if others else [])]


def _points(clicks: Sequence[Click]) -> dict[str, Any]:
    return {
        "points": [[click.x_px, click.y_px] for click in clicks],
        "labels": [click.label for click in clicks],
    }

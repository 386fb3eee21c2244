# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person did to an object, as ordered steps, and what it means for SAM 2.

A step adds points and at most one box; it is decoded with everything before it and with
the previous step's mask as mask prompt. A step may bring polygons instead: a mask that was drawn,
to be refined. They are part of the step, so a result depends on nothing but the store, the
steps and the mask chosen at each, and replaying them gives it again. Ignorant of torch:
``decode_objects`` runs what is read here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.prompt_labels import BACKGROUND, BOX_FIRST, BOX_SECOND, FOREGROUND
from geo_sam2.errors import PromptError

MAX_STEPS = 1000
# Far beyond every raster, and far from where float64 has no digits left for a tenth of a pixel.
MAX_COORDINATE_PX = 1e12


@dataclass(frozen=True)
class PromptStep:
    """One step, in grid pixels: x right, y down, (0, 0) at the outer corner of the first pixel.

    Attributes:
        points: (x, y, label) each; label 1 is foreground, 0 is background.
        box: (x_min, y_min, x_max, y_max) or None. A later step's box replaces an earlier one's.
        mask: Which candidate to go on with; None is the one with the best predicted IoU.
        use_previous: Feed the previous step's mask back as mask prompt.
        mask_polygons: A drawn mask to be the mask prompt of this step, instead of the previous
            step's; None without one. What lies outside the tile's window does not count.
    """

    points: tuple[tuple[float, float, int], ...]
    box: tuple[float, float, float, float] | None
    mask: int | None
    use_previous: bool
    mask_polygons: Outlines | None = None


@dataclass(frozen=True)
class Prompt:
    """All that one pass of the decoder is asked with.

    Attributes:
        points_xy: (count, 2) float64 in grid pixels; the box's corners first.
        labels: (count,) int64, SAM 2's labels.
        is_lone_click: A single foreground point and nothing else, no mask prompt either: the
            ambiguous case with three answers.
    """

    points_xy: np.ndarray
    labels: np.ndarray
    is_lone_click: bool


def read_steps(value: object, polygons: Outlines | None = None) -> list[PromptStep]:
    """Read the steps of one object from a message.

    Args:
        value: The list of steps.
        polygons: Those of the mask prompts of all objects of the message, in grid pixels.

    Raises:
        PromptError: They are no steps, have no prompt, or hold a bad number or label.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise PromptError("An object has no prompt.", "Give at least one point or a box.")
    if len(value) > MAX_STEPS:
        raise PromptError(f"An object has {len(value)} steps, more than {MAX_STEPS}.")
    steps = [_read_step(step, Outlines.empty() if polygons is None else polygons) for step in value]
    if not steps[0].points and steps[0].box is None:
        raise PromptError(
            "A mask prompt stands alone.", "Give the box round its polygons, or a point, with it."
        )
    return steps


def _read_step(value: object, polygons: Outlines) -> PromptStep:
    if not isinstance(value, Mapping):
        raise PromptError(f"A prompt step is {value!r}, which is no record.")
    unknown = set(value) - {"points", "labels", "box", "mask", "use_previous", "mask_polygons"}
    if unknown:
        raise PromptError(f"A prompt step has unknown fields: {', '.join(sorted(map(str, unknown)))}.")
    points, labels = value.get("points") or [], value.get("labels") or []
    if not isinstance(points, Sequence) or not isinstance(labels, Sequence) or len(points) != len(labels):
        raise PromptError("Each point needs one label, and each label a point.")
    box = value.get("box")
    mask_polygons = value.get("mask_polygons")
    if not points and box is None and mask_polygons is None:
        raise PromptError("A prompt step is empty.", "Give at least one point or a box.")
    mask = value.get("mask")
    if mask is not None and (not isinstance(mask, int) or isinstance(mask, bool) or not 0 <= mask <= 2):
        raise PromptError(f"A step goes on with mask {mask!r}; there are 0, 1 and 2.")
    use_previous = value.get("use_previous", True)
    if not isinstance(use_previous, bool):
        raise PromptError(f"use_previous is {use_previous!r}, which is neither true nor false.")
    return PromptStep(
        points=tuple((*_numbers(point, 2), _label(label)) for point, label in zip(points, labels)),
        box=None if box is None else _box(box),
        mask=mask,
        use_previous=use_previous,
        mask_polygons=None if mask_polygons is None else _mask_polygons(mask_polygons, polygons),
    )


def _numbers(value: object, count: int) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        raise PromptError(f"A prompt has {value!r} where {count} coordinates belong.")
    if not all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
        for number in value
    ):
        raise PromptError("A prompt has coordinates that are not numbers.")
    return tuple(float(number) for number in value)


def _label(value: object) -> int:
    if isinstance(value, bool) or value not in (BACKGROUND, FOREGROUND):
        raise PromptError(f"A point has the label {value!r}; there are 1 (foreground) and 0 (background).")
    return int(value)


def _box(value: object) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = _numbers(value, 4)
    if not (x_min < x_max and y_min < y_max):
        raise PromptError(f"A box from ({x_min:g}, {y_min:g}) to ({x_max:g}, {y_max:g}) is empty.")
    return x_min, y_min, x_max, y_max


def _mask_polygons(value: object, polygons: Outlines) -> Outlines:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise PromptError(f"A mask prompt has {value!r} where the first and the end of its polygons belong.")
    first, end = value
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in (first, end)):
        raise PromptError(f"A mask prompt has {value!r} where two whole numbers belong.")
    if not 0 <= first < end <= len(polygons):
        raise PromptError(
            f"A mask prompt goes from polygon {first} to {end}, but the message has {len(polygons)} polygons."
        )
    chosen = polygons.polygons_between(first, end)
    if (np.abs(chosen.points_xy) > MAX_COORDINATE_PX).any():
        raise PromptError(f"A mask prompt has a vertex farther out than {MAX_COORDINATE_PX:g} pixels.")
    return chosen


def prompt_after(steps: Sequence[PromptStep]) -> Prompt:
    """Return what the decoder is asked with after these steps: all points, the last box."""
    box = next((step.box for step in reversed(steps) if step.box is not None), None)
    points = [point for step in steps for point in step.points]
    rows = [(x, y) for x, y, _ in points]
    labels = [label for _, _, label in points]
    if box is not None:
        rows = [(box[0], box[1]), (box[2], box[3]), *rows]
        labels = [BOX_FIRST, BOX_SECOND, *labels]
    return Prompt(
        points_xy=np.array(rows, dtype=np.float64),
        labels=np.array(labels, dtype=np.int64),
        is_lone_click=len(steps) == 1 and labels == [FOREGROUND] and steps[0].mask_polygons is None,
    )


def steps_key(steps: Sequence[PromptStep]) -> str:
    """Return a text that is the same for the same steps, to find their result again."""
    return json.dumps(
        [[step.points, step.box, step.mask, step.use_previous, _digest(step.mask_polygons)] for step in steps]
    )


def _digest(polygons: Outlines | None) -> str | None:
    if polygons is None:
        return None
    # Offsets say how long the array before them is, so that no two outlines share their bytes.
    arrays = polygons.points_xy, polygons.ring_offsets, polygons.polygon_offsets
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()

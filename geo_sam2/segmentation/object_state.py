# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a person said about one object: prompts in their order, and the mask chosen.

An outline is a pure function of the store, an ``ObjectState`` and ``ShapeOptions``, so this is all
that undo steps over and that a saved feature remembers. Frozen; ignorant of history, tiles and
the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Union

from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.engine.prompt_steps import MAX_COORDINATE_PX, MAX_STEPS
from geo_sam2.errors import PromptError
from geo_sam2.segmentation.prompts import Box, Click

Prompt = Union[Click, Box]

MASK_COUNT = 3
#: Each prompt is a step of the decoder.
MAX_PROMPTS = MAX_STEPS
# A thousandth of a pixel is nothing that a hand or a screen can tell, and keeps the text of
# prompts short. Rounding when a prompt is given, not when it is written, keeps it exact.
_DECIMALS = 3


@dataclass(frozen=True)
class ObjectState:
    """One object as it was prompted.

    Attributes:
        prompts: In the order given; ``source_id`` is the prompt's id, unique among them.
        mask: Which of the three masks of a lone click, 0 part, 1 object, 2 whole; None is the best.

    Raises:
        PromptError: Two prompts have one id, there are too many, one brings a drawn mask, or the
            mask chosen is none.
    """

    prompts: tuple[Prompt, ...] = ()
    mask: int | None = None

    def __post_init__(self) -> None:
        if len(self.prompts) > MAX_PROMPTS:
            raise PromptError(
                f"An object has at most {MAX_PROMPTS} prompts.", "Accept it and go on with another one."
            )
        if len({prompt.source_id for prompt in self.prompts}) < len(self.prompts):
            raise PromptError("Two prompts of an object have the same number.")
        if any(isinstance(prompt, Box) and prompt.polygons is not None for prompt in self.prompts):
            raise PromptError("A drawn mask cannot be one of the prompts of the dock.")
        if self.mask is not None and (isinstance(self.mask, bool) or self.mask not in range(MASK_COUNT)):
            raise PromptError(f"The mask {self.mask!r:.20} is chosen; there are 0, 1 and 2.")

    @property
    def has_foreground(self) -> bool:
        """Whether anything says where the object is; background alone means nothing."""
        return any(is_on_object(prompt) for prompt in self.prompts)

    @property
    def is_lone_click(self) -> bool:
        """Whether it is a single click on the object, which has three masks to choose from."""
        return len(self.prompts) == 1 and isinstance(self.prompts[0], Click) and self.has_foreground

    def prompt(self, prompt_id: int) -> Prompt | None:
        """Return the prompt with an id, or None."""
        return next((prompt for prompt in self.prompts if prompt.source_id == prompt_id), None)

    def with_prompt(self, prompt: Prompt) -> ObjectState:
        """Return the state after one more prompt; the mask chosen before it stays chosen."""
        return replace(self, prompts=(*self.prompts, prompt))

    def without(self, prompt_id: int) -> ObjectState:
        """Return the state as if a prompt had never been given.

        Whoever takes the first prompt away takes the choice of its mask away with it.
        """
        kept = tuple(prompt for prompt in self.prompts if prompt.source_id != prompt_id)
        keeps_first = bool(kept) and kept[0] is self.prompts[0]
        return ObjectState(kept, self.mask if keeps_first else None)

    def moved(self, prompt_id: int, x_px: float, y_px: float) -> ObjectState:
        """Return the state as if a prompt had been given elsewhere, in its old place of the order.

        Args:
            prompt_id: Of the prompt; without effect if there is none.
            x_px: Where a click, or the centre of a box, goes: grid pixels from the left.
            y_px: The same from the top.

        Raises:
            PromptError: A coordinate is no number on any raster.
        """
        prompts = (
            _moved(prompt, x_px, y_px) if prompt.source_id == prompt_id else prompt for prompt in self.prompts
        )
        return replace(self, prompts=tuple(prompts))

    def with_mask(self, mask: int | None) -> ObjectState:
        """Return the state with another mask chosen."""
        return replace(self, mask=mask)

    def numbered(self, ids: Iterable[int]) -> ObjectState:
        """Return the state with new ids of its prompts, in order."""
        pairs = zip(self.prompts, ids)
        return replace(self, prompts=tuple(replace(prompt, source_id=number) for prompt, number in pairs))


def is_on_object(prompt: Prompt) -> bool:
    """Whether a prompt says where the object is: a box, or a foreground click."""
    return isinstance(prompt, Box) or prompt.label == FOREGROUND


def make_click(x_px: float, y_px: float, label: int, prompt_id: int = 0) -> Click:
    """Make a click from any numbers.

    Raises:
        PromptError: The label is neither foreground nor background, or a coordinate is no number
            on any raster.
    """
    if isinstance(label, bool) or label not in (BACKGROUND, FOREGROUND):
        raise PromptError(
            f"A click has the label {label!r:.20}; there are 1 (foreground) and 0 (background)."
        )
    return Click(_coordinate(x_px), _coordinate(y_px), int(label), prompt_id)


def make_box(x_0_px: float, y_0_px: float, x_1_px: float, y_1_px: float, prompt_id: int = 0) -> Box:
    """Make a box from two opposite corners.

    Raises:
        PromptError: It is empty, or a coordinate is no number on any raster.
    """
    x_min, x_max = sorted((_coordinate(x_0_px), _coordinate(x_1_px)))
    y_min, y_max = sorted((_coordinate(y_0_px), _coordinate(y_1_px)))
    if not (x_min < x_max and y_min < y_max):
        raise PromptError("A box has no width or no height.", "Draw it around the object.")
    return Box(x_min, y_min, x_max, y_max, prompt_id)


def hovered(x_px: float, y_px: float, mask: int | None = None) -> ObjectState:
    """Return what a click where the pointer rests would be; clicking there asks exactly the same.

    Raises:
        PromptError: A coordinate is no number on any raster.
    """
    return ObjectState((make_click(x_px, y_px, FOREGROUND),), mask)


def _moved(prompt: Prompt, x_px: float, y_px: float) -> Prompt:
    if isinstance(prompt, Click):
        return make_click(x_px, y_px, prompt.label, prompt.source_id)
    x_min, y_min, x_max, y_max = prompt.bounds_px
    # The way is rounded, so that the box keeps its size, and comes back to its place exactly.
    dx = _coordinate(float(x_px) - (x_min + x_max) / 2)
    dy = _coordinate(float(y_px) - (y_min + y_max) / 2)
    return make_box(x_min + dx, y_min + dy, x_max + dx, y_max + dy, prompt.source_id)


def _coordinate(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:  # a whole number that only a file can hold
        number = math.inf
    if not abs(number) <= MAX_COORDINATE_PX:
        raise PromptError("A prompt lies far outside every raster.", "Click on the image.")
    return round(number, _DECIMALS) + 0.0  # no negative zero, which has a text of its own

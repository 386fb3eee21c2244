# SPDX-License-Identifier: GPL-3.0-or-later
"""The prompts of an object as text: what a saved feature keeps of how it came about.

JSON in grid pixels of the store, in the order given, short enough for most text fields::

    {"version":1,"prompts":[{"foreground":[812.5,96.25]},{"background":[840.0,120.5]},
     {"box":[790.0,80.0,860.125,140.0]}],"mask":2}

``mask`` is the choice among the three masks of a lone click, null the best. Public once released.
What is read may have been edited by anybody; nothing of it is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.errors import PromptError
from geo_sam2.segmentation.object_state import MAX_PROMPTS, ObjectState, Prompt, make_box, make_click
from geo_sam2.segmentation.prompts import Box

_VERSION = 1
# Far above what the most prompts take, far below what a parser would choke on.
_MAX_TEXT = 1_000_000
_HINT = "Prompt the object anew."
_LABELS = {"foreground": FOREGROUND, "background": BACKGROUND}
_NAMES = {label: name for name, label in _LABELS.items()}


def write_prompts(state: ObjectState) -> str:
    """Return an object's prompts as text; ``read_prompts`` gives them back exactly, numbered from 1."""
    value = {
        "version": _VERSION,
        "prompts": [_to_json(prompt) for prompt in state.prompts],
        "mask": state.mask,
    }
    return json.dumps(value, separators=(",", ":"))


def read_prompts(text: str) -> ObjectState:
    """Read the prompts that a feature was made with.

    Raises:
        PromptError: The text is none that ``write_prompts`` wrote, or says nothing of where the
            object is.
    """
    value = _parse(text)
    prompts = value.get("prompts")
    if not isinstance(prompts, list) or len(prompts) > MAX_PROMPTS:
        raise PromptError(f"The saved prompts are no list of at most {MAX_PROMPTS}.", _HINT)
    state = ObjectState(
        tuple(_from_json(item, number) for number, item in enumerate(prompts, start=1)),
        _mask(value.get("mask")),
    )
    if not state.has_foreground:
        raise PromptError("The saved prompts do not say where the object is.", _HINT)
    return state


def _to_json(prompt: Prompt) -> dict[str, list[float]]:
    if isinstance(prompt, Box):
        return {"box": list(prompt.bounds_px)}
    return {_NAMES[prompt.label]: [prompt.x_px, prompt.y_px]}


def _parse(text: str) -> Mapping[str, Any]:
    if len(text) > _MAX_TEXT:
        raise PromptError(f"The saved prompts are longer than {_MAX_TEXT} characters.", _HINT)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(
            "The saved prompts cannot be read: they are no JSON, or cut short.", _HINT
        ) from error
    if not isinstance(value, dict) or "version" not in value:
        raise PromptError("The saved prompts cannot be read: they are none of this plugin.", _HINT)
    if isinstance(value["version"], bool) or value["version"] != _VERSION:
        raise PromptError(
            f"The saved prompts have the unknown version {value['version']!r:.20}.",
            "Update Geo-SAM2.",
        )
    return value


def _mask(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise PromptError(f"The saved prompts choose the mask {value!r:.20}; there are 0, 1 and 2.", _HINT)
    return value


def _from_json(item: object, number: int) -> Prompt:
    if isinstance(item, dict) and len(item) == 1:
        ((name, numbers),) = item.items()
        if name == "box" and _are_numbers(numbers, 4):
            x_min, y_min, x_max, y_max = numbers
            return make_box(x_min, y_min, x_max, y_max, number)
        if name in _LABELS and _are_numbers(numbers, 2):
            x, y = numbers
            return make_click(x, y, _LABELS[name], number)
    raise PromptError(f"One of the saved prompts cannot be read: {item!r:.80}.", _HINT)


def _are_numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in value)
    )

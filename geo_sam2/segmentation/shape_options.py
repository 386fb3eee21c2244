# SPDX-License-Identifier: GPL-3.0-or-later
"""How an object's mask becomes its shape: what the dock's sliders say, and a feature remembers.

Owns the options, their text in a feature's attribute and what of them the engine is told.
Ignorant of how outlines are made: the engine traces and simplifies (``engine.outlines``), the rest
is done where the tiles of an object are joined.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from geo_sam2.errors import OutlineOptionsError, StoreError
from geo_sam2.json_record import JsonRecord

SMOOTH, PIXEL = STYLES = ("smooth", "pixel")
# The engine's bound (``engine.outlines``), which no logit of a mask decoder comes near.
MAX_THRESHOLD = 1e6

_VERSION = 1
_MAX_TEXT = 10_000
_NUMBERS = ("threshold", "simplify_px", "min_area_px2", "max_hole_px2")
_HINT = "Choose the settings of the outline anew."


@dataclass(frozen=True)
class ShapeOptions(JsonRecord):
    """What an object's shape should be like; changing it decodes nothing again.

    Attributes:
        threshold: Logit above which a pixel belongs to the object; 0 is SAM 2's.
        style: ``smooth`` follows the logits below the size of a pixel, ``pixel`` the edges of pixels.
        simplify_px: Largest distance in grid pixels by which simplification may move an outline;
            0 leaves it as traced. Kept, but without effect, in the style ``pixel``.
        min_area_px2: Parts with less area, in square grid pixels, are dropped; 0 keeps all.
        max_hole_px2: Holes up to this area, in square grid pixels, are filled; 0 fills none.
        largest_only: Keep the part with the largest area alone.
        right_angles: Turn edges that are nearly at right angles into ones that are, after
            simplifying.

    Raises:
        OutlineOptionsError: A value is none that can be used.
    """

    threshold: float = 0.0
    style: str = SMOOTH
    simplify_px: float = 0.0
    min_area_px2: float = 0.0
    max_hole_px2: float = 0.0
    largest_only: bool = True
    right_angles: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise OutlineOptionsError(f"The outline style {self.style!r} is not known.", _HINT)
        for name in _NUMBERS:
            # As float, so that 1 and 1.0 have one text and make one request.
            object.__setattr__(self, name, _finite(getattr(self, name), name))
        if any(getattr(self, name) < 0 for name in _NUMBERS[1:]):
            raise OutlineOptionsError("A tolerance or an area of an outline is negative.", _HINT)
        if abs(self.threshold) > MAX_THRESHOLD:
            raise OutlineOptionsError(f"The threshold {self.threshold:g} is no logit of a mask.", _HINT)
        for name in ("largest_only", "right_angles"):
            if not isinstance(getattr(self, name), bool):
                raise OutlineOptionsError(f"{name} is neither true nor false.", _HINT)

    def outline_fields(self, *, is_joined: bool) -> dict[str, Any]:
        """Return the ``outline`` of a request to the engine.

        Args:
            is_joined: The object lies in several tiles. Its parts and holes are known only when
                these are joined, so that areas and the largest part are left for then.
        """
        return {
            "threshold": self.threshold,
            "style": self.style,
            "simplify_px": 0.0 if self.style == PIXEL else self.simplify_px,
            "min_area_px2": 0.0 if is_joined else self.min_area_px2,
            "max_hole_px2": 0.0 if is_joined else self.max_hole_px2,
            "largest_only": self.largest_only and not is_joined,
        }

    def to_text(self) -> str:
        """Return the options as the JSON text that a feature keeps; ``from_text`` gives them back exactly."""
        return json.dumps({"version": _VERSION, **self.to_json()}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> ShapeOptions:
        """Read the text of a feature's attribute, which anybody may have edited.

        Raises:
            OutlineOptionsError: It is not such a text.
        """
        try:
            value = json.loads(text) if len(text) <= _MAX_TEXT else None
        except (ValueError, RecursionError) as error:
            raise OutlineOptionsError(
                "The outline settings cannot be read: they are no JSON.", _HINT
            ) from error
        if not isinstance(value, dict) or "version" not in value:
            raise OutlineOptionsError(
                "The outline settings cannot be read: they are none of this plugin.", _HINT
            )
        if isinstance(value["version"], bool) or value["version"] != _VERSION:
            raise OutlineOptionsError(
                f"The outline settings have the unknown version {value['version']!r:.20}.",
                "Update Geo-SAM2.",
            )
        try:
            return cls.from_json(value, "outline")
        except StoreError as error:
            raise OutlineOptionsError(f"The outline settings cannot be read: {error.text}", _HINT) from error


def _finite(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise OutlineOptionsError(f"{name} is {value!r:.40}, which is no finite number.", _HINT)
    return number

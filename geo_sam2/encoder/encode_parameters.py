# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a person, a script or a model wrote for bands, range and resolution.

QGIS turns what it cannot read into zeros; these say it instead. Ignorant of QGIS: values are
what a dictionary of parameters holds, plain text and numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from geo_sam2.errors import EncodeRequestError

MAX_BANDS = 3


def read_bands(value: Any) -> tuple[int, ...] | None:
    """Return 1-based band numbers in the order given, or None where nothing was chosen.

    Args:
        value: A number, a text such as ``3;2;1`` or ``3,2,1``, or a list of such.

    Raises:
        EncodeRequestError: They are no band numbers, or more than three.
    """
    parts = _parts(value)
    if not parts:
        return None
    bands = []
    for part in parts:
        number = _number(part)
        if number is None or number != int(number) or number < 1:
            raise EncodeRequestError(
                f"“{part}” is no band number.", "Give one to three numbers, counted from 1, such as 3;2;1."
            )
        bands.append(int(number))
    if len(bands) > MAX_BANDS:
        raise EncodeRequestError(
            f"{len(bands)} bands are chosen; the model sees at most three.",
            "Choose one to three bands, in the order red, green, blue.",
        )
    return tuple(bands)


def read_range(value: Any) -> tuple[float, float] | None:
    """Return the values that become 0 and 255, or None where no range is given.

    Raises:
        EncodeRequestError: It is no pair of finite numbers, or the minimum is not below the maximum.
    """
    parts = _parts(value)
    if not parts or all(str(part).strip().lower() in ("nan", "none", "null") for part in parts):
        return None  # the widget's empty range
    numbers = [_number(part) for part in parts]
    if len(numbers) != 2 or None in numbers:
        raise EncodeRequestError(
            f"“{_text(value)}” is no range of values.", "Give minimum and maximum, such as 0,3000."
        )
    low, high = numbers
    assert low is not None  # noqa: S101  # told above; for the type checker
    assert high is not None  # noqa: S101
    if low >= high:
        raise EncodeRequestError(
            f"The range from {low:g} to {high:g} is empty: its minimum must be below its maximum.",
            "Give the smaller value first.",
        )
    return low, high


def read_resolution(value: Any) -> float | None:
    """Return the side of a pixel in units of the target CRS, or None where none is given.

    Raises:
        EncodeRequestError: It is not a finite number above 0.
    """
    parts = _parts(value)
    if not parts:
        return None
    number = _number(parts[0]) if len(parts) == 1 else None
    if number is None or number <= 0:
        raise EncodeRequestError(
            f"“{_text(value)}” is no resolution.",
            "Give the side of a pixel as a number above 0, in units of the target CRS.",
        )
    return number


def _parts(value: Any) -> list[Any]:
    """Return the items of a list or of a text with separators; nothing for None and blank text."""
    if value is None:
        return []
    if isinstance(value, str):
        return [part for part in re.split(r"[;,\s]+", value.strip()) if part]
    if isinstance(value, Sequence):
        return [part for item in value for part in _parts(item)]
    return [value]


def _number(part: Any) -> float | None:
    try:
        number = float(part)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    return ", ".join(str(part) for part in _parts(value))

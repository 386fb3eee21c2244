# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a layer of prompts could not be used, by feature id, in sentences.

One sentence per reason however many prompts it befell, with all their ids. Ignorant of how
prompts are read and decoded.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Skipped(enum.Enum):
    """Why a prompt was left out; the values complete “… prompt(s) …”: (one, several)."""

    NO_GEOMETRY = ("has no geometry", "have no geometry")
    NOT_TRANSFORMED = (
        "cannot be placed in the CRS of the feature store",
        "cannot be placed in the CRS of the feature store",
    )
    BAD_LABEL = ("has a label other than 1 or 0", "have a label other than 1 or 0")
    NEGATIVE_POLYGON = (
        "is a polygon labelled 0; only points and lines can say where the object is not",
        "are polygons labelled 0; only points and lines can say where the object is not",
    )
    NO_EXTENT = ("is a polygon without width or height", "are polygons without width or height")
    OUTSIDE = ("lies outside the feature store", "lie outside the feature store")
    NOT_ENCODED = ("lies in a tile that is not encoded", "lie in tiles that are not encoded")
    FAILED_TILE = (
        "lies in a tile that could not be encoded",
        "lie in tiles that could not be encoded",
    )
    EMPTY_TILE = (
        "lies in a tile without a valid pixel",
        "lie in tiles without a valid pixel",
    )
    NO_EFFECT = (
        "is background in a tile in which its object has no other prompt, and changes nothing",
        "are background in tiles in which their objects have no other prompt, and change nothing",
    )
    NO_FOREGROUND = (
        "belongs to an object that has no usable prompt on it",
        "belong to objects that have no usable prompt on them",
    )
    DAMAGED_TILE = ("lies in a tile that is damaged", "lie in tiles that are damaged")
    NO_MASK = (
        "gave no mask, or none of the minimum area",
        "gave no mask, or none of the minimum area",
    )


class SkippedPrompts:
    """Collects ids by reason; an id counts once per reason."""

    def __init__(self) -> None:
        self._ids: dict[Skipped, dict[int, None]] = {}

    def add(self, reason: Skipped, *feature_ids: int) -> None:
        """Note that prompts were left out."""
        self._ids.setdefault(reason, {}).update(dict.fromkeys(feature_ids))

    def ids(self, reason: Skipped) -> list[int]:
        """Return the ids noted for a reason, in order."""
        return sorted(self._ids.get(reason, {}))

    def __len__(self) -> int:
        """Count the prompts that were left out for any reason, each once."""
        return len(set().union(*self._ids.values()))

    def sentences(self) -> list[str]:
        """Return a sentence per reason, in the order of ``Skipped``."""
        return [self._sentence(reason) for reason in Skipped if self._ids.get(reason)]

    def _sentence(self, reason: Skipped) -> str:
        ids = self.ids(reason)
        one, several = reason.value
        if len(ids) == 1:
            return f"Prompt {ids[0]} {one}."
        return f"{len(ids)} prompts {several}: {ranges(ids)}."


def ranges(numbers: Iterable[int]) -> str:
    """Write whole numbers shortly: “1–3, 7”."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in runs)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the decoder found of an object, joined over its tiles: the thing shown, and then saved.

Plain values in grid pixels. Made where QGIS can join polygons, kept by the session; ignorant of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.tile_window import TileWindow


@dataclass(frozen=True, eq=False)
class Candidate:
    """One of the masks that a prompt may mean.

    Attributes:
        mask: 0 part, 1 object, 2 whole of a lone click; 0 where there is no choice.
        outlines: Its polygons in grid pixels, joined over the tiles, after holes, small parts and
            the largest part; may be none.
        score: Predicted IoU, 0 to 1; of several tiles the mean, weighted by area.
        stability: How little the mask changes with the threshold, 0 to 1; the same mean.
    """

    mask: int
    outlines: Outlines
    score: float
    stability: float

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(int(array.nbytes) for array in self.outlines.arrays().values())


@dataclass(frozen=True, eq=False)
class ObjectResult:
    """The answer to the prompts of one object.

    Attributes:
        candidates: Three for a lone click that all masks were asked of, else one; by mask.
        chosen: Index in ``candidates`` of the one that is shown and saved.
        is_truncated: The chosen one reaches an edge of what was looked at, and may go on beyond.
        tiles: The windows that it was decoded on.
        missing: Windows that prompts on the object lie in, but that are not encoded yet.

    Raises:
        ValueError: There is no candidate, or not the chosen one.
    """

    candidates: tuple[Candidate, ...]
    chosen: int
    is_truncated: bool
    tiles: tuple[TileWindow, ...]
    missing: tuple[TileWindow, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.chosen < len(self.candidates):
            raise ValueError(f"Candidate {self.chosen} of {len(self.candidates)} is chosen.")

    @property
    def shown(self) -> Candidate:
        """The chosen candidate."""
        return self.candidates[self.chosen]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the chosen candidate is left to be shown."""
        return not len(self.shown.outlines)

    @property
    def best_first(self) -> tuple[int, ...]:
        """Indices of the candidates by falling score."""
        order = range(len(self.candidates))
        return tuple(sorted(order, key=lambda index: -self.candidates[index].score))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays of all candidates."""
        return sum(candidate.nbytes for candidate in self.candidates)

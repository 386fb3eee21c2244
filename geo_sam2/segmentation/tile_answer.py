# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine found of an object on each of its tiles, as it says it and as it is used.

Ignorant of how the tiles are joined and of what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.protocol import read_field
from geo_sam2.errors import ProtocolError
from geo_sam2.runtime.engine_future import EngineResult
from geo_sam2.segmentation.object_steps import TilePlan
from geo_sam2.tile_window import TileWindow


class TileCandidate(NamedTuple):
    """One of the masks that a tile's prompts may mean.

    Attributes:
        mask: 0 part, 1 object, 2 whole of a lone click; 0 where there is no choice.
        predicted_iou: What the model thinks of the mask, 0 to 1.
        stability: How little the mask changes with the threshold, 0 to 1.
        outlines: Polygons in grid pixels, inside the window; may be none.
    """

    mask: int
    predicted_iou: float
    stability: float
    outlines: Outlines


@dataclass(frozen=True, eq=False)
class TileAnswer:
    """What was found of an object on one of its tiles.

    Attributes:
        window: The tile.
        candidates: By mask: three of a lone click, else one; of a preview only the chosen one.
        chosen: Index in ``candidates`` of the mask that the plan chose, or of the best.
    """

    window: TileWindow
    candidates: tuple[TileCandidate, ...]
    chosen: int


TileAnswers = tuple[TileAnswer, ...]


def read_answers(result: EngineResult, plan: TilePlan) -> TileAnswers | ProtocolError:
    """Read the answer to a plan; an error, returned, if it is none."""
    try:
        return _answers(result, plan)
    except (ProtocolError, KeyError, TypeError, ValueError) as error:
        known = ProtocolError(f"The engine's answer cannot be read: {error}", "Click again.")
        known.__cause__ = error
        return known


def _answers(result: EngineResult, plan: TilePlan) -> TileAnswers:
    outlines = Outlines.from_arrays(**result.arrays)
    objects = _read_records(result.fields, "objects")
    if len(objects) != len(plan.tiles):
        raise ProtocolError(f"{len(objects)} answers to {len(plan.tiles)} tiles.")
    answers, first = [], 0
    for tile, item in zip(plan.tiles, objects):
        candidates = []
        for candidate in _read_records(item, "candidates"):
            end = first + read_field(candidate, "polygons", int)
            if not first <= end <= len(outlines):
                raise ProtocolError(f"Polygons {first} to {end} of {len(outlines)}.")
            candidates.append(
                TileCandidate(
                    read_field(candidate, "mask", int),
                    read_field(candidate, "predicted_iou", float),
                    read_field(candidate, "stability", float),
                    outlines.polygons_between(first, end),
                )
            )
            first = end
        masks = [candidate.mask for candidate in candidates]
        chosen = masks.index(read_field(item, "chosen", int))
        answers.append(TileAnswer(tile.window, tuple(candidates), chosen))
    return tuple(answers)


def _read_records(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    records = read_field(fields, name, list)
    if not all(isinstance(record, Mapping) for record in records):
        raise ProtocolError(f"The field “{name}” does not hold records alone.")
    return records

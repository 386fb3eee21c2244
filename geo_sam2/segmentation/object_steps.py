# SPDX-License-Identifier: GPL-3.0-or-later
"""From the prompts of one object to the steps of the decoder on each of its tiles.

The dock gives prompts one after the other and looks at the mask between them, so each is a step
of its own, with the mask of the step before as mask prompt. Owns which prompt is a step where;
on which tiles is decided by ``tile_choice``. Pure: the same prompts on the same tiles give the
same plan. Ignorant of stores and of the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from geo_sam2.errors import PromptError
from geo_sam2.segmentation.grid_tiles import GridTiles
from geo_sam2.segmentation.object_state import ObjectState, Prompt, is_on_object
from geo_sam2.segmentation.prompts import Box, Click, ObjectPrompts
from geo_sam2.segmentation.tile_choice import PlacedObject, box_shares, place, window_bounds
from geo_sam2.tile_window import TileWindow

# What an object takes grows with its tiles, 25 ms of a processor each; a box over more is a slip
# of the hand, or wants a coarser resolution.
MAX_TILES = 64


@dataclass(frozen=True)
class TileSteps:
    """What the decoder is asked on one tile.

    Attributes:
        window: The tile.
        steps: First to last, the prompts that each adds; boxes are cut at the window.
        mask: Which of the three masks of the first step to go on with; None is the best, and all
            that there is unless the first step is a lone click.
    """

    window: TileWindow
    steps: tuple[tuple[Prompt, ...], ...]
    mask: int | None = None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the ``steps`` of a message to the engine (``engine.operations``)."""
        fields = [_step_fields(step) for step in self.steps]
        if self.mask is not None:
            fields[0]["mask"] = self.mask
        return fields


@dataclass(frozen=True)
class TilePlan:
    """How an object is decoded, and what of its prompts has to wait or does nothing.

    Attributes:
        tiles: Row by row; none where no prompt on the object lies in an encoded tile.
        missing: Windows that clicks on the object or boxes lie in, but that are not encoded, row by row.
        waiting: Prompts that will count there.
        outside: Prompts beyond the grid.
        idle: Prompts that change nothing: background in tiles in which the object has no other
            prompt, and boxes with a later one in each of their tiles.
    """

    tiles: tuple[TileSteps, ...]
    missing: tuple[TileWindow, ...] = ()
    waiting: tuple[Prompt, ...] = ()
    outside: tuple[Prompt, ...] = ()
    idle: tuple[Prompt, ...] = ()

    @property
    def windows(self) -> tuple[TileWindow, ...]:
        """The tiles that it is decoded on."""
        return tuple(tile.window for tile in self.tiles)

    @property
    def is_joined(self) -> bool:
        """Whether the object is made of the answers of several tiles."""
        return len(self.tiles) > 1


def tile_steps(state: ObjectState, tiles: GridTiles) -> TilePlan:
    """Plan how an object is decoded.

    On each tile its prompts are steps in their order, the first click or box on the object being
    the first: background before it goes in with it, for alone it says nothing. Of several boxes in
    a tile the last one counts, as SAM 2 knows a single one.

    Args:
        state: The object's prompts.
        tiles: Which tiles are encoded.

    Raises:
        PromptError: The object would lie in more than ``MAX_TILES`` tiles.
    """
    clicks = tuple(prompt for prompt in state.prompts if isinstance(prompt, Click))
    boxes = tuple(prompt for prompt in state.prompts if isinstance(prompt, Box))
    for box in boxes:
        _refuse_many(tiles.count_meeting(box.bounds_px))
    placed = place(ObjectPrompts(clicks, boxes), tiles)
    missing = _missing(placed, clicks, boxes, tiles)
    _refuse_many(len(placed.windows) + len(missing))
    planned = [_tile(window, placed, state) for window in _by_row(placed.windows)]
    used = {prompt.source_id for tile in planned for step in tile.steps for prompt in step}
    waiting, outside, idle = [], [], []
    for prompt in state.prompts:
        windows = _windows_of(prompt, tiles)
        if not windows:
            outside.append(prompt)
        elif not missing.isdisjoint(windows) and (isinstance(prompt, Box) or prompt.source_id not in used):
            waiting.append(prompt)
        elif prompt.source_id not in used:
            idle.append(prompt)
    return TilePlan(tuple(planned), tuple(_by_row(missing)), tuple(waiting), tuple(outside), tuple(idle))


def _refuse_many(count: int) -> None:
    if count > MAX_TILES:
        raise PromptError(
            f"The object lies in {count} tiles; {MAX_TILES} are possible.",
            "Draw a smaller box, or work at a coarser ground resolution.",
        )


def _tile(window: TileWindow, placed: PlacedObject, state: ObjectState) -> TileSteps:
    """Put what was placed on a tile into the order in which it was given."""
    here: dict[int, Prompt] = {}
    for part in placed.passes:
        if part.window == window:
            here.update((click.source_id, click) for click in part.clicks)
            if part.box is not None:
                here[part.box.source_id] = part.box
    ordered = [here[prompt.source_id] for prompt in state.prompts if prompt.source_id in here]
    boxes = [prompt for prompt in ordered if isinstance(prompt, Box)]
    ordered = [prompt for prompt in ordered if prompt not in boxes[:-1]]
    end = 1 + next(index for index, prompt in enumerate(ordered) if is_on_object(prompt))
    first = tuple(ordered[:end])
    steps = (first, *((prompt,) for prompt in ordered[end:]))
    return TileSteps(window, steps, state.mask if ObjectState(first).is_lone_click else None)


def _missing(
    placed: PlacedObject, clicks: Sequence[Click], boxes: Sequence[Box], tiles: GridTiles
) -> set[TileWindow]:
    """Return the windows without which a click on the object, or some of a box, is not looked at."""
    unplaced = [click for click in clicks if is_on_object(click) and click in placed.unplaced]
    found = {tiles.tiling.window_at(click.x_px, click.y_px) for click in unplaced}
    for box in boxes:
        covered = [
            window_bounds(part.window)
            for part in placed.passes
            if part.box is not None and part.box.source_id == box.source_id
        ]
        for window, share in box_shares(box, tiles.all_meeting(box.bounds_px)):
            x_min, y_min, x_max, y_max = share.bounds_px
            is_covered = any(
                left <= x_min and top <= y_min and x_max <= right and y_max <= bottom
                for left, top, right, bottom in covered
            )
            if window not in tiles and not is_covered:
                found.add(window)
    return {window for window in found if window is not None}


def _windows_of(prompt: Prompt, tiles: GridTiles) -> list[TileWindow]:
    """Return the windows, encoded or not, that a prompt lies in; none beyond the grid."""
    if isinstance(prompt, Box):
        return tiles.all_meeting(prompt.bounds_px)
    window = tiles.tiling.window_at(prompt.x_px, prompt.y_px)
    return [] if window is None else [window]


def _by_row(windows: Iterable[TileWindow]) -> list[TileWindow]:
    return sorted(windows, key=lambda window: (window.yoff, window.xoff))


def _step_fields(step: Sequence[Prompt]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    clicks = [prompt for prompt in step if isinstance(prompt, Click)]
    if clicks:
        fields["points"] = [[click.x_px, click.y_px] for click in clicks]
        fields["labels"] = [click.label for click in clicks]
    for prompt in step:
        if isinstance(prompt, Box):
            fields["box"] = list(prompt.bounds_px)
    return fields

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which prompt is a step on which tile, what waits for tiles, and what changes nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.engine.prompt_steps import prompt_after, read_steps
from geo_sam2.errors import PromptError
from geo_sam2.segmentation.grid_tiles import GridTiles
from geo_sam2.segmentation.object_state import ObjectState, make_box, make_click
from geo_sam2.segmentation.object_steps import MAX_TILES, tile_steps
from geo_sam2.segmentation.tile_choice import EncodedTiles
from geo_sam2.tile_window import TileWindow

# A grid of 2500 × 2048: the third column is shifted inward.
TILING = Tiling(2500, 2048)
A, B, C, D, E, F = TILING
WHOLE = GridTiles(TILING, TILING)


def state(*prompts, mask=None):
    """Return an object of (x, y, label) clicks and (x_min, y_min, x_max, y_max) boxes."""
    made = [
        make_click(*values, number) if len(values) == 3 else make_box(*values, number)
        for number, values in enumerate(prompts, start=1)
    ]
    return ObjectState(tuple(made), mask)


def plan(*prompts, mask=None, encoded=TILING):
    return tile_steps(state(*prompts, mask=mask), GridTiles(TILING, encoded))


def steps(*prompts, mask=None):
    """Return the steps on the only tile."""
    (tile,) = plan(*prompts, mask=mask).tiles
    return tile.to_json()


def ids(prompts):
    return [prompt.source_id for prompt in prompts]


def points(*clicks):
    return {"points": [[x, y] for x, y, _ in clicks], "labels": [label for _, _, label in clicks]}


ON, ON_2, ON_3 = (100, 100, 1), (200, 120, 1), (150, 300, 1)
BESIDE, BESIDE_2 = (400, 400, 0), (500, 100, 0)
BOX, BOX_2 = (50, 60, 350, 360), (20, 30, 250, 260)

ONE_TILE = {
    "a click": ([ON], [points(ON)]),
    "a box": ([BOX], [{"box": list(BOX)}]),
    "each click is a step": ([ON, BESIDE, ON_2], [points(ON), points(BESIDE), points(ON_2)]),
    "background first goes in with the first click": (
        [BESIDE, BESIDE_2, ON, ON_2],
        [points(BESIDE, BESIDE_2, ON), points(ON_2)],
    ),
    "background first goes in with the first box": (
        [BESIDE, BOX, ON],
        [{**points(BESIDE), "box": list(BOX)}, points(ON)],
    ),
    "box after clicks": ([ON, BESIDE, BOX], [points(ON), points(BESIDE), {"box": list(BOX)}]),
    "the last box counts": ([BOX, ON, BOX_2], [points(ON), {"box": list(BOX_2)}]),
    "the last box counts, background goes with what is first then": (
        [BOX, BESIDE, BOX_2, ON],
        [{**points(BESIDE), "box": list(BOX_2)}, points(ON)],
    ),
}


@pytest.mark.parametrize(("prompts", "expected"), ONE_TILE.values(), ids=ONE_TILE.keys())
def test_prompts_of_a_tile_are_steps_in_their_order(prompts, expected):
    found = steps(*prompts)
    assert found == expected
    assert len(read_steps(found)) == len(expected)


MASKS = {
    "lone click": ([ON], True),
    "first of several": ([ON, BESIDE, ON_2], True),
    "box": ([BOX, ON], False),
    "background goes with the first click": ([BESIDE, ON], False),
    "box takes the place of the first": ([ON, BOX], True),
}


@pytest.mark.parametrize(("prompts", "is_used"), MASKS.values(), ids=MASKS.keys())
def test_mask_is_chosen_of_a_lone_first_click(prompts, is_used):
    found = steps(*prompts, mask=2)
    assert [step.get("mask") for step in found] == [2 if is_used else None] + [None] * (len(found) - 1)
    if is_used:
        assert prompt_after(read_steps(found[:1])).is_lone_click


def test_each_tile_has_the_steps_that_lie_in_it():
    found = plan(ON, (1500, 200, 1), (1300, 300, 0), (900, 900, 0), mask=1)
    assert found.windows == (A, B)
    assert found.is_joined
    assert [tile.to_json() for tile in found.tiles] == [
        [{**points(ON), "mask": 1}, points((900, 900, 0))],
        [{**points((1500, 200, 1)), "mask": 1}, points((1300, 300, 0))],
    ]
    assert not found.missing + found.waiting + found.outside + found.idle


def test_tiles_come_row_by_row_whatever_was_clicked_first():
    assert plan((1200, 1200, 1), (100, 1200, 1), (1200, 10, 1), (10, 10, 1)).windows == (A, B, D, E)


def test_box_is_cut_at_the_windows():
    found = plan((900, 900, 1200, 1100))
    assert [tile.to_json()[0]["box"] for tile in found.tiles] == [
        [900, 900, 1024, 1024],
        [1024, 900, 1200, 1024],
        [900, 1024, 1024, 1100],
        [1024, 1024, 1200, 1100],
    ]


def test_later_box_replaces_an_earlier_one_only_where_both_lie():
    found = plan((900, 100, 1200, 300), (800, 50, 1000, 350))
    assert [tile.to_json() for tile in found.tiles] == [
        [{"box": [800, 50, 1000, 350]}],
        [{"box": [1024, 100, 1200, 300]}],
    ]
    assert not found.idle


def test_boxes_that_were_replaced_everywhere_are_idle():
    assert ids(plan(BOX, ON, BOX_2).idle) == [1]


def test_background_in_a_tile_of_its_own_is_idle():
    found = plan(ON, (1500, 200, 0))
    assert found.windows == (A,)
    assert ids(found.idle) == [2]


def test_background_alone_is_decoded_nowhere():
    found = plan(BESIDE)
    assert found.tiles == found.missing == ()
    assert ids(found.idle) == [1]


def test_click_in_a_tile_that_is_not_encoded_waits_for_it():
    found = plan(ON, (1500, 200, 1), (1300, 300, 0), (1200, 1300, 0), encoded=[A])
    assert found.windows == (A,)
    assert found.missing == (B,)
    assert ids(found.waiting) == [2, 3]
    assert ids(found.idle) == [4]


def test_click_that_counts_in_an_overlap_does_not_wait_beside_one_that_does():
    found = plan((1600, 100, 1), (1200, 100, 1), encoded=[C])
    assert (found.windows, found.missing) == ((C,), (B,))
    assert ids(found.waiting) == [2]


def test_nothing_encoded_is_all_waiting():
    found = plan(ON, BOX, encoded=[])
    assert found.tiles == ()
    assert found.missing == (A,)
    assert ids(found.waiting) == [1, 2]
    assert not found.is_joined


def test_part_of_a_box_waits_for_its_tile():
    found = plan((900, 900, 1200, 1100), encoded=[A, E])
    assert found.windows == (A, E)
    assert found.missing == (B, D)
    assert ids(found.waiting) == [1]


@pytest.mark.parametrize("prompt", [(1600, 100, 1), (1500, 100, 1700, 300)])
@pytest.mark.parametrize("encoded", [B, C])
def test_where_windows_overlap_one_that_is_encoded_is_enough(prompt, encoded):
    found = plan(prompt, encoded=[encoded])
    assert found.windows == (encoded,)
    assert found.missing == ()


def test_sliver_of_a_box_is_not_waited_for():
    assert plan((900, 10, 1026, 20), encoded=[A]).missing == ()


def test_prompts_beyond_the_grid_are_named():
    found = plan(ON, (2501, 10, 1), (-1, 10, 0), (2600, 10, 2700, 20), (-10, -10, 20, 20))
    assert ids(found.outside) == [2, 3, 4]
    assert found.windows == (A,)
    assert found.tiles[0].to_json()[-1] == {"box": [0, 0, 20, 20]}


def test_click_on_the_last_edge_belongs_to_the_grid():
    assert plan((2500, 2048, 1)).windows == (F,)


def test_plan_does_not_depend_on_the_numbers_of_prompts():
    first = state(BOX, ON, BESIDE, (1500, 100, 1))
    second = first.numbered([9, 2, 70, 1])
    plans = [tile_steps(each, WHOLE) for each in (first, second)]
    assert [tile.to_json() for tile in plans[0].tiles] == [tile.to_json() for tile in plans[1].tiles]


def test_plan_does_not_depend_on_the_order_in_which_tiles_came():
    prompts = state((1024, 1024, 1), (1000, 900, 2000, 1500), (1600, 10, 1))
    plans = []
    for windows in (list(TILING), list(TILING)[::-1]):
        tiles = GridTiles(TILING)
        for window in windows:
            tiles.add(window)
        plans.append(tile_steps(prompts, tiles))
    assert plans[0] == plans[1]


def test_object_over_too_many_tiles_is_refused_before_it_costs_anything():
    huge = Tiling(1024 * 20_000, 1024 * 20_000)
    prompts = state((0, 0, 1e9, 1e9))
    with pytest.raises(PromptError, match=r"400000000 tiles; 64 are possible"):
        tile_steps(prompts, GridTiles(huge))
    many = [(1024 * column + 500, 500, 1) for column in range(MAX_TILES + 1)]
    tile_steps(state(*many[1:]), GridTiles(huge))
    with pytest.raises(PromptError, match="65 tiles"):
        tile_steps(state(*many), GridTiles(huge))


# GridTiles, held against the search that looks at every window

SIZES = [(2500, 2048), (1024, 1024), (1025, 300), (700, 5000), (2048, 1), (3071, 3073)]


@pytest.mark.parametrize("size", SIZES)
def test_arithmetic_finds_what_a_search_finds(size):
    tiling, rng = Tiling(*size), np.random.default_rng(0)
    windows = [window for window in tiling if rng.random() < 0.7]
    tiles, search = GridTiles(tiling, windows), EncodedTiles(windows)
    edges = [
        [0, 1023, 1024, 1025, 2048, length - 1024, length - 1, length, -5, length + 5] for length in size
    ]
    places = [[*axis, *rng.uniform(-100, length + 100, 25)] for axis, length in zip(edges, size)]
    for x in places[0]:
        for y in places[1]:
            assert tiles.containing(x, y) == search.containing(x, y)
            bounds = (x, y, x + rng.choice([0.001, 10, 1024, 3000]), y + rng.choice([0.001, 10, 1024, 3000]))
            assert tiles.meeting(bounds) == search.meeting(bounds)
            assert tiles.count_meeting(bounds) == len(EncodedTiles(tiling).meeting(bounds))


def test_tiles_come_and_go():
    tiles = GridTiles(TILING)
    assert (len(tiles), A in tiles, tiles.containing(5, 5)) == (0, False, [])
    tiles.add(A)
    tiles.add(A)
    assert (len(tiles), A in tiles, tiles.containing(5, 5)) == (1, True, [A])
    tiles.discard(A)
    tiles.discard(B)
    assert (len(tiles), tiles.containing(5, 5)) == (0, [])


def test_window_of_another_level_is_never_found():
    tiles = GridTiles(TILING, [dataclasses.replace(A, level=1), TileWindow(0, 5, 5, 1024, 1024)])
    assert tiles.containing(100, 100) == []

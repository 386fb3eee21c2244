# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tiles the prompts of an object are decoded on, by tables of windows."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.segmentation.prompts import Box, Click, ObjectPrompts
from geo_sam2.segmentation.tile_choice import EncodedTiles, box_shares, place, reaches_open_edge
from geo_sam2.tile_window import TileWindow

SIDE = 1024


def tile(x, y, width=SIDE, height=SIDE):
    return TileWindow(0, x, y, width, height)


# A grid of 2500 × 2048: the third column is shifted inward.
GRID = [tile(x, y) for y in (0, 1024) for x in (0, 1024, 1476)]
TILES = EncodedTiles(GRID)
A, B, C, D, E, F = GRID


def click(x, y, label=FOREGROUND, source_id=1):
    return Click(x, y, label, source_id)


def box(*bounds, source_id=1):
    return Box(*map(float, bounds), source_id)


CLICKS = {
    "one click": ([click(100, 100)], {A: 1}),
    "on the seam it is one tile's": ([click(1024, 512)], {A: 1}),
    "where windows overlap, the one with more room": ([click(1500, 512)], {B: 1}),
    "the other half of the overlap": ([click(2040, 512)], {C: 1}),
    "outer corner of the grid": ([click(2500, 2048)], {F: 1}),
    "two tiles": ([click(100, 100), click(1200, 100)], {A: 1, B: 1}),
    "one tile that holds both": ([click(1480, 100), click(2400, 100)], {C: 2}),
    "three tiles": ([click(100, 100), click(1200, 100), click(100, 1200)], {A: 1, B: 1, D: 1}),
    "background goes along": ([click(100, 100), click(200, 100, BACKGROUND)], {A: 2}),
    "background opens no tile": ([click(100, 100), click(1200, 100, BACKGROUND)], {A: 1}),
    "background on a seam is told to both": (
        [click(100, 100), click(1200, 100), click(1024, 100, BACKGROUND)],
        {A: 2, B: 2},
    ),
}


@pytest.mark.parametrize(("clicks", "expected"), CLICKS.values(), ids=CLICKS.keys())
def test_clicks_go_to_their_tiles(clicks, expected):
    placed = place(ObjectPrompts(clicks=tuple(clicks)), TILES)
    assert {part.window: len(part.clicks) for part in placed.passes} == expected
    assert not placed.unplaced


def test_clicks_outside_all_tiles_are_named_and_the_rest_goes_on():
    lost = click(3000, 100, source_id=7)
    placed = place(ObjectPrompts(clicks=(lost, click(100, 100))), TILES)
    assert placed.unplaced == (lost,)
    assert placed.windows == [A]


def test_background_without_effect_is_named():
    beside = click(1200, 100, BACKGROUND, 8)
    placed = place(ObjectPrompts(clicks=(click(100, 100), beside)), TILES)
    assert placed.idle == (beside,)
    assert not placed.unplaced


def test_object_of_background_clicks_is_decoded_nowhere():
    placed = place(ObjectPrompts(clicks=(click(100, 100, BACKGROUND),)), TILES)
    assert placed.passes == ()


BOXES = {
    "inside": (box(100, 100, 200, 200), {A: (100, 100, 200, 200)}),
    "over a seam": (box(1000, 10, 1100, 20), {A: (1000, 10, 1024, 20), B: (1024, 10, 1100, 20)}),
    "over a crossing": (
        box(1000, 1000, 1100, 1100),
        {
            A: (1000, 1000, 1024, 1024),
            B: (1024, 1000, 1100, 1024),
            D: (1000, 1024, 1024, 1100),
            E: (1024, 1024, 1100, 1100),
        },
    ),
    "whole in a shifted window": (box(1500, 10, 2100, 20), {C: (1500, 10, 2100, 20)}),
    "whole in a regular window": (box(1400, 10, 2040, 20), {B: (1400, 10, 2040, 20)}),
    "whole in two": (box(1490, 10, 1600, 20), {B: (1490, 10, 1600, 20)}),
    "whole in none": (box(1400, 10, 2100, 20), {B: (1400, 10, 2048, 20), C: (1476, 10, 2100, 20)}),
    "sliver in the next tile": (box(900, 10, 1026, 20), {A: (900, 10, 1024, 20)}),
    "beyond the grid": (box(-50, -50, 200, 200), {A: (0, 0, 200, 200)}),
    "narrow box on a seam": (box(1021, 10, 1026, 20), {A: (1021, 10, 1024, 20)}),
}


@pytest.mark.parametrize(("given", "expected"), BOXES.values(), ids=BOXES.keys())
def test_box_is_cut_at_seams(given, expected):
    shares = {window: share.bounds_px for window, share in box_shares(given, TILES.meeting(given.bounds_px))}
    assert shares == expected


def test_box_that_touches_no_tile_is_named():
    lost = box(-100, 0, 0, 100)
    assert place(ObjectPrompts(boxes=(lost,)), TILES).unplaced == (lost,)


def test_box_goes_to_the_window_that_is_encoded():
    """The regular window of the overlap is missing: the shifted one serves."""
    tiles = EncodedTiles([A, C])
    placed = place(ObjectPrompts(boxes=(box(1500, 10, 1600, 20),)), tiles)
    assert placed.windows == [C]


def test_clicks_refine_the_only_box_of_a_tile():
    inside, outside = click(150, 150), click(400, 400)
    placed = place(ObjectPrompts((inside, outside), (box(100, 100, 200, 200),)), TILES)
    (part,) = placed.passes
    assert part.box.bounds_px == (100, 100, 200, 200)
    assert part.clicks == (inside, outside)


def test_several_boxes_of_a_tile_are_decoded_one_by_one():
    first, second = box(100, 100, 200, 200), box(300, 300, 400, 400)
    inside, outside, beside = click(150, 150), click(600, 600), click(250, 250, BACKGROUND)
    placed = place(ObjectPrompts((inside, outside, beside), (first, second)), TILES)
    found = {part.box and part.box.bounds_px: part.clicks for part in placed.passes}
    assert found == {
        first.bounds_px: (inside, beside),
        second.bounds_px: (beside,),
        None: (outside, beside),
    }


def mask(*rings, source_id=1):
    """Return a polygon of rings of vertices, which are closed here, with the box round it."""
    closed = [np.array([*ring, ring[0]], float) for ring in rings]
    points = np.concatenate(closed)
    outlines = Outlines(points, offsets_of([len(ring) for ring in closed]), offsets_of([len(closed)]))
    return Box(*points.min(axis=0), *points.max(axis=0), source_id, outlines)


def square(x_min, y_min, x_max, y_max):
    return [(x_min, y_min), (x_min, y_max), (x_max, y_max), (x_max, y_min)]


L_SHAPE = [(900, 900), (900, 1500), (1000, 1500), (1000, 1000), (1300, 1000), (1300, 900)]
MASKS = {
    "inside": (mask(square(100, 100, 200, 200)), {A: ((100, 100, 200, 200), 10_000)}),
    "over a seam": (
        mask(square(1000, 10, 1100, 20)),
        {A: ((1000, 10, 1024, 20), 240), B: ((1024, 10, 1100, 20), 760)},
    ),
    "round a corner, no part in the fourth tile": (
        mask(L_SHAPE),
        {
            A: ((900, 900, 1024, 1024), 100 * 124 + 24 * 100),
            B: ((1024, 900, 1300, 1000), 276 * 100),
            D: ((900, 1024, 1000, 1500), 476 * 100),
        },
    ),
    "hole": (mask(square(0, 0, 500, 500), square(100, 100, 200, 200)), {A: ((0, 0, 500, 500), 240_000)}),
    "hole that holds a tile": (
        mask(square(-500, -500, 3000, 3000), square(-100, -100, 1476, 2100)),
        {C: ((1476, 0, 2500, 1024), 1024**2), F: ((1476, 1024, 2500, 2048), 1024**2)},
    ),
    "slanted": (
        mask([(1000, 10), (1048, 10), (1000, 58)]),
        {A: ((1000, 10, 1024, 58), 864), B: ((1024, 10, 1048, 34), 288)},
    ),
    "exactly a tile": (mask(square(0, 0, 1024, 1024)), {A: ((0, 0, 1024, 1024), 1024**2)}),
    "whole in a shifted window": (mask(square(1500, 10, 2100, 20)), {C: ((1500, 10, 2100, 20), 6000)}),
    "sliver in the next tile": (mask(square(900, 10, 1026, 20)), {A: ((900, 10, 1024, 20), 1240)}),
    "beyond the grid": (mask(square(-50, -50, 200, 200)), {A: ((0, 0, 200, 200), 40_000)}),
    "the grid in its hole": (mask(square(-500, -500, 3000, 3000), square(-9, -9, 2509, 2509)), {}),
}


@pytest.mark.parametrize(("given", "expected"), MASKS.values(), ids=MASKS.keys())
def test_each_tile_gets_its_part_of_a_mask(given, expected):
    shares = dict(box_shares(given, TILES.meeting(given.bounds_px)))
    assert {window: share.bounds_px for window, share in shares.items()} == {
        window: bounds for window, (bounds, _) in expected.items()
    }
    for window, (_, area) in expected.items():
        part = shares[window].polygons
        assert part.oriented().area_px2.sum() == pytest.approx(area)
        low, high = part.points_xy.min(axis=0), part.points_xy.max(axis=0)
        assert (low >= window.corners()[0]).all()
        assert (high <= window.corners()[2]).all()


def test_mask_that_meets_a_tile_with_its_box_alone_is_named():
    beside = mask([(-100, 0), (-100, 1200), (100, 1200), (100, 1100), (-50, 1100), (-50, 0)])
    tiles = EncodedTiles([A])
    assert tiles.meeting(beside.bounds_px) == [A]
    assert place(ObjectPrompts(boxes=(beside,)), tiles).unplaced == (beside,)


def test_clicks_correct_the_mask_of_their_object():
    inside, beside = click(150, 150), click(400, 400, BACKGROUND)
    given = mask(square(100, 100, 200, 200))
    (part,) = place(ObjectPrompts((inside, beside), (given,)), TILES).passes
    assert part.clicks == (inside, beside)
    assert part.box.polygons is not None


def rectangle(x_min, y_min, x_max, y_max):
    ring = [(x_min, y_min), (x_min, y_max), (x_max, y_max), (x_max, y_min), (x_min, y_min)]
    return Outlines(np.array(ring, float), offsets_of([5]), offsets_of([1]))


NOTHING = Outlines.empty()
EDGES = {
    "inside": ([(A, rectangle(10, 10, 1000, 1000))], False),
    "at the next tile, which was not asked": ([(A, rectangle(500, 10, 1024, 100))], True),
    "at the next tile, which says no": ([(A, rectangle(500, 10, 1024, 100)), (B, NOTHING)], False),
    "at the grid's edge": ([(A, rectangle(0, 10, 100, 100))], True),
    "across a seam": ([(A, rectangle(500, 10, 1024, 100)), (B, rectangle(1024, 10, 1100, 90))], False),
    "across a seam and down to the next": (
        [(A, rectangle(500, 10, 1024, 1024)), (B, rectangle(1024, 10, 1100, 90))],
        True,
    ),
    "inside an overlap": ([(B, rectangle(1800, 10, 2048, 100)), (C, rectangle(1800, 10, 2040, 90))], False),
    "at an overlap that was not asked": ([(B, rectangle(1800, 10, 2048, 100))], True),
    "partly covered side": ([(B, rectangle(1800, 10, 2048, 100)), (tile(1476, 50), NOTHING)], True),
    "covered by two": (
        [(B, rectangle(1800, 10, 2048, 100)), (tile(1476, 50), NOTHING), (tile(1476, -974), NOTHING)],
        False,
    ),
    "a window below is not beyond the side": (
        [(E, rectangle(1800, 1500, 2048, 1600)), (tile(1024, 1476), NOTHING)],
        True,
    ),
}


@pytest.mark.parametrize(("parts", "expected"), EDGES.values(), ids=EDGES.keys())
def test_truncated_where_nobody_looked_further(parts, expected):
    assert reaches_open_edge(parts) is expected


def test_ends_of_neighbouring_rings_are_no_segment():
    """The last vertex of one ring and the first of the next both lie on the side, but apart from it."""
    rings = [(1024, 5), (1000, 5), (1000, 9), (1024, 5)], [(1024, 50), (1000, 50), (1000, 90), (1024, 50)]
    outlines = Outlines(np.concatenate(rings).astype(float), offsets_of([4, 4]), offsets_of([1, 1]))
    assert not reaches_open_edge([(A, outlines)])


def test_many_tiles_are_searched_without_visiting_each():
    windows = [tile(1024 * column, 1024 * row) for row in range(100) for column in range(100)]
    assert EncodedTiles(windows).containing(50_000.5, 70_000.5) == [windows[68 * 100 + 48]]
    assert EncodedTiles([]).containing(1, 1) == []

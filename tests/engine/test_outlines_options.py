# SPDX-License-Identifier: GPL-3.0-or-later
"""Filled holes, dropped parts, the largest part, and options that make no sense."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outlines import OutlineOptions, outline_logits, trace
from geo_sam2.errors import OutlineOptionsError
from tests.engine.outline_fields import assert_sound, disc, noise, ring_with_hole, to_shapely

WHOLE = LogitGrid(1024, 1024)
STYLES = ["smooth", "pixel"]


def three_discs():
    places = [(200, 200, 90), (700, 250, 120), (400, 800, 70)]
    return np.max([disc(WHOLE, *place) for place in places], axis=0)


def target():
    """A ring of radii 200 and 400 with an island of radius 80 in its hole, which has a hole of 30."""
    return np.maximum(ring_with_hole(WHOLE, 512, 512, 200, 400), ring_with_hole(WHOLE, 512, 512, 30, 80))


def disc_area(radius_px):
    return np.pi * radius_px**2


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("min_area_px2", "radii"),
    [(0, [90, 120, 70]), (16_000, [90, 120]), (26_000, [120]), (50_000, [])],
)
def test_parts_below_the_minimum_area_are_dropped(min_area_px2, radii, style):
    outlines = outline_logits(three_discs(), WHOLE, OutlineOptions(style, min_area_px2=min_area_px2))
    assert sorted(outlines.area_px2) == pytest.approx(sorted(map(disc_area, radii)), rel=2e-3)
    assert_sound(outlines, WHOLE)


def test_a_part_of_exactly_the_minimum_area_stays():
    grid = LogitGrid(64, 32)
    logits = np.ones((256, 256), np.float32)
    assert len(outline_logits(logits, grid, OutlineOptions(min_area_px2=64 * 32))) == 1
    assert len(outline_logits(logits, grid, OutlineOptions(min_area_px2=64 * 32 + 1))) == 0


@pytest.mark.parametrize("style", STYLES)
def test_the_largest_part_is_kept_alone(style):
    outlines = outline_logits(three_discs(), WHOLE, OutlineOptions(style, largest_only=True))
    assert outlines.area_px2.tolist() == pytest.approx([disc_area(120)], rel=1e-3)
    centroid = to_shapely(outlines).centroid
    assert (centroid.x, centroid.y) == pytest.approx((700, 250), abs=0.1)


def test_the_largest_part_of_an_empty_mask_is_empty():
    logits = np.full((256, 256), -1, np.float32)
    options = OutlineOptions(largest_only=True, min_area_px2=5, max_hole_px2=5, simplify_px=1)
    assert len(outline_logits(logits, WHOLE, options)) == 0


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("max_hole_px2", "ring_counts", "area"),
    [
        (0, [2, 2], disc_area(400) - disc_area(200) + disc_area(80) - disc_area(30)),
        (disc_area(31), [1, 2], disc_area(400) - disc_area(200) + disc_area(80)),
        (disc_area(199), [1, 2], disc_area(400) - disc_area(200) + disc_area(80)),
        (disc_area(201), [1], disc_area(400)),  # the island goes with the hole it lies in
    ],
)
def test_holes_up_to_an_area_are_filled_with_what_is_in_them(max_hole_px2, ring_counts, area, style):
    outlines = outline_logits(target(), WHOLE, OutlineOptions(style, max_hole_px2=max_hole_px2))
    assert sorted(len(rings) for rings in outlines.polygons()) == ring_counts
    assert outlines.area_px2.sum() == pytest.approx(area, rel=1e-3)
    assert_sound(outlines, WHOLE)


@pytest.mark.parametrize("style", STYLES)
def test_a_part_beside_a_filled_hole_stays(style):
    logits = np.maximum(ring_with_hole(WHOLE, 300, 512, 100, 200), disc(WHOLE, 700, 512, 60))
    outlines = outline_logits(logits, WHOLE, OutlineOptions(style, max_hole_px2=40_000))
    assert sorted(outlines.area_px2) == pytest.approx([disc_area(60), disc_area(200)], rel=2e-3)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("blur", [0.6, 2])
def test_filling_the_holes_of_noise_gives_the_union_of_its_filled_parts(blur, style):
    grid = LogitGrid(256, 256, low_res=64)
    logits = noise(seed=6, blur=blur)[:64, :64]
    bare = outline_logits(logits, grid, OutlineOptions(style))
    filled = outline_logits(logits, grid, OutlineOptions(style, max_hole_px2=1e9))
    assert_sound(filled, grid)
    assert (np.diff(filled.polygon_offsets) == 1).all()
    assert len(filled) < bare.ring_count
    expected = shapely.union_all([shapely.Polygon(rings[0]) for rings in bare.polygons()])
    assert filled.area_px2.sum() == pytest.approx(expected.area, rel=1e-9)
    # With a bound every hole that is left is larger than it, and valid polygons stay valid.
    bounded = outline_logits(logits, grid, OutlineOptions(style, max_hole_px2=60.0))
    holes = -bounded.signed_ring_area_px2[~bounded.is_exterior]
    assert (holes > 60.0).all()
    assert_sound(bounded, grid)


def outlines_of_mask(drawing, options):
    """Outline a mask drawn with a character for each pixel, # for object."""
    mask = np.array([[character == "#" for character in line] for line in drawing.split()])
    rows, columns = mask.shape
    x = np.concatenate(([0.0], np.arange(columns) + 0.5, [columns]))
    y = np.concatenate(([0.0], np.arange(rows) + 0.5, [rows]))
    return trace(np.pad(np.where(mask, 1.0, -1.0), 1, mode="edge"), x, y, options)


@pytest.mark.parametrize("style", STYLES)
def test_a_part_in_the_bend_of_a_filled_hole_stays(style):
    drawing = """
        #########
        #.......#
        #.#######
        #.#......
        #.#..##..
        #.#..##..
        #.#......
        ###......
    """
    assert outlines_of_mask(drawing, OutlineOptions(style)).ring_count == 3
    filled = outlines_of_mask(drawing, OutlineOptions(style, max_hole_px2=50))
    assert filled.ring_count == len(filled) == 2


@pytest.mark.parametrize("turn", [slice(None), slice(None, None, -1)])
@pytest.mark.parametrize("mirror", [slice(None), slice(None, None, -1)])
def test_an_island_that_touches_its_hole_in_a_corner_goes_with_it(turn, mirror):
    lines = ["######", "##...#", "#.#..#", "#....#", "######"]
    drawing = " ".join(line[mirror] for line in lines[turn])
    assert len(outlines_of_mask(drawing, OutlineOptions("pixel"))) == 2
    filled = outlines_of_mask(drawing, OutlineOptions("pixel", max_hole_px2=12))
    assert filled.area_px2.tolist() == [30.0]


@pytest.mark.parametrize(("max_hole_px2", "area"), [(3.9, 12.0), (4.0, 16.0)])
def test_a_hole_of_exactly_the_area_is_filled(max_hole_px2, area):
    drawing = "#### #..# #..# ####"
    outlines = outlines_of_mask(drawing, OutlineOptions("pixel", max_hole_px2=max_hole_px2))
    assert outlines.area_px2.tolist() == [area]


def test_area_is_judged_after_filling():
    ring = ring_with_hole(WHOLE, 512, 512, 190, 200)
    options = OutlineOptions(max_hole_px2=disc_area(200), min_area_px2=disc_area(199))
    assert len(outline_logits(ring, WHOLE, options)) == 1
    assert len(outline_logits(ring, WHOLE, OutlineOptions(min_area_px2=disc_area(199)))) == 0


def test_everything_at_once_is_valid():
    options = OutlineOptions(
        threshold=-0.5, simplify_px=1.5, min_area_px2=40.0, max_hole_px2=30.0, largest_only=False
    )
    outlines = outline_logits(noise(seed=12, blur=1.5), WHOLE, options)
    assert len(outlines) > 5
    assert_sound(outlines, WHOLE)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"style": "round"}, "style"),
        ({"style": None}, "style"),
        ({"threshold": np.nan}, "threshold"),
        ({"threshold": 1e7}, "threshold"),
        ({"threshold": -1e300}, "threshold"),
        ({"threshold": "0"}, "threshold"),
        ({"simplify_px": -0.1}, "simplify_px"),
        ({"simplify_px": np.inf}, "simplify_px"),
        ({"simplify_px": True}, "simplify_px"),
        ({"min_area_px2": -1}, "min_area_px2"),
        ({"min_area_px2": None}, "min_area_px2"),
        ({"max_hole_px2": np.nan}, "max_hole_px2"),
        ({"largest_only": 1}, "largest_only"),
        ({"style": "pixel", "simplify_px": 0.5}, "pixel edges"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options, problem):
    with pytest.raises(OutlineOptionsError, match=problem):
        OutlineOptions(**options)


def test_numbers_of_numpy_are_numbers():
    options = OutlineOptions(threshold=np.float32(0.5), simplify_px=np.int64(1), largest_only=np.True_)
    assert len(outline_logits(disc(WHOLE, 512, 512, 100), WHOLE, options)) == 1

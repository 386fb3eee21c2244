# SPDX-License-Identifier: GPL-3.0-or-later
"""Simplified outlines stay within their tolerance, valid, and joined at the window's edge."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geo_sam2.engine import ring_conflicts
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.engine.outlines import OutlineOptions, outline_logits
from geo_sam2.engine.ring_conflicts import points_in_ring, segments_in_conflict
from geo_sam2.engine.ring_simplify import simplify_rings
from tests.engine.outline_fields import assert_sound, disc, noise, object_mask, to_shapely

WHOLE = LogitGrid(1024, 1024)


def outlines_of(*polygons):
    """Outlines of polygons that are lists of rings, which are open lists of (x, y)."""
    rings = [np.array([*ring, ring[0]], float) for polygon in polygons for ring in polygon]
    return Outlines(
        np.concatenate(rings), offsets_of([len(r) for r in rings]), offsets_of([len(p) for p in polygons])
    ).oriented()


def simplified(outlines, tolerance_px):
    return simplify_rings(outlines, tolerance_px, np.zeros(len(outlines.points_xy), bool))


def ring_distance(outlines, other):
    """Largest Hausdorff distance of two rings with the same place in the arrays."""
    assert outlines.ring_count == other.ring_count
    return max(
        shapely.hausdorff_distance(
            shapely.LinearRing(outlines.ring(i)), shapely.LinearRing(other.ring(i)), densify=0.2
        )
        for i in range(outlines.ring_count)
    )


@pytest.mark.parametrize("tolerance_px", [0.05, 0.3, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("seed", range(5))
def test_an_object_moves_by_no_more_than_the_tolerance(seed, tolerance_px):
    logits = object_mask(seed)
    traced = outline_logits(logits, WHOLE)
    simple = outline_logits(logits, WHOLE, OutlineOptions(simplify_px=tolerance_px))
    assert_sound(simple, WHOLE)
    assert len(simple.points_xy) < len(traced.points_xy)
    assert ring_distance(traced, simple) <= tolerance_px + 1e-9
    assert set(map(tuple, simple.points_xy)) <= set(map(tuple, traced.points_xy))


@pytest.mark.parametrize("tolerance_px", [0.5, 2.0, 8.0, 50.0])
@pytest.mark.parametrize("blur", [0.7, 1.5, 4.0])
def test_noise_stays_valid_and_complete(blur, tolerance_px):
    logits = noise(seed=17, blur=blur, size=80)
    grid = LogitGrid(320, 320, low_res=80)
    traced = outline_logits(logits, grid)
    simple = outline_logits(logits, grid, OutlineOptions(simplify_px=tolerance_px))
    assert_sound(simple, grid)
    np.testing.assert_array_equal(simple.polygon_offsets, traced.polygon_offsets)
    assert ring_distance(traced, simple) <= tolerance_px + 1e-9


def test_simplification_is_as_sparse_as_the_reference():
    logits = object_mask(3)
    reference = to_shapely(outline_logits(logits, WHOLE)).simplify(1.0)
    simple = outline_logits(logits, WHOLE, OutlineOptions(simplify_px=1.0))
    assert len(simple.points_xy) <= 1.15 * shapely.get_num_coordinates(reference)


def test_a_polygon_comes_down_to_its_corners():
    corners = [(0, 0), (100, 0), (100, 60), (40, 60), (40, 100), (0, 100)]
    square = shapely.segmentize(shapely.Polygon(corners), 1.7).exterior
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, (len(square.coords) - 1, 2))
    outlines = outlines_of([list(np.array(square.coords[:-1]) + jitter)])
    simple = simplified(outlines, 0.8)
    assert len(simple.points_xy) == 7
    for corner in corners:
        assert np.hypot(*(simple.points_xy - corner).T).min() < 1.8


def test_a_spur_along_a_segment_but_beyond_its_end_stays():
    ring = [(0, 0), (0, 20), (10, 20), (10, 0.4), (30, 0.2)]
    outlines = outlines_of([ring])
    fixed = ~(outlines.points_xy == (30, 0.2)).all(axis=1)
    # A pixel off the line through its neighbours, but twenty off the segment between them.
    assert len(simplify_rings(outlines, 3.0, fixed).points_xy) == 6


def test_points_on_the_windows_edge_stay_exactly():
    logits = noise(seed=8, blur=5)
    traced = outline_logits(logits, WHOLE)
    simple = outline_logits(logits, WHOLE, OutlineOptions(simplify_px=15.0))

    def on_edge(outlines):
        kept = np.isin(outlines.points_xy, (0.0, 1024.0)).any(axis=1)
        return set(map(tuple, outlines.points_xy[kept]))

    assert len(on_edge(traced)) > 20
    assert on_edge(simple) == on_edge(traced)
    assert len(simple.points_xy) < len(traced.points_xy) / 5
    assert_sound(simple, WHOLE)


def test_a_full_window_stays_its_rectangle():
    full = outline_logits(np.ones((256, 256), np.float32), WHOLE, OutlineOptions(simplify_px=3000.0))
    assert sorted(map(tuple, full.points_xy[:-1].tolist())) == [(0, 0), (0, 1024), (1024, 0), (1024, 1024)]


def test_pairs_looked_at_in_many_portions_give_the_same_outlines(monkeypatch):
    logits, options = noise(seed=5, blur=3), OutlineOptions(simplify_px=12.0)
    at_once = outline_logits(logits, WHOLE, options)
    monkeypatch.setattr(ring_conflicts, "PAIRS_AT_ONCE", 50)
    np.testing.assert_array_equal(outline_logits(logits, WHOLE, options).points_xy, at_once.points_xy)


def test_a_part_smaller_than_the_tolerance_keeps_an_area():
    simple = outline_logits(disc(WHOLE, 500, 500, 20), WHOLE, OutlineOptions(simplify_px=100.0))
    assert len(simple) == 1
    assert len(simple.points_xy) >= 4
    assert_sound(simple, WHOLE)


def test_an_arc_does_not_cut_through_the_hole_behind_it():
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.column_stack((np.cos(angles), np.sin(angles)))
    thin = outlines_of([list(100 * circle + 500), list(99 * circle[::-1] + 500)])
    simple = simplified(thin, 5.0)
    assert_sound(simple)
    assert simple.ring_count == 2
    assert len(simple.points_xy) < len(thin.points_xy)


BUMPS = [[(60, 0), (60, 3), (40, 3), (40, 0)], [(50, 3)]]


@pytest.mark.parametrize("bump", BUMPS)
def test_a_hole_in_a_bump_that_would_be_cut_off_keeps_the_bump(bump):
    exterior = [(0, 0), (0, -50), (100, -50), (100, 0), *bump]
    hole = [(49, 1), (51, 1), (50, 2)]
    simple = simplified(outlines_of([exterior, hole]), 4.0)
    assert_sound(simple)
    alone = simplified(outlines_of([exterior]), 4.0)
    assert len(alone.points_xy) == 5  # without the hole nothing keeps the bump


@pytest.mark.parametrize("bump", BUMPS)
def test_an_island_in_a_notch_that_would_be_closed_keeps_the_notch(bump):
    around = [(0, 0), (0, 50), (100, 50), (100, 0), *bump]
    island = [(49, 1), (51, 1), (50, 2)]
    simple = simplified(outlines_of([around], [island]), 4.0)
    assert_sound(simple)
    alone = simplified(outlines_of([around]), 4.0)
    assert len(alone.points_xy) == 5


def test_an_island_behind_another_ones_arc_keeps_the_vertices_next_to_it_only():
    bumps = [
        point for x in range(900, 0, -100) for point in [(x + 10, 0), (x + 10, 3), (x - 10, 3), (x - 10, 0)]
    ]
    around = [(0, 0), (0, 50), (1000, 50), (1000, 0), *bumps]
    island = [(499, 1), (501, 1), (500, 2)]
    simple = simplified(outlines_of([around], [island]), 4.0)
    assert_sound(simple)
    assert len(around) == 40
    assert len(simple.points_xy) <= 16


HOUSE = [(0, 0), (0, 4), (2, 5), (4, 4), (4, 0)]
HOOK = [(0, 0), (0, 5), (7, 5), (7, 4), (2, 4), (2, 1), (8, 1), (8, 9), (9, 9), (9, 0)]


@pytest.mark.parametrize(
    ("ring", "kept", "conflict"),
    [
        (HOUSE, [0, 1, 3, 4, 5], False),
        (HOUSE, [0, 3, 5], True),  # no area
        ([(0, 0), (0, 1), (9, 1), (10, 9), (10, 0)], [0, 1, 2, 3, 5], True),  # turns round
        ([(0, 0), (0, 4), (9, 4), (6, 4.1), (6, 9), (10, 9), (10, 0)], [0, 1, 2, 3, 5, 6, 7], False),
        (HOOK, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], False),
        (HOOK, [0, 1, 2, 3, 4, 5, 7, 10], True),  # crosses the arm within
    ],
)
def test_conflicts_of_a_ring_with_itself_are_found(ring, kept, conflict):
    outlines = outlines_of([ring])
    assert outlines.points_xy[:-1].tolist() == [list(point) for point in ring]
    assert to_shapely(outlines).is_valid
    assert segments_in_conflict(outlines, np.array(kept)).any() == conflict


def test_a_ring_that_runs_back_over_itself_is_in_conflict():
    outlines = outlines_of([[(0, 0), (0, 4), (6, 4), (6, 4.5), (4, 4.5), (8, 6), (8, 0)]])
    straight_back = Outlines(outlines.points_xy.copy(), outlines.ring_offsets, outlines.polygon_offsets)
    straight_back.points_xy[3:5] = (5.5, 4), (5.5, 5)
    assert not segments_in_conflict(outlines, np.arange(8)).any()
    assert segments_in_conflict(straight_back, np.arange(8)).tolist()[1:3] == [True, True]


@pytest.mark.parametrize("seed", range(4))
def test_conflicts_are_those_that_shapely_finds(seed):
    rng = np.random.default_rng(seed)
    outlines = outline_logits(noise(seed, blur=6), WHOLE, OutlineOptions(largest_only=True, max_hole_px2=1e9))
    ring = outlines.ring(0)
    conflicts = []
    for count in rng.integers(3, 40, 150):
        inner = np.sort(rng.choice(np.arange(1, len(ring) - 1), count, replace=False))
        kept = np.concatenate(([0], inner, [len(ring) - 1]))
        polygon = shapely.Polygon(ring[kept])
        conflicts.append(not polygon.is_valid or shapely.LinearRing(ring[kept]).is_ccw)
        assert segments_in_conflict(outlines, kept).any() == conflicts[-1]
    assert 10 < sum(conflicts) < 140


@pytest.mark.parametrize("seed", range(3))
def test_points_in_a_ring_are_those_that_shapely_finds(seed):
    rng = np.random.default_rng(seed)
    ring = outline_logits(object_mask(seed), WHOLE, OutlineOptions(largest_only=True)).ring(0)
    # Some exactly as high as vertices of the ring.
    points = np.vstack(
        (rng.uniform(0, 1024, (500, 2)), ring[::5] + rng.uniform(-30, 30, (len(ring[::5]), 1)) * (1, 0))
    )
    expected = shapely.contains_xy(shapely.Polygon(ring), points)
    assert expected.any()
    assert not expected.all()
    np.testing.assert_array_equal(points_in_ring(points, ring), expected)

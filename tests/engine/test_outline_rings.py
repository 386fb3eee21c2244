# SPDX-License-Identifier: GPL-3.0-or-later
"""The flat arrays of outlines: layout, areas, selection, and arrays from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outline_rings import Outlines, neighbours, without_collinear_points
from geo_sam2.engine.outlines import outline_logits
from geo_sam2.errors import ProtocolError
from tests.engine.outline_fields import noise

SQUARE = [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (0.0, 0.0)]
HOLE = [(1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0), (1.0, 1.0)]
TRIANGLE = [(9.0, 0.0), (9.0, 2.0), (11.0, 0.0), (9.0, 0.0)]


def square_with_hole_and_triangle():
    return Outlines(
        np.array(SQUARE + HOLE + TRIANGLE), np.array([0, 5, 10, 14], np.int32), np.array([0, 2, 3], np.int32)
    )


def test_layout_and_areas():
    outlines = square_with_hole_and_triangle()
    assert len(outlines) == 2
    assert outlines.ring_count == 3
    assert [[len(ring) for ring in rings] for rings in outlines.polygons()] == [[5, 5], [4]]
    assert outlines.signed_ring_area_px2.tolist() == [16.0, -1.0, 2.0]
    assert outlines.area_px2.tolist() == [15.0, 2.0]
    assert outlines.ring_bounds.tolist() == [[0, 0, 4, 4], [1, 1, 2, 2], [9, 0, 11, 2]]
    assert outlines.is_exterior.tolist() == [True, False, True]


def test_areas_far_from_the_origin_keep_their_digits():
    outlines = square_with_hole_and_triangle()
    far = Outlines(
        outlines.points_xy + (2.0**33, -(2.0**34)), outlines.ring_offsets, outlines.polygon_offsets
    )
    assert far.area_px2.tolist() == [15.0, 2.0]


def test_a_polygon_goes_with_its_exterior():
    outlines = square_with_hole_and_triangle()
    without_hole = outlines.select_rings(np.array([True, False, True]))
    assert without_hole.area_px2.tolist() == [16.0, 2.0]
    without_square = outlines.select_rings(np.array([False, True, True]))
    assert without_square.area_px2.tolist() == [2.0]
    np.testing.assert_array_equal(without_square.points_xy, TRIANGLE)
    nothing = outlines.select_rings(np.zeros(3, bool))
    assert (len(nothing), nothing.ring_count, nothing.points_xy.shape) == (0, 0, (0, 2))


def test_orienting_turns_only_what_runs_the_wrong_way():
    outlines = square_with_hole_and_triangle()
    mixed = Outlines(
        np.array(SQUARE[::-1] + HOLE[::-1] + TRIANGLE), outlines.ring_offsets, outlines.polygon_offsets
    )
    np.testing.assert_array_equal(mixed.oriented().points_xy, outlines.points_xy)
    np.testing.assert_array_equal(outlines.oriented().points_xy, outlines.points_xy)


def test_collinear_points_go_at_the_rings_begin_too():
    ring = [(2.0, 0.0), (0.0, 0.0), (0.0, 3.0), (0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (3.0, 0.0), (2.0, 0.0)]
    dense = Outlines(np.array(ring + TRIANGLE), np.array([0, 8, 12], np.int32), np.array([0, 1, 2], np.int32))
    sparse = without_collinear_points(dense)
    np.testing.assert_array_equal(sparse.points_xy, SQUARE + TRIANGLE)
    assert sparse.ring_offsets.tolist() == [0, 5, 9]


def test_neighbours_go_round_each_ring():
    following, previous = neighbours(np.array([0, 5, 9]))
    assert following.tolist() == [1, 2, 3, 4, 1, 6, 7, 8, 6]
    assert previous.tolist() == [3, 0, 1, 2, 3, 7, 5, 6, 7]


@pytest.mark.parametrize("outlines", [Outlines.empty(), square_with_hole_and_triangle()])
def test_arrays_go_there_and_back(outlines):
    back = Outlines.from_arrays(outlines.points_xy, outlines.ring_offsets, outlines.polygon_offsets)
    assert back.area_px2.tolist() == outlines.area_px2.tolist()


def test_traced_outlines_pass_the_check_of_arrays_from_elsewhere():
    outlines = outline_logits(noise(seed=1, blur=2), LogitGrid(1024, 1024))
    assert outlines.points_xy.dtype == np.float64
    back = Outlines.from_arrays(outlines.points_xy, outlines.ring_offsets, outlines.polygon_offsets)
    assert len(back) == len(outlines) > 10


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"points_xy": np.zeros((14, 3))}, "pairs"),
        ({"points_xy": np.zeros(28)}, "pairs"),
        ({"points_xy": np.zeros((14, 2), np.float32)}, "float64"),
        ({"points_xy": np.zeros((13, 2))}, "Ring offsets"),
        ({"points_xy": np.full((14, 2), np.nan)}, "NaN"),
        ({"points_xy": np.arange(28.0).reshape(14, 2)}, "closed"),
        ({"ring_offsets": np.array([0, 5, 10, 14])}, "int32"),
        ({"ring_offsets": np.array([0, 5, 14, 10], np.int32)}, "Ring offsets"),
        ({"ring_offsets": np.array([0, 5, 12, 14], np.int32)}, "at least 4"),
        ({"ring_offsets": np.array([1, 5, 10, 14], np.int32)}, "Ring offsets"),
        ({"ring_offsets": np.empty(0, np.int32)}, "Ring offsets"),
        ({"polygon_offsets": np.array([0, 2], np.int32)}, "Polygon offsets"),
        ({"polygon_offsets": np.array([0, 0, 3], np.int32)}, "Polygon offsets"),
        ({"polygon_offsets": np.array([0, 2**31 - 1, 3], np.int32)}, "Polygon offsets"),
    ],
)
def test_arrays_that_describe_no_polygons_are_refused(change, problem):
    outlines = square_with_hole_and_triangle()
    arrays = {
        "points_xy": outlines.points_xy,
        "ring_offsets": outlines.ring_offsets,
        "polygon_offsets": outlines.polygon_offsets,
    }
    with pytest.raises(ProtocolError, match=problem):
        Outlines.from_arrays(**{**arrays, **change})

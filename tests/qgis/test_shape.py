# SPDX-License-Identifier: GPL-3.0-or-later
"""From the answers of tiles to a shape on the map: joint, parts, right angles, validity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsWkbTypes

from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.interactive_decoder import TileAnswer, TileCandidate
from geo_sam2.segmentation.object_outline import multi_polygon
from geo_sam2.segmentation.object_shape import finished, joined
from geo_sam2.segmentation.polygon_validity import valid_polygons
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.tile_window import TileWindow

LEFT, RIGHT = TileWindow(0, 0, 0, 1024, 1024), TileWindow(0, 1024, 0, 1024, 1024)
BELOW = TileWindow(0, 0, 1024, 1024, 1024)
WKT = QgsCoordinateReferenceSystem("EPSG:32612").toWkt()
GRID = PixelGrid(4096, 4096, (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5), WKT, "EPSG:32612")


def outlines(*polygons):
    """Return polygons of rings of vertices, oriented as the engine does."""
    if not polygons:
        return Outlines.empty()
    rings = [np.array([*ring, ring[0]], float) for polygon in polygons for ring in polygon]
    made = Outlines(
        np.concatenate(rings),
        offsets_of(np.array([len(ring) for ring in rings])),
        offsets_of(np.array([len(polygon) for polygon in polygons])),
    )
    return made.oriented()


def rectangle(x_min, y_min, x_max, y_max):
    return [(x_min, y_min), (x_min, y_max), (x_max, y_max), (x_max, y_min)]


def answer(window, *candidates, chosen=0):
    """Return what a tile answered: (mask, predicted IoU, stability, outlines) each."""
    return TileAnswer(window, tuple(TileCandidate(*candidate) for candidate in candidates), chosen)


def test_one_tile_stays_as_the_engine_gave_it():
    parts = [outlines([rectangle(10, 10, 20 + size, 40)]) for size in range(3)]
    result = joined(
        [answer(LEFT, *((mask, 0.5 + mask / 10, 0.9, part) for mask, part in enumerate(parts)), chosen=1)],
        ShapeOptions(min_area_px2=1e6),  # the engine has seen to it already
    )
    assert [candidate.mask for candidate in result.candidates] == [0, 1, 2]
    assert all(candidate.outlines is part for candidate, part in zip(result.candidates, parts))
    assert (result.chosen, result.is_truncated, result.tiles, result.missing) == (1, False, (LEFT,), ())
    assert result.best_first == (2, 1, 0)


def test_neighbours_join_and_the_score_is_weighted_by_area():
    result = joined(
        [
            answer(LEFT, (0, 0.9, 0.8, outlines([rectangle(924, 10, 1024, 60)]))),
            answer(RIGHT, (0, 0.6, 0.5, outlines([rectangle(1024, 10, 1074, 60)]))),
        ],
        ShapeOptions(),
    )
    (candidate,) = result.candidates
    assert len(candidate.outlines) == 1
    assert sorted(map(tuple, candidate.outlines.points_xy[:-1])) == sorted(rectangle(924, 10, 1074, 60))
    assert candidate.score == pytest.approx(0.8)
    assert candidate.stability == pytest.approx(0.7)
    assert result.tiles == (LEFT, RIGHT)
    assert not result.is_truncated


def test_parts_and_holes_are_judged_after_the_joint():
    with_hole = [rectangle(1000, 10, 1024, 60), rectangle(1010, 20, 1015, 25)]
    answers = [
        answer(LEFT, (0, 0.9, 0.9, outlines(with_hole))),
        answer(
            RIGHT, (0, 0.9, 0.9, outlines([rectangle(1024, 10, 1030, 60)], [rectangle(1100, 10, 1140, 45)]))
        ),
    ]
    both = joined(answers, ShapeOptions(largest_only=False)).shown.outlines
    assert sorted(both.area_px2) == [1400, 1475]
    # By its halves the first would be smaller than the second.
    largest = joined(answers, ShapeOptions(largest_only=True, max_hole_px2=25)).shown.outlines
    assert list(largest.area_px2) == [1500]
    assert list(
        joined(answers, ShapeOptions(largest_only=False, min_area_px2=1450)).shown.outlines.area_px2
    ) == [1475]


def test_nothing_found_anywhere_is_an_empty_result():
    result = joined(
        [answer(LEFT, (0, 0.2, 0.1, outlines())), answer(RIGHT, (0, 0.4, 0.3, outlines()))], ShapeOptions()
    )
    assert result.is_empty
    assert result.shown.score == pytest.approx(0.3)


def test_truncated_where_it_touches_a_seam_without_prompts():
    at_seam = outlines([rectangle(1000, 10, 1024, 60)])
    assert joined([answer(LEFT, (0, 0.9, 0.9, at_seam))], ShapeOptions()).is_truncated
    inside = outlines([rectangle(1000, 10, 1023, 60)])
    assert not joined([answer(LEFT, (0, 0.9, 0.9, inside))], ShapeOptions()).is_truncated
    assert joined([answer(LEFT, (0, 0.9, 0.9, inside))], ShapeOptions(), [RIGHT]).is_truncated


def test_truncated_looks_at_what_is_left_of_the_object():
    speck = [rectangle(10, 1022, 12, 1024)]
    answers = [
        answer(LEFT, (0, 0.9, 0.9, outlines([rectangle(900, 10, 1024, 60)], speck))),
        answer(RIGHT, (0, 0.9, 0.9, outlines([rectangle(1024, 10, 1074, 60)]))),
    ]
    assert joined(answers, ShapeOptions(largest_only=False)).is_truncated
    assert not joined(answers, ShapeOptions(largest_only=True)).is_truncated


def test_shape_lies_on_the_map_with_its_hole():
    shape = finished(
        outlines([rectangle(10, 20, 30, 40), rectangle(15, 25, 20, 30)], [rectangle(50, 20, 60, 40)]),
        ShapeOptions(),
        GRID,
    )
    assert shape.wkbType() == QgsWkbTypes.Type.MultiPolygon
    assert shape.isGeosValid()
    assert shape.area() == pytest.approx((400 - 25 + 200) / 4)
    box = shape.boundingBox()
    assert (box.xMinimum(), box.yMaximum()) == (528005, 4977990)


def test_nothing_is_an_empty_multi_polygon():
    for options in (ShapeOptions(), ShapeOptions(right_angles=True)):
        shape = finished(outlines(), options, GRID)
        assert shape.isEmpty()
        assert shape.wkbType() == QgsWkbTypes.Type.MultiPolygon


def corner_angles(shape):
    """Return the angles at the corners of the first ring, in degrees."""
    ring = np.array([(point.x(), point.y()) for point in shape.asMultiPolygon()[0][0]][:-1])
    before, after = np.roll(ring, 1, axis=0) - ring, np.roll(ring, -1, axis=0) - ring
    cosine = (before * after).sum(axis=1) / (np.hypot(*before.T) * np.hypot(*after.T))
    return np.degrees(np.arccos(cosine))


SKEWED = [(10, 10), (12, 40), (60, 42), (58, 9)]


def test_right_angles_are_right_and_only_where_asked_for():
    plain = finished(outlines([SKEWED]), ShapeOptions(), GRID)
    assert np.abs(corner_angles(plain) - 90).max() > 1
    squared = finished(outlines([SKEWED]), ShapeOptions(right_angles=True), GRID)
    assert np.abs(corner_angles(squared) - 90).max() < 0.01
    assert squared.area() == pytest.approx(plain.area(), rel=0.1)


@pytest.mark.parametrize("offset", [0, 100_000])
def test_right_angles_do_not_depend_on_the_place_in_the_raster(offset):
    near = finished(outlines([SKEWED]), ShapeOptions(right_angles=True), GRID)
    moved = [(x + offset, y + offset) for x, y in SKEWED]
    far = finished(outlines([moved]), ShapeOptions(right_angles=True), GRID)
    far.translate(-offset * 0.5, offset * 0.5)
    assert near.hausdorffDistance(far) < 1e-6


def test_right_angles_on_a_rotated_grid_are_right_in_pixels():
    turn = math.radians(30)
    c, s = 0.5 * math.cos(turn), 0.5 * math.sin(turn)
    rotated = PixelGrid(4096, 4096, (528000.0, c, s, 4978000.0, s, -c), WKT, "EPSG:32612")
    squared = finished(outlines([SKEWED]), ShapeOptions(right_angles=True), rotated)
    assert np.abs(corner_angles(squared) - 90).max() < 0.01


def test_hole_that_the_squaring_pushes_out_of_its_side_becomes_no_object():
    outer = [(-0.64, -1.12), (-1.6, 30.89), (14.93, 33.83), (30.81, 32.53), (33.31, 15.13), (28.2, -1.62)]
    hole = [(0.71, 0.83), (1.21, 28.4), (29.02, 28.26), (28.67, 0.9)]
    made = outlines([outer, hole])
    squared = multi_polygon(made).orthogonalize()
    assert not squared.isGeosValid()
    assert len(valid_polygons(squared).asMultiPolygon()) == 2  # as GEOS would mend it
    shape = finished(made, ShapeOptions(right_angles=True), GRID)
    assert shape.isGeosValid()
    assert len(shape.asMultiPolygon()) == 1
    assert shape.area() * 4 == pytest.approx(368.6, abs=2)


def test_right_angles_of_an_outline_with_many_vertices_take_few_iterations(monkeypatch):
    real, asked = QgsGeometry.orthogonalize, []

    def orthogonalize(self, tolerance, iterations, angle):
        asked.append(iterations)
        return real(self, tolerance, iterations, angle)

    monkeypatch.setattr(QgsGeometry, "orthogonalize", orthogonalize)
    for count in (4, 200, 20_000):
        angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
        circle = np.column_stack((500 + 300 * np.cos(angles), 500 + 300 * np.sin(angles)))
        shape = finished(outlines([list(map(tuple, circle))]), ShapeOptions(right_angles=True), GRID)
        assert shape.isGeosValid()
        assert not shape.isEmpty()
    assert asked == [1000, 50_000 // 201, 20]


def test_neck_that_rounding_closes_is_mended():
    # 3e-11 px are below the step of float64 at 4,978,000 m.
    pinched = [
        (0, 0),
        (0, 10),
        (5, 5 + 3e-11),
        (10, 10),
        (10, 0),
        (5, 5 - 3e-11),
    ]
    shape = finished(outlines([pinched]), ShapeOptions(), GRID)
    assert shape.isGeosValid()
    assert shape.area() == pytest.approx(50 / 4)

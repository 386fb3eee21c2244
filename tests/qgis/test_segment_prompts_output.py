# SPDX-License-Identifier: GPL-3.0-or-later
"""From decoded passes to features: the joint of tiles, measures, fields."""

from __future__ import annotations

import math

import numpy as np
import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsGeometry,
    QgsWkbTypes,
)

from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.field_types import new_field
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.batch_decoder import DecodedPass
from geo_sam2.segmentation.measures import GroundMeasure
from geo_sam2.segmentation.object_fields import ObjectRecord, free_names, output_fields
from geo_sam2.segmentation.object_outline import join_passes, multi_polygon, on_map, outlines_of
from geo_sam2.tile_window import TileWindow

LEFT, RIGHT = TileWindow(0, 0, 0, 1024, 1024), TileWindow(0, 1024, 0, 1024, 1024)
SHIFTED = TileWindow(0, 576, 0, 1024, 1024)


def outlines(*polygons):
    """Return polygons of rings of vertices; exteriors counter-clockwise as seen."""
    rings = [np.array([*ring, ring[0]], float) for polygon in polygons for ring in polygon]
    made = Outlines(
        np.concatenate(rings),
        offsets_of(np.array([len(ring) for ring in rings])),
        offsets_of(np.array([len(polygon) for polygon in polygons])),
    )
    return made.oriented()


def rectangle(x_min, y_min, x_max, y_max):
    return [(x_min, y_min), (x_min, y_max), (x_max, y_max), (x_max, y_min)]


def found(window, *polygons, iou=0.9, stability=0.95):
    return DecodedPass(window, outlines(*polygons) if polygons else Outlines.empty(), iou, stability)


def test_single_pass_stays_as_it_is():
    shape = [rectangle(10, 10, 50.25, 40), rectangle(20, 20, 30, 30)]
    joined = join_passes([found(LEFT, shape)], 0)
    np.testing.assert_array_equal(joined.outlines.points_xy, outlines(shape).points_xy)
    assert joined.area_px == pytest.approx(40.25 * 30 - 100)
    assert (joined.score, joined.stability, joined.is_truncated) == (0.9, 0.95, False)


def test_two_tiles_join_into_one_ring_without_a_trace_of_the_seam():
    joined = join_passes(
        [found(LEFT, [rectangle(900, 10, 1024, 60)]), found(RIGHT, [rectangle(1024, 10, 1100, 60)])], 0
    )
    (ring,) = [ring for polygon in joined.outlines.polygons() for ring in polygon]
    assert sorted(map(tuple, ring[:-1])) == sorted(rectangle(900, 10, 1100, 60))
    assert not joined.is_truncated


def test_step_at_the_seam_has_no_sliver():
    joined = join_passes(
        [found(LEFT, [rectangle(900, 10.3, 1024, 60)]), found(RIGHT, [rectangle(1024, 10, 1100, 59.8)])], 0
    )
    assert len(joined.outlines) == 1
    assert joined.outlines.ring_count == 1
    assert joined.area_px == pytest.approx(124 * 49.7 + 76 * 49.8)


def test_hole_across_the_seam_stays_one_hole():
    left = [(900, 10), (900, 60), (1024, 60), (1024, 40), (1000, 40), (1000, 30), (1024, 30), (1024, 10)]
    right = [(1024, 10), (1024, 30), (1030, 30), (1030, 40), (1024, 40), (1024, 60), (1100, 60), (1100, 10)]
    joined = join_passes([found(LEFT, [left]), found(RIGHT, [right])], 0)
    ((exterior, hole),) = joined.outlines.polygons()
    assert sorted(map(tuple, hole[:-1])) == sorted(rectangle(1000, 30, 1030, 40))
    assert sorted(map(tuple, exterior[:-1])) == sorted(rectangle(900, 10, 1100, 60))


def test_masks_of_overlapping_tiles_leave_no_specks():
    first = [rectangle(600, 10, 800, 60), rectangle(650, 20, 660, 30)]
    second = [rectangle(600, 10.2, 800, 60.3), rectangle(650.5, 29.9, 659, 40)]
    joined = join_passes([found(LEFT, first), found(SHIFTED, second)], 0)
    ((exterior,),) = joined.outlines.polygons()
    assert joined.area_px == pytest.approx(200 * 50.3)
    assert len(exterior) == 5


def test_minimum_area_counts_what_a_seam_cut_in_two_as_one():
    left = found(LEFT, [rectangle(1014, 0, 1024, 10)], [rectangle(10, 10, 15, 30)])
    right = found(RIGHT, [rectangle(1024, 0, 1034, 10)])
    assert len(join_passes([left, right], 0).outlines) == 2
    joined = join_passes([left, right], 150)
    assert [area for area in joined.outlines.area_px2] == pytest.approx([200])


def test_minimum_area_may_leave_nothing():
    assert len(join_passes([found(LEFT, [rectangle(0, 0, 9, 9)])], 100).outlines) == 0


def test_score_is_the_mean_by_area():
    passes = [
        found(LEFT, [rectangle(1014, 0, 1024, 30)], iou=0.8, stability=1.0),
        found(RIGHT, [rectangle(1024, 0, 1034, 10)], iou=0.4, stability=0.5),
        found(TileWindow(0, 0, 1024, 1024, 1024), iou=0.01, stability=0.01),
    ]
    joined = join_passes(passes, 0)
    assert joined.score == pytest.approx(0.7)
    assert joined.stability == pytest.approx(0.875)
    assert join_passes([found(LEFT, iou=0.3), found(RIGHT, iou=0.5)], 0).score == pytest.approx(0.4)


def test_object_at_a_seam_that_nobody_looked_beyond_is_truncated():
    assert join_passes([found(LEFT, [rectangle(900, 10, 1024, 60)])], 0).is_truncated


GEOTRANSFORMS = {
    "north-up": (500000.0, 0.5, 0.0, 4000000.0, 0.0, -0.5),
    "south-up": (500000.0, 0.5, 0.0, 4000000.0, 0.0, 0.5),
    "rotated": (500000.0, 0.3, 0.4, 4000000.0, 0.4, -0.3),
    "degrees": (179.9, 1e-6, 0.0, -16.0, 0.0, -1e-6),
    "not square": (0.0, 0.2, 0.0, 0.0, 0.0, -3.0),
}


@pytest.mark.parametrize("geotransform", GEOTRANSFORMS.values(), ids=GEOTRANSFORMS.keys())
def test_outlines_land_on_the_map_as_a_valid_multi_polygon(geotransform):
    grid = PixelGrid(2048, 1024, geotransform, "", "")
    shape = outlines([rectangle(10, 10, 50.25, 40), rectangle(20, 20, 30, 30)], [rectangle(100, 1, 110, 2)])
    geometry = on_map(shape, grid)
    assert geometry.wkbType() == QgsWkbTypes.Type.MultiPolygon
    assert geometry.isGeosValid()
    assert geometry.area() == pytest.approx(shape.area_px2.sum() * grid.pixel_area(), rel=1e-6)
    x0, a, b, y0, c, d = geotransform
    corner = geometry.vertexAt(0)
    x_px, y_px = shape.points_xy[0]
    assert (corner.x(), corner.y()) == pytest.approx((x0 + a * x_px + b * y_px, y0 + c * x_px + d * y_px))


def test_vertices_that_rounding_moves_together_are_repaired():
    """At 1e12 doubles are 1e-4 apart: a neck of 1e-5 pixels closes."""
    neck = [
        (0, 0),
        (0, 10),
        (10, 10),
        (10, 5.00001),
        (20, 5.00001),
        (20, 10),
        (30, 10),
        (30, 0),
        (20, 0),
        (20, 5),
        (10, 5),
        (10, 0),
    ]
    grid = PixelGrid(100, 100, (1e12, 1.0, 0.0, 1e12, 0.0, -1.0), "", "")
    shape = outlines([neck])
    geometry = on_map(shape, grid)
    assert geometry.isGeosValid()
    assert geometry.wkbType() == QgsWkbTypes.Type.MultiPolygon
    geometry.translate(-1e12, -1e12)  # at 1e12 there are no digits left for an area
    assert geometry.area() == pytest.approx(200)


def test_geometry_and_arrays_are_the_same_shape():
    shape = outlines([rectangle(10, 10, 50.25, 40), rectangle(20, 20, 30, 30)])
    back = outlines_of(multi_polygon(shape))
    np.testing.assert_array_equal(back.points_xy, shape.points_xy)
    assert len(outlines_of(multi_polygon(Outlines.empty()))) == 0


def test_polygons_are_taken_out_of_an_answer():
    shapes = outlines(
        [rectangle(0, 0, 5, 5)],
        [rectangle(10, 10, 50, 40), rectangle(20, 20, 30, 30)],
        [rectangle(60, 0, 65, 5)],
    )
    middle = shapes.polygons_between(1, 2)
    assert middle.ring_count == 2
    np.testing.assert_array_equal(middle.ring(0), shapes.ring(1))
    assert len(shapes.polygons_between(1, 1)) == 0
    assert [len(shapes.polygons_between(0, end)) for end in range(4)] == [0, 1, 2, 3]


def square(x, y, side):
    return QgsGeometry.fromWkt(
        f"MultiPolygon((({x} {y},{x + side} {y},{x + side} {y + side},{x} {y + side},{x} {y})))"
    )


def measure_in(crs):
    return GroundMeasure(crs, QgsCoordinateTransformContext())


def test_area_and_perimeter_are_those_of_the_ellipsoid():
    """UTM makes lengths at its meridian 0.9996 of what they are."""
    measure = measure_in(QgsCoordinateReferenceSystem("EPSG:32612"))
    shape = square(500000, 4978000, 100)
    assert measure.area_m2(shape) == pytest.approx(10000 / 0.9996**2, rel=1e-6)
    assert measure.perimeter_m(shape) == pytest.approx(400 / 0.9996, rel=1e-6)


def test_measures_in_degrees_are_metres():
    """A cell of a thousandth of a degree at 60° N, from the radii of curvature of WGS 84."""
    measure = measure_in(QgsCoordinateReferenceSystem("EPSG:4326"))
    a, e2, latitude = 6378137.0, 0.00669437999014, math.radians(60.0005)
    w = math.sqrt(1 - e2 * math.sin(latitude) ** 2)
    width = math.radians(0.001) * a / w * math.cos(latitude)
    height = math.radians(0.001) * a * (1 - e2) / w**3
    shape = square(10, 60, 0.001)
    assert measure.area_m2(shape) == pytest.approx(width * height, rel=1e-5)
    assert measure.perimeter_m(shape) == pytest.approx(2 * (width + height), rel=1e-5)


@pytest.mark.parametrize(("crs", "x", "side"), [("EPSG:4326", 179.9995, 0.001), ("EPSG:32701", None, 200)])
def test_measures_do_not_break_at_the_antimeridian(crs, x, side):
    system = QgsCoordinateReferenceSystem(crs)
    if x is None:  # where 180° lies in zone 1 south
        shape, elsewhere = square(179400, 8228000, side), square(500000, 8228000, side)
        scale = 1.00087 / 0.9996  # of the projection, at the edge of the zone against its meridian
        assert measure_in(system).area_m2(shape) == pytest.approx(
            measure_in(system).area_m2(elsewhere) / scale**2, rel=1e-3
        )
    else:
        shape, elsewhere = square(x, -16, side), square(10, -16, side)
        assert measure_in(system).area_m2(shape) == pytest.approx(
            measure_in(system).area_m2(elsewhere), rel=1e-9
        )


def test_holes_count():
    measure = measure_in(QgsCoordinateReferenceSystem("EPSG:32612"))
    shape = square(500000, 4978000, 100)
    shape.addRing(square(500010, 4978010, 10).asMultiPolygon()[0][0])
    assert measure.area_m2(shape) == pytest.approx(9900 / 0.9996**2, rel=1e-6)
    assert measure.perimeter_m(shape) == pytest.approx(440 / 0.9996, rel=1e-6)


def test_without_crs_there_is_no_measure():
    measure = GroundMeasure(QgsCoordinateReferenceSystem(), QgsCoordinateTransformContext(), "EPSG:7030")
    assert measure.area_m2(square(0, 0, 10)) is None
    assert measure.perimeter_m(square(0, 0, 10)) is None


def test_local_crs_is_measured_in_its_plane():
    feet = QgsCoordinateReferenceSystem.fromWkt(
        'ENGCRS["site",EDATUM["d"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["foot",0.3048]]'
    )
    assert measure_in(feet).area_m2(square(0, 0, 10)) == pytest.approx(100 * 0.3048**2)
    assert measure_in(feet).perimeter_m(square(0, 0, 10)) == pytest.approx(40 * 0.3048)


@pytest.mark.parametrize(
    ("wanted", "taken", "expected"),
    [
        (["name"], ["score"], ["name"]),
        (["Score", "score_2"], ["score"], ["Score_3", "score_2"]),
        (["fid", "geometry"], [], ["fid_2", "geometry_2"]),
        (["a", "A", "a"], [], ["a", "A_2", "a_3"]),
    ],
)
def test_clashing_names_get_numbers(wanted, taken, expected):
    assert free_names(wanted, taken) == expected


def test_fields_are_ours_then_the_prompts():
    fields = output_fields(
        new_field("kind", "text"), [new_field("kind", "text"), new_field("MODEL", "integer")]
    )
    names = [field.name() for field in fields]
    assert names[0] == "object_id"
    assert fields[0].type() == new_field("x", "text").type()
    assert names[-2:] == ["kind", "MODEL_2"]
    assert names[:-2] == list(ObjectRecord.__dataclass_fields__)

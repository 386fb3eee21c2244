# SPDX-License-Identifier: GPL-3.0-or-later
"""From features to objects in grid pixels: kinds of geometry, fields, CRSs, the antimeridian."""

from __future__ import annotations

import numpy as np
import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsVectorLayer,
)

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.grid import UNGEOREFERENCED, PixelGrid
from geo_sam2.segmentation.prompt_layer import PromptFields, PromptReader
from geo_sam2.segmentation.prompt_placement import GridPlacement, grid_crs
from geo_sam2.segmentation.skipped_prompts import Skipped, SkippedPrompts

UTM = "EPSG:32612"


def grid_in(crs, geotransform, width=2000, height=1000):
    wkt = QgsCoordinateReferenceSystem(crs).toWkt() if crs else ""
    return PixelGrid(width, height, geotransform, wkt, crs)


# A tenth of a metre a pixel.
NO_FIELDS = PromptFields()
GRID = grid_in(UTM, (528000.0, 0.1, 0.0, 4978000.0, 0.0, -0.1))


def feature(feature_id, wkt, *attributes):
    made = QgsFeature(feature_id)
    if wkt is not None:
        made.setGeometry(QgsGeometry.fromWkt(wkt))
    made.setAttributes(list(attributes))
    return made


def read(features, crs=UTM, grid=GRID, fields=NO_FIELDS, polygons_are_masks=False):
    skipped = SkippedPrompts()
    placement = GridPlacement(QgsCoordinateReferenceSystem(crs), grid, QgsCoordinateTransformContext())
    reader = PromptReader(placement, fields, skipped, polygons_are_masks)
    return reader.read(features, lambda: False), skipped


def clicks_of(item):
    return [(click.x_px, click.y_px) for click in item.prompts.clicks]


GEOMETRIES = {
    "point": ("Point(528001 4977999)", [(10, 10)], []),
    "point with height": ("PointZ(528001 4977999 250)", [(10, 10)], []),
    "multi-point": ("MultiPoint((528001 4977999),(528002 4977998))", [(10, 10), (20, 20)], []),
    "line": ("LineString(528000 4977999,528003 4977999)", [(5, 10), (15, 10), (25, 10)], []),
    "multi-line": (
        "MultiLineString((528000 4977999,528003 4977999),(528000 4977990,528000.1 4977990))",
        [(5, 10), (15, 10), (25, 10), (0.5, 100)],
        [],
    ),
    "polygon": (
        "Polygon((528001 4977999,528003 4977998,528001 4977997,528001 4977999))",
        [],
        [(10, 10, 30, 30)],
    ),
    "multi-polygon": (
        "MultiPolygon(((528001 4977999,528002 4977999,528002 4977998,528001 4977999)),"
        "((528005 4977995,528006 4977995,528006 4977994,528005 4977995)))",
        [],
        [(10, 10, 60, 60)],
    ),
    "curved polygon": (
        "CurvePolygon(CircularString(528001 4977999,528003 4977999,528001 4977999))",
        [],
        [(10, 0, 30, 20)],
    ),
    "polygon that crosses itself": (
        "Polygon((528001 4977999,528003 4977997,528003 4977999,528001 4977997,528001 4977999))",
        [],
        [(10, 10, 30, 30)],
    ),
    "collection": (
        "GeometryCollection(Point(528001 4977999),"
        "Polygon((528001 4977999,528003 4977999,528003 4977997,528001 4977999)))",
        [(10, 10)],
        [(10, 10, 30, 30)],
    ),
}


@pytest.mark.parametrize(("wkt", "clicks", "boxes"), GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_geometry_becomes_prompts(wkt, clicks, boxes):
    (item,), skipped = read([feature(4, wkt)])
    assert len(skipped) == 0
    np.testing.assert_allclose(clicks_of(item), clicks, atol=1e-4) if clicks else None
    assert len(item.prompts.clicks) == len(clicks)
    assert len(item.prompts.boxes) == len(boxes)
    for box, bounds in zip(item.prompts.boxes, boxes):
        np.testing.assert_allclose(box.bounds_px, bounds, atol=1e-4)
    assert item.id == 4


def square_wkt(x_px, y_px, side_px):
    """Return the ring of a square on ``GRID``, in map coordinates."""
    x, y, side = 528000 + x_px / 10, 4978000 - y_px / 10, side_px / 10
    corners = (x, y), (x + side, y), (x + side, y - side), (x, y - side), (x, y)
    return "(" + ",".join(f"{x:.3f} {y:.3f}" for x, y in corners) + ")"


# (WKT, areas of polygons in square pixels, rings of each)
MASKS = {
    "polygon": (f"Polygon({square_wkt(10, 10, 20)})", [400], [1]),
    "with height": (
        f"PolygonZ({square_wkt(10, 10, 20).replace(',', ' 5,').replace(')', ' 5)')})",
        [400],
        [1],
    ),
    "hole": (f"Polygon({square_wkt(10, 10, 20)},{square_wkt(15, 15, 10)})", [300], [2]),
    "multi-polygon with a hole": (
        f"MultiPolygon(({square_wkt(100, 10, 20)}),({square_wkt(10, 10, 20)},{square_wkt(15, 15, 10)}))",
        [300, 400],
        [1, 2],
    ),
    "ring without its end": ("Polygon((528001 4977999,528003 4977999,528003 4977997))", [200], [1]),
    "crosses itself": (
        "Polygon((528001 4977999,528003 4977997,528003 4977999,528001 4977997,528001 4977999))",
        [100, 100],
        [1, 1],
    ),
    "parts that overlap": (
        f"MultiPolygon(({square_wkt(10, 10, 20)}),({square_wkt(20, 10, 20)}))",
        [600],
        [1],
    ),
    "curve": ("CurvePolygon(CircularString(528001 4977999,528003 4977999,528001 4977999))", [314.1], [1]),
}


@pytest.mark.parametrize(("wkt", "areas", "rings"), MASKS.values(), ids=MASKS.keys())
def test_polygon_becomes_a_mask_with_its_box(wkt, areas, rings):
    (item,), skipped = read([feature(4, wkt)], polygons_are_masks=True)
    assert len(skipped) == 0
    (box,) = item.prompts.boxes
    given = Outlines.from_arrays(**box.polygons.arrays()).oriented()
    low, high = given.points_xy.min(axis=0), given.points_xy.max(axis=0)
    np.testing.assert_allclose(box.bounds_px, [*low, *high], atol=1e-4)
    np.testing.assert_allclose(sorted(given.area_px2), areas, rtol=1e-3)
    assert sorted(np.diff(given.polygon_offsets)) == rings


def test_mask_in_another_crs_finds_its_pixels():
    polygon = QgsGeometry.fromWkt(f"Polygon({square_wkt(1000, 500, 200)},{square_wkt(1050, 550, 100)})")
    to_degrees = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem(UTM),
        QgsCoordinateReferenceSystem("EPSG:4326"),
        QgsCoordinateTransformContext(),
    )
    polygon.transform(to_degrees)
    (item,), _ = read([feature(1, polygon.asWkt(12))], crs="EPSG:4326", polygons_are_masks=True)
    (box,) = item.prompts.boxes
    np.testing.assert_allclose(box.bounds_px, (1000, 500, 1200, 700), atol=0.01)
    assert box.polygons.oriented().area_px2.sum() == pytest.approx(200**2 - 100**2, abs=1)


def test_polygon_that_encloses_nothing_is_named():
    there_and_back = "Polygon((528001 4977999,528003 4977997,528001 4977999))"
    _, skipped = read([feature(4, there_and_back)], polygons_are_masks=True)
    assert skipped.ids(Skipped.NO_EXTENT) == [4]


def test_polygons_are_boxes_unless_masks_are_asked_for():
    (item,), _ = read([feature(4, f"Polygon({square_wkt(10, 10, 20)})")])
    assert item.prompts.boxes[0].polygons is None


BAD = {
    "no geometry": (None, 1, Skipped.NO_GEOMETRY),
    "empty geometry": ("Point EMPTY", 1, Skipped.NO_GEOMETRY),
    "label 2": ("Point(528001 4977999)", 2, Skipped.BAD_LABEL),
    "no label": ("Point(528001 4977999)", None, Skipped.BAD_LABEL),
    "polygon beside": (
        "Polygon((528001 4977999,528003 4977998,528001 4977997))",
        0,
        Skipped.NEGATIVE_POLYGON,
    ),
    "polygon without width": (
        "Polygon((528001 4977999,528001 4977998,528001 4977997))",
        1,
        Skipped.NO_EXTENT,
    ),
}


@pytest.mark.parametrize(("wkt", "label", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_prompt_is_named_and_the_rest_goes_on(wkt, label, reason):
    good = feature(8, "Point(528001 4977999)", 1)
    objects, skipped = read([feature(7, wkt, label), good], fields=PromptFields(label=0))
    assert skipped.ids(reason) == [7]
    assert len(skipped) == 1
    assert [len(item.prompts.clicks) for item in objects] == [0, 1]


def test_point_without_place_in_the_grids_crs_is_named():
    objects, skipped = read([feature(1, "Point(0 95)"), feature(2, "Point(-110.64 44.95)")], crs="EPSG:4326")
    assert skipped.ids(Skipped.NOT_TRANSFORMED) == [1]
    assert len(objects[1].prompts.clicks) == 1


def test_object_field_groups_features_and_null_groups_none():
    features = [
        feature(1, "Point(528001 4977999)", 1, "a", "oak", 5),
        feature(2, "Point(528002 4977999)", 0, "b", "elm", 6),
        feature(3, "Point(528003 4977999)", 0, "a", "oak", None),
        feature(4, "Point(528004 4977999)", 1, None, "ash", 7),
        feature(5, "Point(528005 4977999)", 1, None, "fir", 8),
    ]
    objects, skipped = read(features, fields=PromptFields(label=0, object=1))
    assert [(item.id, item.feature_ids) for item in objects] == [
        ("a", [1, 3]),
        ("b", [2]),
        (None, [4]),
        (None, [5]),
    ]
    assert [click.label for click in objects[0].prompts.clicks] == [1, 0]
    # What the features agree on, NULL aside.
    assert objects[0].attributes == [None, "a", "oak", 5]
    assert len(skipped) == 0


def test_nulls_of_a_real_layer_are_none():
    layer = QgsVectorLayer("Point?crs=EPSG:32612&field=object:integer&field=name:string", "p", "memory")
    for x in (528001, 528002):
        made = QgsFeature(layer.fields())
        made.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(x, 4977999)))
        layer.dataProvider().addFeature(made)
    objects, _ = read(layer.getFeatures(), fields=PromptFields(object=0))
    assert [item.id for item in objects] == [None, None]
    assert objects[0].attributes == [None, None]


def test_reading_ends_when_cancelled():
    skipped = SkippedPrompts()
    placement = GridPlacement(QgsCoordinateReferenceSystem(UTM), GRID, QgsCoordinateTransformContext())
    features = [feature(index, "Point(528001 4977999)") for index in range(10)]
    answers = iter([False, False, True])
    objects = PromptReader(placement, PromptFields(), skipped).read(features, lambda: next(answers))
    assert len(objects) == 2


def test_click_in_another_crs_lands_on_its_pixel():
    """Truth: the inverse of what PROJ makes of the pixel's place, through OSR."""
    from osgeo import osr

    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromEPSG(32612)
    target.ImportFromEPSG(3857)
    x, y, _ = osr.CoordinateTransformation(source, target).TransformPoint(528000 + 123.45, 4978000 - 45.67)
    (item,), _ = read([feature(1, f"Point({x!r} {y!r})")], crs="EPSG:3857")
    np.testing.assert_allclose(clicks_of(item), [(1234.5, 456.7)], atol=1e-3)


def test_box_of_another_crs_encloses_its_bent_sides():
    """A parallel of latitude is an arc in UTM: its middle lies below its ends, far from the meridian."""
    grid = grid_in(UTM, (200000.0, 100.0, 0.0, 5100000.0, 0.0, -100.0), 6000, 6000)
    box = "Polygon((-114 44.9,-108 44.9,-108 45.1,-114 45.1,-114 44.9))"
    (item,), _ = read([feature(1, box)], crs="EPSG:4326", grid=grid)
    (found,) = item.prompts.boxes
    placement = GridPlacement(
        QgsCoordinateReferenceSystem("EPSG:4326"), grid, QgsCoordinateTransformContext()
    )
    middle, end = placement.points(QgsGeometry.fromWkt("MultiPoint((-111 44.9),(-114 44.9))"))
    assert middle[1] > end[1] + 20
    assert found.y_max_px == pytest.approx(middle[1], abs=0.5)


def test_prompts_on_a_rotated_grid_are_boxed_along_its_axes():
    grid = grid_in(UTM, (528000.0, 0.06, 0.08, 4978000.0, 0.08, -0.06))
    corners = grid.to_map([(10, 20), (30, 20), (30, 50), (10, 50)])
    ring = ",".join(f"{x!r} {y!r}" for x, y in [*corners, corners[0]])
    (item,), _ = read([feature(1, f"Polygon(({ring}))")], grid=grid)
    np.testing.assert_allclose(item.prompts.boxes[0].bounds_px, (10, 20, 30, 50), atol=1e-5)


@pytest.mark.parametrize("west", [179.9, -180.1])
@pytest.mark.parametrize(
    ("crs", "points"),
    [
        ("EPSG:4326", [(179.95, -16), (-179.95, -16)]),
        ("EPSG:4326", [(-180.05, -16), (180.05, -16)]),
        ("EPSG:32701", None),
    ],
)
def test_grid_across_the_antimeridian_finds_prompts_on_both_sides(west, crs, points):
    grid = grid_in("EPSG:4326", (west, 0.0002, 0.0, -15.9, 0.0, -0.0002), 1000, 1000)
    if points is None:
        from osgeo import osr

        source, target = osr.SpatialReference(), osr.SpatialReference()
        source.ImportFromEPSG(4326)
        source.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        target.ImportFromEPSG(32701)
        transformation = osr.CoordinateTransformation(source, target)
        points = [transformation.TransformPoint(x, -16.0)[:2] for x in (179.95, -179.95)]
    text = ",".join(f"({x!r} {y!r})" for x, y in points)
    (item,), _ = read([feature(1, f"MultiPoint({text})")], crs=crs, grid=grid)
    np.testing.assert_allclose(sorted(clicks_of(item)), [(250, 500), (750, 500)], atol=0.01)


def test_global_grid_is_left_alone():
    grid = grid_in("EPSG:4326", (-180.0, 0.1, 0.0, 90.0, 0.0, -0.1), 3600, 1800)
    (item,), _ = read([feature(1, "MultiPoint((-180 0),(180 0),(179.9 0))")], crs="EPSG:4326", grid=grid)
    np.testing.assert_allclose(clicks_of(item), [(0, 900), (3600, 900), (3599, 900)], atol=1e-5)


@pytest.mark.parametrize("crs", ["", UTM])
def test_grid_without_crs_takes_coordinates_as_they_are(crs):
    grid = PixelGrid(100, 100, UNGEOREFERENCED, "", "")
    assert not grid_crs(grid).isValid()
    (item,), skipped = read([feature(1, "Point(30.5 -20.25)")], crs=crs, grid=grid)
    assert clicks_of(item) == [(30.5, 20.25)]
    assert len(skipped) == 0


def test_crs_without_a_name_is_read_from_its_text():
    custom = QgsCoordinateReferenceSystem.fromProj(
        "+proj=laea +lat_0=12.5 +lon_0=77.25 +datum=WGS84 +units=m"
    )
    grid = PixelGrid(10, 10, (0.0, 1.0, 0.0, 0.0, 0.0, -1.0), custom.toWkt(), "")
    assert grid_crs(grid).isValid()
    (item,), _ = read([feature(1, "Point(77.25 12.5)")], crs="EPSG:4326", grid=grid)
    np.testing.assert_allclose(clicks_of(item), [(0, 0)], atol=1e-4)

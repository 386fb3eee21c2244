# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene that is clicked on: its truth, and the places where a person would prompt."""

from __future__ import annotations

import pytest
from osgeo import gdal, ogr

from tests.desktop.held_out_scene import intersection_over_union, make_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene"))


def point(place):
    geometry = ogr.Geometry(ogr.wkbPoint)
    geometry.AddPoint_2D(*place)
    return geometry


def test_raster_is_georeferenced_and_of_one_window(scene):
    raster = gdal.Open(str(scene.raster))
    assert (raster.RasterXSize, raster.RasterYSize, raster.RasterCount) == (1024, 1024, 3)
    assert raster.GetSpatialRef().GetAuthorityCode(None) == "32632"
    assert raster.GetGeoTransform()[1] == -raster.GetGeoTransform()[5] == 0.2


def test_ten_objects_have_an_outline_and_prompts_on_and_beside_it(scene):
    assert [item.number for item in scene.objects] == list(range(1, 11))
    for item in scene.objects:
        assert item.outline.IsValid()
        assert item.outline.GetArea() >= 1000 * 0.2**2
        assert item.outline.Contains(point(item.click))
        assert 8 * 0.2 - 0.2 <= item.outline.Distance(point(item.background)) <= 14 * 0.2
        x_min, x_max, y_min, y_max = item.outline.GetEnvelope()
        assert item.box[0] <= x_min < x_max <= item.box[2]
        assert item.box[1] <= y_min < y_max <= item.box[3]


def test_truth_is_a_layer_of_the_same_outlines(scene):
    dataset = ogr.Open(str(scene.truth))
    found = {feature["number"]: feature.GetGeometryRef().Clone() for feature in dataset.GetLayer(0)}
    for item in scene.objects:
        assert intersection_over_union(found[item.number], item.outline) == pytest.approx(1)


def test_seed_chooses_scene_and_objects(scene, tmp_path):
    again, other = make_scene(tmp_path / "again"), make_scene(tmp_path / "other", seed=5)
    assert again.raster.read_bytes() == scene.raster.read_bytes()
    assert [item.click for item in again.objects] == [item.click for item in scene.objects]
    assert [item.click for item in other.objects] != [item.click for item in scene.objects]


def test_intersection_over_union_of_two_halves_is_a_third():
    left, right = (
        ogr.CreateGeometryFromWkt(f"POLYGON(({x} 0, {x + 2} 0, {x + 2} 1, {x} 1, {x} 0))") for x in (0, 1)
    )
    assert intersection_over_union(left, right) == pytest.approx(1 / 3)

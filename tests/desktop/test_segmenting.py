# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job as a person does it: ten objects of a scene clicked, boxed, accepted and saved."""

from __future__ import annotations

import json
import statistics

import pytest
from osgeo import ogr

from tests.desktop.hands import accept, box, click, open_dock, pick_raster, save_layer, show, take_tool
from tests.desktop.held_out_scene import intersection_over_union, make_scene

FIELDS = {
    "class", "score", "stability", "area_m2", "perimeter_m", "model", "store_id", "tile_ids",
    "prompts", "outline", "truncated", "created",
}  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scene"))


def test_ten_objects_from_the_click_to_the_geopackage(qgis, scene, record_property):
    qgis.ask("session:add_raster", path=str(scene.raster))
    open_dock(qgis)
    pick_raster(qgis, "scene")
    take_tool(qgis)
    for count, item in enumerate(scene.objects, start=1):
        show(qgis, item.box)
        click(qgis, item.click)
        click(qgis, item.background, is_foreground=False)
        box(qgis, item.box)
        accept(qgis, count)
    # Once more, and taken back: by the dock, whichever layer is active.
    item = scene.objects[0]
    show(qgis, item.box)
    click(qgis, item.click)
    accept(qgis, len(scene.objects) + 1)
    qgis.click_widget("undoSavedButton")
    qgis.wait_for("dock:has_saved", count=len(scene.objects))
    source = qgis.ask("dock:output_source")
    save_layer(qgis)
    qgis.leave()

    found = read_saved(source.partition("|")[0])
    assert len(found) == len(scene.objects)
    overlaps, missed, truncated = {}, [], []
    for feature, item in zip(found, scene.objects):
        outline = feature.GetGeometryRef()
        assert outline.IsValid()
        check_attributes(feature)
        name = f"{item.number} {item.kind}"
        overlaps[name] = round(intersection_over_union(outline, item.outline), 3)
        if not outline.Contains(point(item.click)) or outline.Contains(point(item.background)):
            missed.append(name)
        if feature["truncated"]:
            truncated.append(name)
    median = statistics.median(overlaps.values())
    record_property("iou", median)
    assert missed == [], (median, overlaps, truncated)
    # The scene is a single tile, which has no seams.
    assert truncated == [], (median, overlaps)
    assert median >= 0.85, overlaps


def read_saved(path):
    """Return the features of a GeoPackage in the order of their ids."""
    dataset = ogr.Open(path)
    layer = dataset.GetLayer(0)
    assert {field.GetName() for field in layer.schema} >= FIELDS
    return [feature.Clone() for feature in layer]


def check_attributes(feature):
    assert 0 < feature["score"] <= 1
    assert 0 <= feature["stability"] <= 1
    # Transverse Mercator makes areas here a thousandth too small at most.
    assert feature["area_m2"] == pytest.approx(feature.GetGeometryRef().GetArea(), rel=2e-3)
    assert feature["model"] == "demo"
    assert json.loads(feature["prompts"])
    assert json.loads(feature["outline"])


def point(place):
    geometry = ogr.Geometry(ogr.wkbPoint)
    geometry.AddPoint_2D(*place)
    return geometry

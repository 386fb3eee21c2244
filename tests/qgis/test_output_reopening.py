# SPDX-License-Identifier: GPL-3.0-or-later
"""A saved polygon gives back what it was made with, wherever it was saved."""

from __future__ import annotations

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsProject

from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.errors import OutputError
from geo_sam2.segmentation.object_reopening import feature_at, reopened
from geo_sam2.segmentation.object_state import ObjectState, make_box, make_click
from geo_sam2.segmentation.output_layer import OutputLayer
from geo_sam2.segmentation.prompt_text import write_prompts
from geo_sam2.segmentation.shape_options import ShapeOptions
from tests.qgis.outputs import file_layer, memory_layer, saved, square

UTM = QgsCoordinateReferenceSystem("EPSG:32612")
STATE = ObjectState(
    (
        make_click(812.5, 96.25, FOREGROUND, 1),
        make_box(790.125, 80, 860.001, 140, 2),
        make_click(840, 120.5, BACKGROUND, 3),
    ),
    mask=2,
)
SHAPE = ShapeOptions(threshold=0.1, simplify_px=1.5, min_area_px2=12, largest_only=False, right_angles=True)


@pytest.fixture
def project():
    return QgsProject()


def made(geometry, **fields):
    return saved(geometry, **{"prompts": write_prompts(STATE), "outline": SHAPE.to_text(), **fields})


def test_prompts_mask_and_settings_come_back_exactly(tmp_path, project):
    layer = file_layer(tmp_path / "a.gpkg")
    output = OutputLayer(layer, project)
    output.save(made(square(500000, 4000000)))
    output.commit()
    (feature,) = layer.getFeatures()
    again = reopened(layer, feature.id())
    assert again.state == STATE
    assert again.shape == SHAPE
    assert again.store_id == "0d5c7d66-7e0f-4f35-a2f0-2c1c0a7d9e5b"
    assert again.class_name == "roof"
    assert again.fid == feature.id()


def test_what_is_not_yet_committed_can_be_reopened(project):
    layer = memory_layer(fields="prompts:string&outline:string")
    (fid,) = OutputLayer(layer, project).save(made(square(500000, 4000000))).fids
    again = reopened(layer, fid)
    assert (again.state, again.shape, again.store_id, again.class_name) == (STATE, SHAPE, "", None)


def test_layer_without_settings_gives_the_defaults(project):
    layer = memory_layer(fields="PROMPTS:string")
    (fid,) = OutputLayer(layer, project).save(made(square(500000, 4000000))).fids
    assert reopened(layer, fid).shape == ShapeOptions()


@pytest.mark.parametrize(
    ("fields", "values", "says"),
    [
        ("class:string", {}, "keeps no prompts"),
        ("prompts:string", {"prompts": ""}, "keeps no prompts"),
        ("prompts:string", {"prompts": "{"}, "cannot be re-opened. .* no JSON"),
        ("prompts:string", {"prompts": '{"version":9,"prompts":[]}'}, "version 9"),
        ("prompts:string&outline:string", {"outline": "[]"}, "cannot be re-opened. The outline settings"),
    ],
)
def test_polygon_that_cannot_be_reopened_says_why(project, fields, values, says):
    layer = memory_layer(fields=fields)
    (fid,) = OutputLayer(layer, project).save(made(square(500000, 4000000), **values)).fids
    with pytest.raises(OutputError, match=says) as caught:
        reopened(layer, fid)
    assert caught.value.hint


def test_feature_that_is_gone_says_so():
    with pytest.raises(OutputError, match="no longer"):
        reopened(memory_layer(), 7)


def test_smallest_polygon_under_the_pointer_is_found(project):
    layer = memory_layer()
    output = OutputLayer(layer, project)
    (large,) = output.save(saved(square(500000, 4000000, 100))).fids
    (small,) = output.save(saved(square(500010, 4000010, 10))).fids
    assert feature_at(layer, QgsPointXY(500015, 4000015), UTM, project) == small
    assert feature_at(layer, QgsPointXY(500050, 4000050), UTM, project) == large
    assert feature_at(layer, QgsPointXY(500200, 4000050), UTM, project) is None


def test_place_in_the_crs_of_the_canvas_is_moved(project):
    layer = memory_layer(crs="EPSG:4326")
    output = OutputLayer(layer, project)
    (fid,) = output.save(saved(square(500000, 4000000))).fids
    assert feature_at(layer, QgsPointXY(500005, 4000005), UTM, project) == fid
    assert feature_at(layer, QgsPointXY(500015, 4000005), UTM, project) is None
    nowhere = QgsPointXY(1e30, 1e30)
    assert feature_at(layer, nowhere, UTM, project) is None

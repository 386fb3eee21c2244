# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in layers of all kinds: what fits is saved, what does not is left out and named once."""

from __future__ import annotations

import pytest
from osgeo import ogr
from qgis.core import (
    Qgis,
    QgsDefaultValue,
    QgsField,
    QgsFieldConstraints,
    QgsGeometry,
    QgsProject,
    QgsVectorLayer,
    QgsWkbTypes,
)

from geo_sam2.field_types import new_field
from geo_sam2.segmentation.object_reopening import reopened
from geo_sam2.segmentation.object_state import ObjectState, make_click
from geo_sam2.segmentation.output_layer import OutputLayer
from geo_sam2.segmentation.prompt_text import write_prompts
from geo_sam2.segmentation.shape_options import ShapeOptions
from tests.qgis.outputs import changed, file_layer, memory_layer, rows, saved, square, strict_layer

HOLED = QgsGeometry.fromWkt(
    "MultiPolygon(((500000 4000000, 500030 4000000, 500030 4000030, 500000 4000030, 500000 4000000),"
    "(500010 4000010, 500010 4000020, 500020 4000020, 500020 4000010, 500010 4000010)),"
    "((500040 4000000, 500050 4000000, 500050 4000010, 500040 4000010, 500040 4000000)))"
)


@pytest.fixture
def project():
    return QgsProject()


def saved_into(layer, project, *items):
    """Save, commit and return the rows of the layer and all notes."""
    output = OutputLayer(layer, project)
    notes = [note for item in items for note in output.save(item).notes]
    assert output.commit(), layer.commitErrors()
    return rows(layer), notes


def short(name, kind, length, precision=0):
    field = new_field(name, kind)
    field.setLength(length)
    field.setPrecision(precision)
    return field


@pytest.mark.parametrize("driver", ["GPKG", "ESRI Shapefile", "SQLite", "memory"])
def test_parts_and_holes_survive_every_format(tmp_path, project, driver):
    suffix = {"GPKG": "gpkg", "ESRI Shapefile": "shp", "SQLite": "sqlite"}
    layer = memory_layer() if driver == "memory" else file_layer(tmp_path / f"a.{suffix[driver]}", driver)
    ((row,), _) = saved_into(layer, project, saved(HOLED))
    polygons = row["geometry"].asMultiPolygon()
    assert sorted(len(polygon) for polygon in polygons) == [1, 2]
    assert row["geometry"].isGeosValid()
    assert row["geometry"].area() == pytest.approx(900)


def test_geojson_takes_parts_and_holes_in_degrees(tmp_path, project):
    path = tmp_path / "a.geojson"
    path.write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"class":"tree"},'
        '"geometry":{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]}}]}'
    )
    layer = QgsVectorLayer(str(path), "a", "ogr")
    found, _ = saved_into(layer, project, saved(HOLED))
    (row,) = [row for row in found if row["class"] == "roof"]
    assert sorted(len(polygon) for polygon in row["geometry"].asMultiPolygon()) == [1, 2]
    assert row["geometry"].boundingBox().xMinimum() == pytest.approx(-111, abs=1e-6)


def test_shapefile_takes_short_names_and_says_once_what_is_too_long(tmp_path, project):
    layer = file_layer(tmp_path / "a.shp", "ESRI Shapefile")
    names = [field.name() for field in layer.fields()]
    assert "perimeter_" in names
    item = saved(HOLED, prompts="p" * 300)
    found, notes = saved_into(layer, project, item, changed(item, geometry=square(500100, 4000000)))
    assert notes == ["The field prompts is left empty: the text is longer than its 254 characters."]
    assert [row["prompts"] for row in found] == [None, None]
    assert found[1]["perimeter_"] == pytest.approx(40 / 0.9996, rel=1e-5)
    assert found[0]["score"] == pytest.approx(0.91)
    assert found[0]["created"] == "2026-11-22T12:00:00.000Z"
    assert found[0]["class"] == "roof"
    assert not found[0]["truncated"]


def test_shapefile_counts_bytes(tmp_path, project):
    layer = file_layer(tmp_path / "a.shp", "ESRI Shapefile", fields=[short("class", "text", 10)])
    ((row,), notes) = saved_into(layer, project, saved(square(500000, 4000000), class_name="ääääää"))
    assert row["class"] is None
    assert notes == ["The field class is left empty: the text is longer than its 10 characters."]


def test_shapefile_object_can_be_reopened_while_prompts_fit(tmp_path, project):
    layer = file_layer(tmp_path / "a.shp", "ESRI Shapefile")
    state, shape = ObjectState((make_click(1.5, 2.5, 1, 1),)), ShapeOptions(simplify_px=0.125)
    ((row,), notes) = saved_into(
        layer, project, saved(square(500000, 4000000), prompts=write_prompts(state), outline=shape.to_text())
    )
    assert notes == []
    again = reopened(layer, row["id"])
    assert (again.state, again.shape) == (state, shape)


def test_numbers_that_do_not_fit_their_width_are_left_out(tmp_path, project):
    layer = file_layer(
        tmp_path / "a.shp",
        "ESRI Shapefile",
        fields=[short("area_m2", "real", 6, 2), short("score", "real", 5, 3)],
    )
    item = saved(square(500000, 4000000, 10))
    found, notes = saved_into(layer, project, item, changed(item, geometry=square(500000, 4000100, 100)))
    assert found[0]["area_m2"] == pytest.approx(100.08, abs=0.01)
    assert found[1]["area_m2"] is None
    assert found[1]["score"] == pytest.approx(0.91)
    (note,) = notes
    assert note.startswith("The field area_m2 is left empty: 10008")


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        ("integer", "truncated", {"is_truncated": True}, 1),
        ("text", "truncated", {"is_truncated": True}, "true"),
        ("real", "truncated", {"is_truncated": True}, 1.0),
        ("text", "score", {"score": 0.5}, "0.5"),
        ("integer", "class", {"class_name": "7"}, 7),
        ("integer", "class", {"class_name": "roof"}, None),
        ("integer", "score", {"score": 0.91}, None),
        ("integer", "area_m2", {}, 100),
        ("boolean", "class", {"class_name": "roof"}, None),
        ("boolean", "truncated", {"is_truncated": True}, True),
        ("datetime", "created", {}, "2026-11-22T12:00:00Z"),
        ("date", "created", {}, "2026-11-22"),
        ("text", "Score", {"score": 0.5}, "0.5"),
    ],
)
def test_values_become_the_kind_of_their_field(project, kind, name, value, expected):
    definition = {"text": "string", "real": "double", "boolean": "bool"}.get(kind, kind)
    layer = memory_layer(fields=f"{name}:{definition}")
    ((row,), notes) = saved_into(layer, project, saved(square(500000, 4000000), **value))
    found = row[name]
    if kind == "datetime":
        found = found.toUTC().toString("yyyy-MM-ddTHH:mm:ssZ")
    elif kind == "date":
        found = found.toString("yyyy-MM-dd")
    assert found == expected
    assert bool(notes) == (expected is None)


def test_layer_without_any_of_the_fields_gets_the_outline(project):
    layer = memory_layer(fields="name:string")
    ((row,), notes) = saved_into(layer, project, saved(square(500000, 4000000)))
    assert row["geometry"].equals(square(500000, 4000000))
    assert row["name"] is None
    assert notes == []


def test_single_part_layer_gets_a_feature_a_part_in_one_command(tmp_path, project):
    layer = file_layer(tmp_path / "a.gpkg", kind=QgsWkbTypes.Type.Polygon)
    output = OutputLayer(layer, project)
    report = output.save(saved(HOLED))
    assert len(report.fids) == 2
    assert layer.undoStack().count() == 1
    assert output.uncommitted == 1
    found = rows(layer)
    assert [QgsWkbTypes.isSingleType(row["geometry"].wkbType()) for row in found] == [True, True]
    assert sorted(round(row["area_m2"]) for row in found) == [100, 801]
    assert {row["prompts"] for row in found} == {'{"version":1}'}
    assert output.undo_last()
    assert rows(layer) == []


def test_replacing_a_part_replaces_the_whole_object(tmp_path, project):
    layer = file_layer(tmp_path / "a.gpkg", kind=QgsWkbTypes.Type.Polygon)
    output = OutputLayer(layer, project)
    output.save(saved(HOLED))
    output.save(saved(square(500060, 4000000), created="another"))
    output.commit()
    (small,) = [
        row["id"] for row in rows(layer) if round(row["area_m2"]) == 100 and row["created"] != "another"
    ]
    three = HOLED.combine(square(500000, 4000050)).combine(square(500020, 4000050))
    report = output.replace(small, saved(three, created="second"))
    assert report.fids[0] == small
    found = rows(layer)
    assert sorted((row["created"], round(row["geometry"].area())) for row in found) == [
        ("another", 100),
        ("second", 100),
        ("second", 100),
        ("second", 100),
        ("second", 800),
    ]
    assert {row["class"] for row in found} == {"roof"}
    assert layer.undoStack().count() == 1
    assert output.undo_last()
    assert len(rows(layer)) == 3
    output.replace(small, saved(square(500000, 4000000)))
    assert len(rows(layer)) == 2


@pytest.mark.parametrize("kind", ["PolygonZ", "PolygonM", "PolygonZM", "MultiPolygonZ", "MultiPolygonZM"])
def test_heights_and_measures_are_added(tmp_path, project, kind):
    layer = file_layer(tmp_path / "a.gpkg", kind=getattr(QgsWkbTypes.Type, kind))
    found, _ = saved_into(layer, project, saved(HOLED))
    assert {row["geometry"].wkbType() for row in found} == {getattr(QgsWkbTypes.Type, kind)}
    assert sum(row["geometry"].area() for row in found) == pytest.approx(900)


def test_curve_layers_take_polygons(project):
    layer = memory_layer("MultiSurface")
    if not layer.isValid():
        pytest.skip("this QGIS has no curves in memory")
    ((row,), _) = saved_into(layer, project, saved(HOLED))
    assert row["geometry"].area() == pytest.approx(900)


def test_text_of_limited_width_counts_characters(tmp_path, project):
    layer = strict_layer(tmp_path / "a.gpkg", ("class", ogr.OFTString, {"SetWidth": 6}))
    item = saved(square(500000, 4000000), class_name="ääääää")
    found, notes = saved_into(layer, project, item, changed(item, class_name="ääääääb"))
    assert [row["class"] for row in found] == ["ääääää", None]
    assert notes == ["The field class is left empty: the text is longer than its 6 characters."]


def test_defaults_of_the_source_fill_what_we_say_nothing_of(tmp_path, project):
    layer = strict_layer(
        tmp_path / "a.gpkg",
        ("owner", ogr.OFTString, {"SetNullable": 0, "SetDefault": "'town'"}),
        ("class", ogr.OFTString, {"SetNullable": 0, "SetDefault": "'unknown'"}),
    )
    item = saved(square(500000, 4000000))
    found, notes = saved_into(layer, project, item, changed(item, class_name=None))
    assert [(row["owner"], row["class"]) for row in found] == [("town", "roof"), ("town", "unknown")]
    assert notes == []


def test_defaults_of_the_project_are_respected(project):
    layer = memory_layer(fields="class:string&score:double&size:double&editor:string")
    layer.setDefaultValueDefinition(0, QgsDefaultValue("'from project'"))
    layer.setDefaultValueDefinition(1, QgsDefaultValue("0.5", True))
    layer.setDefaultValueDefinition(2, QgsDefaultValue("round($area)"))
    layer.setDefaultValueDefinition(3, QgsDefaultValue("'me'"))
    project.addMapLayer(layer)
    item = saved(square(500000, 4000000))
    found, _ = saved_into(layer, project, item, changed(item, class_name=None))
    assert [row["class"] for row in found] == ["roof", "from project"]
    assert [row["score"] for row in found] == [0.5, 0.5]  # always on update: the layer's own business
    assert {round(row["size"], -1) for row in found} == {100}
    assert {row["editor"] for row in found} == {"me"}


def test_field_that_must_not_be_empty_is_named_once_and_the_object_is_kept(tmp_path, project):
    layer = strict_layer(tmp_path / "a.gpkg", ("owner", ogr.OFTString, {"SetNullable": 0}))
    output = OutputLayer(layer, project)
    first = output.save(saved(square(500000, 4000000)))
    assert first.notes == (
        "The field owner must not be empty; fill it in before you save the layer's edits.",
    )
    assert output.save(saved(square(500020, 4000000))).notes == ()
    index = layer.fields().indexOf("owner")
    for row in rows(layer):
        layer.changeAttributeValue(row["id"], index, "town")
    assert output.commit()


@pytest.mark.skipif(Qgis.QGIS_VERSION_INT < 32200, reason="is never told of unique fields")
def test_unique_value_is_left_out_where_it_is_taken(tmp_path, project):
    layer = strict_layer(tmp_path / "a.gpkg", ("class", ogr.OFTString, {"SetUnique": 1}))
    item = saved(square(500000, 4000000))
    found, notes = saved_into(layer, project, item, changed(item, geometry=square(500020, 4000000)))
    assert [row["class"] for row in found] == ["roof", None]
    assert notes == ["The field class is left empty: it must be unique, and another feature has the value."]


def test_replacing_keeps_a_unique_value_of_its_own(tmp_path, project):
    layer = strict_layer(tmp_path / "a.gpkg", ("class", ogr.OFTString, {"SetUnique": 1}))
    output = OutputLayer(layer, project)
    (fid,) = output.save(saved(square(500000, 4000000))).fids
    assert output.replace(fid, saved(square(500000, 4000000, 5))).notes == ()
    assert rows(layer)[0]["class"] == "roof"


def test_hard_constraint_of_the_project_leaves_a_value_out(project):
    layer = memory_layer(fields="score:double&class:string")
    strength = QgsFieldConstraints.ConstraintStrength
    layer.setConstraintExpression(0, '"score" > 0.95')
    layer.setFieldConstraint(
        0, QgsFieldConstraints.Constraint.ConstraintExpression, strength.ConstraintStrengthHard
    )
    layer.setConstraintExpression(1, "\"class\" = 'tree'")
    layer.setFieldConstraint(
        1, QgsFieldConstraints.Constraint.ConstraintExpression, strength.ConstraintStrengthSoft
    )
    item = saved(square(500000, 4000000))
    found, notes = saved_into(layer, project, item, changed(item, score=0.99))
    assert [row["score"] for row in found] == [None, 0.99]
    assert [row["class"] for row in found] == ["roof", "roof"]  # a soft one is advice
    assert notes == ["The field score is left empty: the layer's constraint refuses it."]


def test_joined_and_virtual_fields_are_left_alone(project):
    table = QgsVectorLayer("NoGeometry?field=key:string&field=score:double", "table", "memory")
    layer = memory_layer(fields="class:string")
    project.addMapLayers([table, layer])
    layer.addExpressionField("1 + 1", QgsField(new_field("stability", "real")))
    ((row,), notes) = saved_into(layer, project, saved(square(500000, 4000000)))
    assert row["stability"] == 2
    assert notes == []


def test_field_that_was_just_added_is_filled(project):
    layer = memory_layer(fields="name:string")
    layer.startEditing()
    layer.addAttribute(new_field("class", "text"))
    output = OutputLayer(layer, project)
    output.save(saved(square(500000, 4000000)))
    assert rows(layer)[0]["class"] == "roof"


def test_exact_name_goes_before_another_case(project):
    layer = memory_layer(fields="Class:string&class:string")
    ((row,), _) = saved_into(layer, project, saved(square(500000, 4000000)))
    assert (row["Class"], row["class"]) == (None, "roof")


def test_measures_are_of_the_ellipsoid_in_any_crs(project):
    areas = []
    for crs in ("EPSG:32612", "EPSG:4326", "EPSG:3857"):
        layer = memory_layer(crs=crs, fields="area_m2:double&perimeter_m:double")
        ((row,), _) = saved_into(layer, project, saved(square(500000, 4000000)))
        areas.append((row["area_m2"], row["perimeter_m"]))
    for area, perimeter in areas:
        assert area == pytest.approx(areas[0][0], rel=1e-3)
        assert perimeter == pytest.approx(areas[0][1], rel=1e-3)


def test_layer_with_a_filter_takes_objects(tmp_path, project):
    layer = file_layer(tmp_path / "a.gpkg")
    layer.setSubsetString("\"class\" = 'tree'")
    output = OutputLayer(layer, project)
    assert output.problem() is None
    output.save(saved(square(500000, 4000000), class_name="tree"))
    assert output.commit()
    assert layer.featureCount() == 1


def test_transaction_group_saves_and_undoes_too(tmp_path):
    project = QgsProject()
    layer = file_layer(tmp_path / "a.gpkg")
    project.addMapLayer(layer)
    if Qgis.QGIS_VERSION_INT < 32600:
        project.setAutoTransaction(True)
    else:
        project.setTransactionMode(Qgis.TransactionMode.AutomaticGroups)
    output = OutputLayer(layer, project)
    output.save(saved(square(500000, 4000000)))
    output.save(saved(square(500020, 4000000)))
    assert output.can_undo
    assert output.undo_last()
    assert len(rows(layer)) == 1
    assert output.uncommitted == 1
    assert layer.commitChanges()
    assert layer.featureCount() == 1
    project.clear()

# SPDX-License-Identifier: GPL-3.0-or-later
"""New layers for objects: where they go, what they hold, that nothing is overwritten; their colours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFillSymbol,
    QgsProject,
    QgsRenderContext,
    QgsRendererCategory,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QRectF
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPolygonF

from geo_sam2.errors import OutputError
from geo_sam2.segmentation.class_list import PALETTE, ClassList
from geo_sam2.segmentation.class_renderer import class_renderer, show_classes
from geo_sam2.segmentation.output_creation import create_output, default_output_path
from geo_sam2.segmentation.output_layer import OutputLayer
from tests.qgis.outputs import memory_layer, rows, saved, square

CRS = QgsCoordinateReferenceSystem("EPSG:32612")
CLASSES = ClassList().added("roof").added("tree", "#00aa00")


def names_of(layer):
    return [field.name() for field in layer.fields()]


def test_new_layer_has_all_fields_and_takes_an_object(tmp_path):
    layer = create_output(tmp_path / "lake_objects.gpkg", CRS, CLASSES)
    assert layer.name() == "lake_objects"
    assert layer.wkbType() == QgsWkbTypes.Type.MultiPolygon
    assert layer.crs() == CRS
    assert names_of(layer)[1:] == [
        "class",
        "score",
        "stability",
        "area_m2",
        "perimeter_m",
        "model",
        "store_id",
        "tile_ids",
        "prompts",
        "outline",
        "truncated",
        "created",
    ]
    output = OutputLayer(layer, QgsProject())
    assert output.save(saved(square(500000, 4000000), prompts="p" * 50_000)).notes == ()
    assert output.commit()
    (row,) = rows(layer)
    assert row["prompts"] == "p" * 50_000
    assert row["truncated"] is False


def test_layer_is_added_to_a_geopackage_that_is_there(tmp_path):
    path = tmp_path / "all.gpkg"
    first = create_output(path, CRS, CLASSES)
    output = OutputLayer(first, QgsProject())
    output.save(saved(square(500000, 4000000)))
    output.commit()
    second = create_output(path, CRS, CLASSES)
    third = create_output(path, CRS, CLASSES)
    assert [layer.source().partition("layername=")[2] for layer in (first, second, third)] == [
        "objects",
        "objects_2",
        "objects_3",
    ]
    assert [layer.featureCount() for layer in (first, second, third)] == [1, 0, 0]


def test_layer_is_added_while_another_one_of_the_file_is_edited(tmp_path):
    path = tmp_path / "all.gpkg"
    first = create_output(path, CRS, CLASSES)
    OutputLayer(first, QgsProject()).save(saved(square(500000, 4000000)))
    assert create_output(path, CRS, CLASSES).isValid()
    assert first.commitChanges()
    assert first.featureCount() == 1


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\x00" * 100])
def test_file_that_is_no_geopackage_is_left_alone(tmp_path, content):
    path = tmp_path / "mine.gpkg"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="no GeoPackage"):
        create_output(path, CRS, CLASSES)
    assert path.read_bytes() == content


def test_folder_and_unwritable_place_are_refused(tmp_path):
    (tmp_path / "folder.gpkg").mkdir()
    with pytest.raises(OutputError, match="folder"):
        create_output(tmp_path / "folder.gpkg", CRS, CLASSES)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        create_output(tmp_path / "file" / "x.gpkg", CRS, CLASSES)
    with pytest.raises(OutputError, match="cannot be made"):
        create_output(Path("/proc/x.gpkg"), CRS, CLASSES)


def test_locked_geopackage_is_refused_and_kept(tmp_path):
    path = tmp_path / "all.gpkg"
    create_output(path, CRS, CLASSES)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutputError, match="cannot be made"):
        create_output(path, CRS, CLASSES)
    other.execute("ROLLBACK")
    other.close()
    assert create_output(path, CRS, CLASSES).source().endswith("objects_2")


def test_suffix_and_folder_are_added(tmp_path):
    layer = create_output(tmp_path / "new" / "lake.v2", CRS, CLASSES)
    assert (tmp_path / "new" / "lake.v2.gpkg").is_file()
    assert layer.isValid()


def test_layer_without_crs_has_none(tmp_path):
    layer = create_output(tmp_path / "a.gpkg", QgsCoordinateReferenceSystem(), CLASSES)
    assert not layer.crs().isValid()
    output = OutputLayer(layer, QgsProject())
    output.save(saved(square(10, -20), crs=""))
    (row,) = rows(layer)
    assert row["geometry"].equals(square(10, -20))
    assert row["area_m2"] is None


def test_layer_of_a_crs_without_a_code(tmp_path):
    crs = QgsCoordinateReferenceSystem.fromProj("+proj=tmerc +lat_0=1 +lon_0=2 +k=1 +ellps=GRS80 +units=m")
    layer = create_output(tmp_path / "a.gpkg", crs, CLASSES)
    assert layer.crs().isValid()
    assert "+proj=tmerc +lat_0=1 +lon_0=2" in layer.crs().toProj()


def test_default_place_is_beside_the_raster(tmp_path):
    raster = tmp_path / "lake.v2.tif"
    raster.write_text("")
    assert default_output_path(str(raster), Path("/home")) == tmp_path / "lake.v2_objects.gpkg"


@pytest.mark.parametrize(
    ("raster", "name"),
    [
        ("", "objects.gpkg"),
        ("/vsizip/a.zip/lake.tif", "lake_objects.gpkg"),
        ("https://host/lake.tif?key=1", "lake_objects.gpkg"),
        ("/proc/version", "version_objects.gpkg"),
        ("a\0b", "a_b_objects.gpkg"),
        ('NETCDF:"x.nc":depth', "NETCDF__x_objects.gpkg"),
    ],
)
def test_default_place_of_what_is_no_file_is_the_fallback(tmp_path, raster, name):
    assert default_output_path(raster, tmp_path) == tmp_path / name


def categories(layer):
    return [(item.value(), item.symbol().color().name()) for item in layer.renderer().categories()]


def test_new_layer_is_coloured_by_class_and_follows_the_list(tmp_path):
    layer = create_output(tmp_path / "a.gpkg", CRS, CLASSES)
    assert categories(layer) == [("roof", "#0072b2"), ("tree", "#00aa00"), (None, "#ffffff")]
    assert not show_classes(layer, CLASSES)
    assert show_classes(layer, CLASSES.recoloured(0, "#ff0000").added("road", "#010203").without(1))
    assert categories(layer) == [
        ("roof", "#ff0000"),
        ("tree", "#00aa00"),
        ("road", "#010203"),
        (None, "#ffffff"),
    ]


def symbol_of(renderer, index):
    # A category is a copy and takes its symbol with it.
    category = renderer.categories()[index]
    return category.symbol().clone()


def luminance(colour):
    """Return how light a colour is, 0 to 1, as WCAG counts it."""
    parts = (colour.redF(), colour.greenF(), colour.blueF())
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# Shade under trees, water, meadow, bare ground, snow.
@pytest.mark.parametrize("ground", ["#000000", "#1d2a44", "#7a8450", "#c9b99a", "#ffffff"])
@pytest.mark.parametrize("index", range(len(PALETTE) + 1))
def test_outline_of_each_class_and_of_none_is_seen_on_any_ground(qgis_app, ground, index):
    classes = ClassList()
    for _ in PALETTE:
        classes = classes.added(f"class {len(classes)}")
    symbol = symbol_of(class_renderer(classes), index)
    image = QImage(60, 60, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(QColor(ground))
    painter = QPainter(image)
    context = QgsRenderContext.fromQPainter(painter)
    symbol.startRender(context)
    symbol.renderPolygon(QPolygonF(QRectF(15, 15, 30, 30)), None, None, context)
    symbol.stopRender(context)
    painter.end()
    lights = sorted(luminance(image.pixelColor(x, 30)) + 0.05 for x in range(10, 22))
    assert lights[-1] / lights[0] >= 3


def test_colour_that_a_user_gives_a_class_is_that_of_its_line_and_area(qgis_app):
    symbol = symbol_of(class_renderer(CLASSES), 0)
    symbol.setColor(QColor("#123456"))
    halo, line = symbol.symbolLayers()
    assert line.color().name() == "#123456"
    assert halo.strokeColor().name() == "#ffffff"


def test_style_of_the_user_is_left_alone(tmp_path):
    assert not show_classes(memory_layer(), CLASSES)
    layer = create_output(tmp_path / "a.gpkg", CRS, CLASSES)
    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol()))
    assert not show_classes(layer, CLASSES)
    layer = create_output(tmp_path / "b.gpkg", CRS, CLASSES)
    symbol = QgsFillSymbol.createSimple({"color": "#0072b2", "outline_width": "3"})
    layer.renderer().updateCategorySymbol(0, symbol)
    layer.renderer().addCategory(QgsRendererCategory("mine", QgsFillSymbol(), "mine"))
    show_classes(layer, CLASSES)
    first = layer.renderer().categories()[0]
    assert first.symbol().symbolLayer(0).strokeWidth() == 3
    assert layer.renderer().categoryIndexForValue("mine") >= 0


def test_layers_that_are_made_can_be_opened_anywhere(tmp_path):
    create_output(tmp_path / "a.gpkg", CRS, CLASSES)
    again = QgsVectorLayer(str(tmp_path / "a.gpkg"), "again", "ogr")
    assert again.isValid()
    assert again.crs() == CRS

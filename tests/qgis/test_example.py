# SPDX-License-Identifier: GPL-3.0-or-later
"""The example raster and its prompts: what the demo and the documents say of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateTransform,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsWkbTypes,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RASTER = EXAMPLES / "yellowstone_meadow.tif"


@pytest.fixture
def raster():
    return QgsRasterLayer(str(RASTER), "raster")


@pytest.fixture
def prompts():
    return QgsVectorLayer(str(EXAMPLES / "yellowstone_meadow_prompts.geojson"), "prompts")


def test_raster_lies_in_its_tile_of_the_mosaic(raster):
    assert raster.crs().authid() == "EPSG:32612"
    extent = raster.extent()
    assert (extent.xMinimum(), extent.yMinimum()) == pytest.approx((528000, 4978000), abs=1e-6)
    assert (extent.width(), extent.height()) == pytest.approx((229.9, 247.2), abs=1e-6)


def test_raster_needs_three_by_three_windows_with_the_last_ones_shifted(raster):
    for side in (raster.width(), raster.height()):
        assert 2 * 1024 < side < 3 * 1024


def test_raster_is_small_and_names_its_source():
    assert RASTER.stat().st_size <= 4_000_000
    assert "MIT" in gdal.Open(str(RASTER)).GetMetadataItem("TIFFTAG_COPYRIGHT")
    assert "Ben Weinstein" in (EXAMPLES / "LICENSE.deepforest").read_text(encoding="utf-8")


def test_prompts_are_clicks_inside_the_raster(raster, prompts):
    assert prompts.geometryType() == QgsWkbTypes.GeometryType.PointGeometry
    to_raster = QgsCoordinateTransform(prompts.crs(), raster.crs(), QgsProject.instance())
    points = [to_raster.transform(feature.geometry().asPoint()) for feature in prompts.getFeatures()]
    assert points
    assert all(raster.extent().contains(point) for point in points)


def test_each_object_is_clicked_on_and_of_one_kind(prompts):
    labels, kinds = {}, {}
    for feature in prompts.getFeatures():
        labels.setdefault(feature["OBJECT"], set()).add(feature["LABEL"])
        kinds.setdefault(feature["OBJECT"], set()).add(feature["KIND"])
    assert all(1 in found and found <= {0, 1} for found in labels.values())
    assert all(len(found) == 1 for found in kinds.values())
    assert len(set.union(*kinds.values())) >= 4

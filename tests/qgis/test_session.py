# SPDX-License-Identifier: GPL-3.0-or-later
"""The session that the other tests of this folder run in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, gdal_array
from qgis.core import QgsApplication, QgsRasterLayer, QgsSettings
from qgis.PyQt.QtCore import QStandardPaths
from qgis.PyQt.QtGui import QGuiApplication

_DATA = QStandardPaths.StandardLocation.AppLocalDataLocation


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(QgsApplication.qgisSettingsDirPath, id="profile"),
        pytest.param(lambda: QgsSettings().fileName(), id="settings"),
        pytest.param(Path.home, id="home"),
        pytest.param(lambda: QStandardPaths.writableLocation(_DATA), id="data"),
    ],
)
def test_nothing_of_the_user_or_the_checkout_is_written_to(place):
    assert Path(tempfile.gettempdir()).resolve() in Path(place()).resolve().parents


def test_no_screen_is_needed():
    assert QGuiApplication.platformName() == "offscreen"


def test_gdal_numpy_and_qgis_read_the_same_pixels(tmp_path):
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    path = str(tmp_path / "ramp.tif")
    gdal_array.SaveArray(pixels, path)
    assert np.array_equal(gdal.Open(path).ReadAsArray(), pixels)
    layer = QgsRasterLayer(path, "ramp")
    assert (layer.width(), layer.height()) == (4, 3)
    block = layer.dataProvider().block(1, layer.extent(), 4, 3)
    assert [block.value(2, column) for column in range(4)] == [8, 9, 10, 11]

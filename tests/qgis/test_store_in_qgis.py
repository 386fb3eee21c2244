# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of a store as QGIS and GDAL see it, also while it is edited and written at once."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsField,
    QgsProject,
    QgsProviderRegistry,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QVariant

from geo_sam2.errors import StoreError
from geo_sam2.feature_store import FeatureStore, TileState
from geo_sam2.grid import PixelGrid
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_opening import store_for_encoding
from geo_sam2.store_sqlite import reading
from tests.unit import store_maker
from tests.unit.store_maker import MODEL, SOURCE, check_whole_tiles, encode, encode_some

COLUMNS, ROWS = 12, 10
SAVE_PATIENCE_S = 60
CUSTOM = "+proj=laea +lat_0=12.5 +lon_0=-34.25 +x_0=1000 +datum=WGS84 +units=m +no_defs"
UTM_12N = QgsCoordinateReferenceSystem("EPSG:32612")
UTM = (500000.0, 0.5, 0.0, 4100000.0, 0.0, -0.5)


def grid_of(crs, geotransform):
    """Return a grid in a CRS as GDAL takes it (``EPSG:32612``, a PROJ string), or without one."""
    if not crs:
        return PixelGrid(3000, 2000, geotransform, "", "")
    reference = osr.SpatialReference()
    reference.SetFromUserInput(crs)
    wkt = reference.ExportToWkt(["FORMAT=WKT2_2019"])
    return PixelGrid(3000, 2000, geotransform, wkt, crs if crs.startswith(("EPSG:", "ESRI:")) else "")


GRIDS = {
    "UTM": ("EPSG:32612", UTM),
    "degrees": ("EPSG:4326", (10.0, 1e-5, 0.0, 50.0, 0.0, -1e-5)),
    "south-up": ("EPSG:3857", (0.0, 2.0, 0.0, 0.0, 0.0, 2.0)),
    "rotated": ("EPSG:32612", (500000.0, 0.4, 0.3, 4100000.0, 0.3, -0.4)),
    "of ESRI": ("ESRI:54009", UTM),
    "without a code": (CUSTOM, UTM),
    "none": ("", (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
}


@pytest.fixture
def problems():
    """What GDAL complains about, warnings included."""
    found = []
    gdal.PushErrorHandler(lambda level, number, text: found.append(text))
    yield found
    gdal.PopErrorHandler()


@pytest.mark.parametrize(("crs", "geotransform"), GRIDS.values(), ids=GRIDS.keys())
def test_index_shows_footprints_where_the_raster_lies(tmp_path, problems, crs, geotransform):
    grid = grid_of(crs, geotransform)
    store = FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, replace(SOURCE, grid=grid))
    encode_some(store, 4)
    layer = QgsVectorLayer(str(store.index.path), "tiles", "ogr")
    assert layer.isValid()
    if crs:
        assert layer.crs() == QgsCoordinateReferenceSystem.fromWkt(grid.crs_wkt)
        assert layer.crs().authid() == (crs if crs.startswith("E") else layer.crs().authid())
        assert layer.crs().hasAxisInverted() == (crs == "EPSG:4326")
    else:
        # The standard's "undefined Cartesian": QGIS has no way from there to any other CRS.
        assert "Undefined Cartesian" in layer.crs().toWkt()
        assert not QgsCoordinateTransform(layer.crs(), UTM_12N, QgsProject.instance()).isValid()
    features = {(f["xoff"], f["yoff"]): f for f in layer.getFeatures()}
    assert len(features) == layer.featureCount() == 6
    for window in store.tiling:
        feature = features[window.xoff, window.yoff]
        ring = np.array([(p.x(), p.y()) for p in feature.geometry().asPolygon()[0]])
        corners = grid.footprint(window)
        assert {tuple(p) for p in ring.tolist()} == {tuple(p) for p in corners.tolist()}
        assert feature.geometry().area() == pytest.approx(grid.pixel_area() * 1024 * 1024)
    x_min, y_min, x_max, y_max = grid.bounds()
    extent = layer.extent()
    assert (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()) == pytest.approx(
        (x_min, y_min, x_max, y_max)
    )
    assert problems == []


def test_attributes_have_their_types(tmp_path):
    store = FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)
    encode(store)
    layer = QgsVectorLayer(str(store.index.path), "tiles", "ogr")
    feature = next(layer.getFeatures("xoff = 1976 AND yoff = 976"))
    record = store.index.get(store.tiling.window(2, 1))
    assert feature["state"] == "done"
    assert (feature["file"], feature["bytes"], feature["crc32"]) == (record.file, record.bytes, record.crc32)
    assert feature["seconds"] == 0.5
    assert feature["encoded_at"].date().year() == 2026
    assert layer.fields().field("crc32").type() == QVariant.LongLong


def test_index_is_one_layer_when_it_is_dropped_on_qgis(tmp_path):
    store = FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)
    details = QgsProviderRegistry.instance().querySublayers(str(store.index.path))
    assert [sublayer.name() for sublayer in details] == ["tiles"]
    dataset = ogr.Open(str(store.index.path))
    assert dataset.GetLayerCount() == 1


def open_layer(store):
    layer = QgsVectorLayer(str(store.index.path), "tiles", "ogr")
    assert layer.isValid()
    return layer


def close(layer):
    """Let go of the layer's file, as removing it from the project does."""
    layer.setParent(None)
    layer.deleteLater()
    QCoreApplication.sendPostedEvents(None, 0)


def journal_mode(store):
    with reading(store.index.path) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def writer_process(store, tmp_path):
    script = Path(store_maker.__file__)
    command = [
        sys.executable,
        str(script),
        str(store.folder),
        str(tmp_path / "log"),
        str(COLUMNS),
        str(ROWS),
        "1",
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def save(layer):
    """Save the edits and go on editing, as a person who presses the button again when told to.

    GDAL reads a row and then changes it in one transaction. When the writer, which here commits
    hundreds of times a second, commits between the two, SQLite refuses the change at once;
    QGIS keeps the edit in its buffer. QGIS 3.40 takes longer between the two and is refused more often.
    """
    deadline = time.monotonic() + SAVE_PATIENCE_S
    while not layer.commitChanges(False):
        assert "locked" in " ".join(layer.commitErrors())
        assert layer.isEditable()
        assert time.monotonic() < deadline, layer.commitErrors()


def test_index_in_edit_mode_and_a_writer_do_not_disturb_each_other(qgis_app, tmp_path):
    source = SourceInfo.of_pixels(COLUMNS * 1024, ROWS * 1024)
    store = store_for_encoding(tmp_path / "lake.tiny.geosam2", MODEL, source)
    with store.writer() as writer:
        writer.add_pending(store.tiling)
    layer = open_layer(store)
    assert layer.startEditing()
    assert layer.addAttribute(QgsField("note", QVariant.String))
    assert layer.commitChanges(), layer.commitErrors()
    assert layer.startEditing()
    modes = set()
    with writer_process(store, tmp_path) as process:
        saved = 0
        note = layer.fields().indexOf("note")
        fids = sorted(layer.allFeatureIds())
        while process.poll() is None or saved < 5:
            assert layer.changeAttributeValue(fids[saved % len(fids)], note, f"edit {saved}")
            modes.add(journal_mode(store))
            save(layer)
            saved += 1
            time.sleep(0.01)
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert layer.commitChanges(), layer.commitErrors()
    assert "wal" in modes  # so this was the case that matters
    counts = store.index.counts()
    assert counts[TileState.DONE] == len(store.tiling) == sum(counts.values())
    check_whole_tiles(store)
    with reading(store.index.path) as connection:
        noted = connection.execute("SELECT count(*) FROM tiles WHERE note LIKE 'edit %'").fetchone()[0]
    assert noted == min(saved, len(fids))
    close(layer)
    with store.writer():
        pass
    assert journal_mode(store) == "delete"


def test_edits_that_hold_the_index_locked_make_rows_wait(qgis_app, tmp_path, monkeypatch):
    """With automatic transaction groups QGIS holds the write lock from the first edit to the save."""
    monkeypatch.setattr("geo_sam2.store_writer.BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr("geo_sam2.store_writer._PATIENCE_AT_END_S", 0.1)
    store = FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)
    with store.writer() as writer:
        windows = writer.add_pending(store.tiling)
        editor = ogr.Open(str(store.index.path), update=1)
        editor.StartTransaction()
        feature = editor.GetLayer(0).GetFeature(1)
        feature.SetField("seconds", 9.0)
        editor.GetLayer(0).SetFeature(feature)
        writer.record([store_maker.write_tile(store, windows[0], 1)])
        assert store.index.counts()[TileState.DONE] == 0
        editor.CommitTransaction()
        writer.record([store_maker.write_tile(store, windows[1], 1)])
        assert store.index.counts()[TileState.DONE] == 2
        editor.StartTransaction()
        editor.GetLayer(0).SetFeature(feature)
        writer.record([store_maker.write_tile(store, windows[2], 1)])
        with pytest.raises(StoreError, match="locked"):
            writer.__exit__(None, None, None)
        editor.RollbackTransaction()
        del feature, editor
    assert encode(store) == windows[3:]
    check_whole_tiles(store)


def test_index_that_is_shown_is_rebuilt_all_the_same(tmp_path):
    store = FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)
    encode(store)
    layer = open_layer(store)
    store.index.path.unlink()
    assert encode(store) == []
    assert len(FeatureStore.open(store.folder).index) == 6
    close(layer)
    assert open_layer(store).featureCount() == 6

# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a GDAL layer of QGIS names opens; whatever cannot be encoded says why."""

from __future__ import annotations

import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from qgis.core import QgsRasterLayer

from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.errors import RasterReadError
from geo_sam2.tile_window import TileWindow
from tests.qgis.rasters import crs_of, gdal_exceptions, make_raster

PIXELS = np.random.default_rng(7).integers(0, 255, (3, 40, 50), dtype=np.uint8)
PLACE = {"geotransform": (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5), "epsg": 32612}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "lake & meadow").mkdir()
    return make_raster(tmp_path / "lake & meadow" / "image ä.tif", PIXELS, **PLACE)


def read(source):
    with GdalRasterSource.open(RasterRequest(source)) as opened:
        return opened.read(TileWindow(0, 0, 0, opened.grid.width, opened.grid.height))


def assert_reads_pixels(source, pixels=PIXELS):
    for are_on in (False, True):
        with gdal_exceptions(are_on):
            assert np.array_equal(np.moveaxis(read(source), -1, 0), pixels)


def test_file(path):
    assert_reads_pixels(path)


def test_relative_path_outlives_a_change_of_the_working_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(path).parent)
    with GdalRasterSource.open(RasterRequest(Path(path).name)) as source:
        monkeypatch.chdir(tmp_path)
        assert source.read(TileWindow(0, 0, 0, 50, 40)) is not None
        assert source.info().path_absolute == path


def test_source_of_a_layer(path, qgis_app):
    layer = QgsRasterLayer(path, "lake", "gdal")
    assert layer.isValid()
    assert_reads_pixels(layer.source())


def test_file_in_a_zip(path, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "folder/image.tif")
    assert_reads_pixels(f"/vsizip/{tmp_path}/all.zip/folder/image.tif")


def test_file_in_memory(path):
    gdal.GetDriverByName("GTiff").CreateCopy("/vsimem/raster_source.tif", gdal.Open(path))
    try:
        assert_reads_pixels("/vsimem/raster_source.tif")
    finally:
        gdal.Unlink("/vsimem/raster_source.tif")


@pytest.fixture
def server(path, tmp_path):
    """A web server of the test's folder, on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    shutil.copy(path, tmp_path / "served.tif")
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_file_on_the_web(server):
    assert_reads_pixels(f"/vsicurl/{server}/served.tif")


def test_file_missing_on_the_web(server):
    with pytest.raises(RasterReadError, match="cannot be opened"):
        read(f"/vsicurl/{server}/other.tif")


def test_virtual_raster_and_its_text(path, tmp_path):
    name = str(tmp_path / "turned.vrt")
    gdal.Translate(name, path, bandList=[3, 1, 2])
    assert_reads_pixels(name, PIXELS[[2, 0, 1]])
    text = gdal.Translate("", path, format="VRT", bandList=[3, 1, 2]).GetMetadata("xml:VRT")[0]
    assert_reads_pixels(text, PIXELS[[2, 0, 1]])


def test_mosaic_of_files(path, tmp_path):
    place = {**PLACE, "geotransform": (528025.0, 0.5, 0.0, 4978000.0, 0.0, -0.5)}
    east = make_raster(tmp_path / "east.tif", PIXELS[::-1], **place)
    name = str(tmp_path / "mosaic.vrt")
    gdal.BuildVRT(name, [path, east])
    assert_reads_pixels(name, np.concatenate([PIXELS, PIXELS[::-1]], axis=2))


def make_container(folder, count):
    """Write a GeoPackage with rasters; each is a subdataset."""
    name = str(folder / "many.gpkg")
    for number in range(count):
        source = make_raster(folder / f"{number}.tif", np.roll(PIXELS, number, axis=0), **PLACE)
        options = [f"RASTER_TABLE=image{number}", "APPEND_SUBDATASET=YES", "TILE_FORMAT=PNG"]
        gdal.GetDriverByName("GPKG").CreateCopy(name, gdal.Open(source), options=options)
    return name


def test_subdataset(tmp_path):
    name = make_container(tmp_path, 2)
    assert_reads_pixels(f"GPKG:{name}:image1", np.roll(PIXELS, 1, axis=0))


def test_container_of_several_rasters_asks_which(tmp_path):
    with pytest.raises(RasterReadError, match="holds 2 rasters") as caught:
        read(make_container(tmp_path, 2))
    assert "image0" in caught.value.hint
    assert "image1" in caught.value.hint


def test_container_of_one_raster_opens_as_that(tmp_path):
    assert_reads_pixels(make_container(tmp_path, 1))


def test_open_options_of_a_layer_reach_gdal(tmp_path):
    """QGIS appends them; the driver's answer shows that they arrive, in the reopened parts too."""
    wide = make_raster(tmp_path / "o.tif", PIXELS[:, :, :32].repeat(2, axis=1), **PLACE)
    dataset = gdal.Open(wide, gdal.GA_Update)
    dataset.BuildOverviews("NEAREST", [2])
    dataset = None
    with GdalRasterSource.open(RasterRequest(f"{wide}|option:OVERVIEW_LEVEL=0")) as opened:
        assert (opened.grid.width, opened.grid.height) == (16, 40)
        half = opened.read(TileWindow(0, 0, 0, 16, 40))
    assert np.array_equal(np.moveaxis(half, -1, 0), PIXELS[:, :, 0:32:2])


def make_vector(path):
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(4326)
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    dataset.CreateLayer("fields", srs, ogr.wkbPolygon)
    return str(path)


@pytest.mark.parametrize("are_on", [False, True])
@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("fields.gpkg", "is a vector layer, and only rasters", "raster layer"),
        ("missing.tif", "cannot be opened as a raster.*No such file", "Check that the file"),
        ("text.tif", "cannot be opened as a raster.*not recognized", "complete"),
        ("cut.tif", "cannot be opened as a raster", "complete"),
        ("", "No raster", "Choose"),
        (" ", "No raster", "Choose"),
        ("type=xyz&url=https://tile.example.org/{z}/{x}/{y}.png&zmax=19", "map service", "GeoTIFF"),
        (
            "crs=EPSG:3857&format=image/png&layers=ortho&url=https://wms.example.org/",
            "map service",
            "GeoTIFF",
        ),
        (
            "contextualWMSLegend=0&layers=a&tileMatrixSet=b&url=https://wms.example.org/",
            "map service",
            "GeoTIFF",
        ),
        ("wms.xml", "map service", "GeoTIFF"),
    ],
)
def test_what_cannot_be_encoded_says_why(tmp_path, name, sentence, hint, are_on):
    make_vector(tmp_path / "fields.gpkg")
    (tmp_path / "text.tif").write_text("It is no image.")
    make_raster(tmp_path / "whole.tif", PIXELS)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "whole.tif").read_bytes()[:6])
    (tmp_path / "wms.xml").write_text(
        """<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service>
        <DataWindow><UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY>
        <LowerRightX>20037508</LowerRightX><LowerRightY>-20037508</LowerRightY><TileLevel>18</TileLevel>
        <TileCountX>1</TileCountX><TileCountY>1</TileCountY></DataWindow><Projection>EPSG:3857</Projection>
        <BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount></GDAL_WMS>"""
    )
    source = str(tmp_path / name) if name[-5:].count(".") == 1 and "=" not in name else name
    with gdal_exceptions(are_on), pytest.raises(RasterReadError, match=sentence) as caught:
        read(source)
    assert hint in caught.value.hint


def test_nothing_of_gdals_is_changed_for_the_rest_of_qgis(path, capfd):
    before = gdal.GetUseExceptions(), osr.GetUseExceptions(), gdal.GetErrorCounter()
    read(path)
    with pytest.raises(RasterReadError):
        read("missing.tif")
    assert (gdal.GetUseExceptions(), osr.GetUseExceptions()) == before[:2]
    assert capfd.readouterr().err == ""
    gdal.Error(gdal.CE_Failure, gdal.CPLE_AppDefined, "heard again")
    assert "heard again" in capfd.readouterr().err


def test_closed_source_lets_go_of_its_file(path):
    """On Windows an open file cannot be replaced."""
    source = GdalRasterSource.open(RasterRequest(path, resolution=1.0))
    source.read(TileWindow(0, 0, 0, 20, 20))
    assert Path(path) in open_files()
    source.close()
    assert Path(path) not in open_files()


def open_files():
    return [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.exists()]


# --- what a store keeps


def info(source, **wish):
    with GdalRasterSource.open(RasterRequest(source, **wish)) as opened:
        return opened.info()


def test_file_is_told_with_size_and_time(path):
    told = info(path)
    assert told.path_absolute == path
    assert not told.has_file_changed(path)
    assert told.bands == (1, 2, 3)
    assert told.grid.crs_authid == "EPSG:32612"


def test_what_is_no_file_is_told_by_its_name(path, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "image.tif")
    name = f"/vsizip/{tmp_path}/all.zip/image.tif"
    told = info(name)
    assert (told.path_absolute, told.size_bytes, told.modified) == (name, 0, 0)
    assert told.fingerprint == info(path).fingerprint


def test_copy_in_another_form_has_the_same_fingerprint(path, tmp_path):
    copy = str(tmp_path / "copy.tif")
    gdal.Translate(copy, path, creationOptions=["TILED=YES", "COMPRESS=DEFLATE", "BIGTIFF=YES"])
    assert info(copy).difference_to(info(path)) is None


def test_overviews_change_no_fingerprint(tmp_path):
    path = make_raster(tmp_path / "r.tif", np.random.default_rng(1).integers(0, 999, (1500, 1700), np.uint16))
    before = info(path)
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.BuildOverviews("AVERAGE", [2, 4, 8])
    dataset = None
    after = info(path)
    assert after.has_file_changed(path) is False
    assert before.has_file_changed(path) is True
    assert after.difference_to(before) is None


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"values": PIXELS + np.uint8(1)}, "pixels differ"),
        ({"values": PIXELS[:, ::-1]}, "pixels differ"),
        ({"values": PIXELS[:, :, :-1]}, "49 × 40 pixels"),
        ({"geotransform": (528001.0, 0.5, 0.0, 4978000.0, 0.0, -0.5)}, "2 pixels"),
        ({"epsg": 32613}, "EPSG:32613 instead of EPSG:32612"),
        ({"nodata": 3}, "nodata"),
    ],
)
def test_other_raster_has_another_fingerprint_or_a_named_difference(path, tmp_path, change, difference):
    how = {"values": PIXELS, **PLACE, **change}
    other = make_raster(tmp_path / "other.tif", how.pop("values"), **how)
    assert difference in info(other).difference_to(info(path))


def test_crs_in_the_words_of_others_is_recognised(path, tmp_path):
    """Esri's names and no authority, as in the .prj beside many a raster."""
    theirs = crs_of(32612)
    theirs.MorphToESRI()
    name = str(tmp_path / "theirs.vrt")
    vrt = gdal.Translate(name, path)
    vrt.SetProjection(theirs.ExportToWkt())
    vrt = None
    assert gdal.Open(name).GetSpatialRef().GetAuthorityCode(None) is None
    assert info(name).grid.crs_authid == "EPSG:32612"


def test_custom_crs_has_no_name_but_a_text(tmp_path):
    other = make_raster(tmp_path / "own.tif", PIXELS, geotransform=PLACE["geotransform"])
    own = osr.SpatialReference()
    own.ImportFromProj4("+proj=laea +lat_0=11 +lon_0=22 +datum=WGS84")
    dataset = gdal.Open(other, gdal.GA_Update)
    dataset.SetSpatialRef(own)
    dataset = None
    grid = info(other).grid
    assert grid.crs_authid == ""
    assert grid.crs_wkt.startswith("PROJCRS[")

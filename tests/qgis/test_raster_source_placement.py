# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read at a place of the grid is what GDAL says lies there, and QGIS draws it there.

The rasters hold their own pixel positions: band 1 the column, band 2 the row of each pixel's
centre. A value read at a place of the map is compared with the position that GDAL's
transformer finds for that place.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsPointXY, QgsRasterLayer

from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import GridError, RasterReadError
from tests.qgis.rasters import crs_of, gdal_exceptions, make_raster, positions

WIDTH, HEIGHT = 1300, 700
COS, SIN = math.cos(math.radians(20)), math.sin(math.radians(20))
UTM = {"geotransform": (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5), "epsg": 32612}
DEGREES = {"geotransform": (-111.7, 1e-5, 0.0, 44.9, 0.0, -1e-5), "epsg": 4326}
ROTATED = {"geotransform": (500000.0, 2 * COS, 2 * SIN, 5000000.0, 2 * SIN, -2 * COS), "epsg": 32612}
# Four corners and a point inside, hardly skewed: what a scanned map has.
GCPS = {
    "gcps": [
        (10.0, 50.0, 0, 0),
        (10.013, 50.0007, WIDTH, 0),
        (9.9996, 49.993, 0, HEIGHT),
        (10.0126, 49.9937, WIDTH, HEIGHT),
        (10.0063, 49.99685, WIDTH / 2, HEIGHT / 2),
    ],
    "epsg": 4326,
}
# Linear in longitude and latitude, as of a sensor far above: 0.01° per side.
RPC = {
    "rpc": {
        "LINE_OFF": f"{HEIGHT / 2}",
        "SAMP_OFF": f"{WIDTH / 2}",
        "LAT_OFF": "45",
        "LONG_OFF": "7",
        "HEIGHT_OFF": "0",
        "LINE_SCALE": f"{HEIGHT / 2}",
        "SAMP_SCALE": f"{WIDTH / 2}",
        "LAT_SCALE": "0.01",
        "LONG_SCALE": "0.01",
        "HEIGHT_SCALE": "100",
        "LINE_NUM_COEFF": "0 0 -1" + " 0" * 17,
        "LINE_DEN_COEFF": "1" + " 0" * 19,
        "SAMP_NUM_COEFF": "0 1 0.1" + " 0" * 17,
        "SAMP_DEN_COEFF": "1" + " 0" * 19,
    }
}
ACROSS_180 = {"geotransform": (179.99, 1e-5, 0.0, 10.0, 0.0, -1e-5), "epsg": 4326}
# The 180th meridian runs through the middle: it is at 829,870 east in this row of the zone.
UTM_ACROSS_180 = {"geotransform": (828500.0, 2.0, 0.0, 1000000.0, 0.0, -2.0), "epsg": 32660}
# The same for CRSs whose rasters GDAL's suggestion would spread round the Earth: a Mercator
# projection of the Pacific, and one of Antarctica beside its pole.
PACIFIC_ACROSS_180 = {"geotransform": (2800000.0, 800.0, 0.0, 1000000.0, 0.0, -800.0), "epsg": 3832}
ANTARCTIC_ACROSS_180 = {"geotransform": (-90000.0, 150.0, 0.0, -1800000.0, 0.0, -150.0), "epsg": 3031}
COARSE = {"geotransform": (300000.0, 150.0, 0.0, 4978000.0, 0.0, -150.0), "epsg": 32612}

# name: (how the raster is placed, what is asked for)
CASES = {
    "utm": (UTM, {}),
    "degrees": (DEGREES, {}),
    "rotated": (ROTATED, {}),
    "south_up": ({**UTM, "geotransform": (528000.0, 0.5, 0.0, 4977000.0, 0.0, 0.5)}, {}),
    "not_square": ({**UTM, "geotransform": (528000.0, 0.5, 0.0, 4978000.0, 0.0, -1.25)}, {}),
    "ungeoreferenced": ({}, {}),
    "gcps": (GCPS, {}),
    "rpc": (RPC, {}),
    "target_crs": (UTM, {"target_crs_wkt": "EPSG:4326"}),
    "target_crs_far_off": (UTM, {"target_crs_wkt": "EPSG:3857"}),
    "target_crs_of_coarse_pixels": (COARSE, {"target_crs_wkt": "EPSG:5070"}),
    "target_crs_of_rotated": (ROTATED, {"target_crs_wkt": "EPSG:3035"}),
    "target_crs_of_south_up": (
        {**UTM, "geotransform": (528000.0, 0.5, 0.0, 4977000.0, 0.0, 0.5)},
        {"target_crs_wkt": "EPSG:32611"},
    ),
    "target_crs_of_gcps": (GCPS, {"target_crs_wkt": "EPSG:32632"}),
    "coarser": (UTM, {"resolution": 1.7}),
    "finer": (UTM, {"resolution": 0.3}),
    "other_sides": (UTM, {"resolution": (0.4, 2.5)}),
    "coarser_of_rotated": (ROTATED, {"resolution": 5.0}),
    "coarser_of_gcps": (GCPS, {"resolution": 3e-5}),
    "coarser_in_target_crs": (UTM, {"target_crs_wkt": "EPSG:4326", "resolution": 2e-5}),
    "antimeridian": (ACROSS_180, {}),
    "antimeridian_coarser": (ACROSS_180, {"resolution": 3e-5}),
    "antimeridian_to_utm": (ACROSS_180, {"target_crs_wkt": "EPSG:32660"}),
    "antimeridian_from_utm": (UTM_ACROSS_180, {"target_crs_wkt": "EPSG:4326"}),
    "antimeridian_from_mercator": (PACIFIC_ACROSS_180, {"target_crs_wkt": "EPSG:4326"}),
    "antimeridian_from_polar": (ANTARCTIC_ACROSS_180, {"target_crs_wkt": "EPSG:4326"}),
    "antimeridian_from_utm_coarser": (UTM_ACROSS_180, {"target_crs_wkt": "EPSG:4326", "resolution": 5e-5}),
}


@pytest.fixture(params=CASES.items(), ids=CASES.keys())
def case(request, tmp_path):
    name, (place, wish) = request.param
    path = make_raster(tmp_path / f"{name}.tif", positions(WIDTH, HEIGHT), **place)
    return path, wish


def read_all(source):
    """Return positions (2, rows, columns) and validity (rows, columns) of a grid, read by windows."""
    values = np.full((2, source.grid.height, source.grid.width), np.nan)
    valid = np.zeros(values.shape[1:], dtype=bool)
    for window in Tiling(source.grid.width, source.grid.height):
        block = source.read_values(window)
        place = np.s_[window.yoff : window.yoff + window.height, window.xoff : window.xoff + window.width]
        values[(slice(None), *place)], valid[place] = block.values, block.valid
    return values, valid


def true_positions(path, points_map, wish):
    """Return where GDAL finds map positions in the raster, (n, 2) columns and rows."""
    dataset = gdal.Open(path)
    options = []
    if dataset.GetGeoTransform(can_return_null=True) is None and not (
        dataset.GetGCPCount() or dataset.GetMetadata("RPC")
    ):
        return points_map * [1, -1]  # QGIS draws row r of such a raster at y = -r
    if "target_crs_wkt" in wish:
        epsg = int(wish["target_crs_wkt"].split(":")[1])
        options.append(f"DST_SRS={crs_of(epsg).ExportToWkt()}")
    transformer = gdal.Transformer(dataset, None, options)
    points, are_fine = transformer.TransformPoints(True, points_map.tolist())
    assert all(are_fine)
    return np.array(points)[:, :2]


def test_what_is_read_lies_where_gdal_says(case):
    path, wish = case
    with GdalRasterSource.open(RasterRequest(path, **wish)) as source:
        values, valid = read_all(source)
        grid = source.grid
    random = np.random.default_rng(3)
    rows, columns = np.nonzero(valid)
    chosen = random.choice(len(rows), 4000)
    rows, columns = rows[chosen], columns[chosen]
    points_map = grid.to_map(np.stack([columns + 0.5, rows + 0.5], axis=1))
    truth = true_positions(path, points_map, wish)
    # A pixel of the grid in pixels of the raster, and what mixing reaches at its edges.
    steps = [true_positions(path, grid.to_map([(0, 0), step]), wish) for step in [(1, 0), (0, 1)]]
    pixel = np.max([np.hypot(*(end - start)) for start, end in steps])
    margin = 1.5 * max(1.0, pixel)
    inside = ((truth > margin) & (truth < np.array([WIDTH, HEIGHT]) - margin)).all(axis=1)
    assert inside.sum() > 2000
    off = np.abs(values[:, rows, columns].T - truth)[inside]
    assert off.max() / max(1.0, pixel) < 0.1


def test_grid_covers_the_raster_and_no_more(case):
    path, wish = case
    with GdalRasterSource.open(RasterRequest(path, **wish)) as source:
        _, valid = read_all(source)
        grid = source.grid
        corners = grid.corners()
    truth = true_positions(path, corners, wish)
    # No corner of the grid lies inside the raster by more than what QGIS's own grid leaves out.
    inside = np.minimum(truth, np.array([WIDTH, HEIGHT]) - truth).min(axis=1)
    assert inside.max() < 6
    assert valid.any(axis=0)[2:-2].all()
    assert valid.any(axis=1)[2:-2].all()
    # A rotated rectangle fills at least two fifths of what is around it.
    assert valid.mean() > 0.4


@pytest.mark.parametrize("name", [name for name, (_, wish) in CASES.items() if not wish])
def test_qgis_draws_it_there(name, tmp_path, qgis_app):
    path = make_raster(tmp_path / f"{name}.tif", positions(WIDTH, HEIGHT), **CASES[name][0])
    layer = QgsRasterLayer(path, "drawn", "gdal")
    with GdalRasterSource.open(RasterRequest(path)) as source:
        grid = source.grid
        values, valid = read_all(source)
    assert grid.crs_authid == layer.crs().authid()
    drawn = layer.extent()
    pixel = max(grid.pixel_size())
    assert grid.bounds() == pytest.approx(
        (drawn.xMinimum(), drawn.yMinimum(), drawn.xMaximum(), drawn.yMaximum()), abs=1.01 * pixel
    )
    random = np.random.default_rng(4)
    compared = 0
    for column, row in random.integers((5, 5), (grid.width - 5, grid.height - 5), (300, 2)):
        x, y = grid.to_map((column + 0.5, row + 0.5))
        for band in (1, 2):
            seen, is_seen = layer.dataProvider().sample(QgsPointXY(x, y), band)
            if is_seen and valid[row, column] and seen > 1 and seen < (WIDTH, HEIGHT)[band - 1] - 1:
                # QGIS takes the nearest pixel, of a nearest-neighbour VRT at that.
                assert values[band - 1, row, column] == pytest.approx(seen, abs=1.3)
                compared += 1
    assert compared > 200


def test_gcps_land_on_the_very_grid_that_qgis_draws(tmp_path, qgis_app):
    path = make_raster(tmp_path / "gcps.tif", positions(WIDTH, HEIGHT), **GCPS)
    layer = QgsRasterLayer(path, "drawn", "gdal")
    with GdalRasterSource.open(RasterRequest(path)) as source:
        grid = source.grid
    assert (grid.width, grid.height) == (layer.width(), layer.height())
    drawn = layer.extent()
    assert grid.bounds() == pytest.approx(
        (drawn.xMinimum(), drawn.yMinimum(), drawn.xMaximum(), drawn.yMaximum()), rel=1e-12
    )


def test_gcps_torn_by_the_antimeridian_are_told(tmp_path):
    corners = [(179.9, 10, 0, 0), (-179.9, 10, 60, 0), (179.9, 9.9, 0, 40), (-179.9, 9.9, 60, 40)]
    path = make_raster(tmp_path / "torn.tif", positions(60, 40), gcps=corners, epsg=4326)
    with pytest.raises(RasterReadError, match="cannot be placed"):
        GdalRasterSource.open(RasterRequest(path))


def test_geotransform_comes_before_gcps(tmp_path):
    """As in GDAL's own order, so that it lies where QGIS's warped VRT puts it."""
    vrt = gdal.GetDriverByName("VRT").CreateCopy(
        str(tmp_path / "both.vrt"),
        gdal.Open(make_raster(tmp_path / "gcps.tif", positions(WIDTH, HEIGHT), **GCPS)),
    )
    vrt.SetGeoTransform(UTM["geotransform"])
    vrt.SetSpatialRef(crs_of(32612))
    vrt = None
    with GdalRasterSource.open(RasterRequest(str(tmp_path / "both.vrt"))) as source:
        assert source.grid.geotransform == UTM["geotransform"]
        assert source.grid.crs_authid == "EPSG:32612"


def test_target_grid_has_the_resolution_and_the_corner_asked_for(tmp_path):
    path = make_raster(tmp_path / "utm.tif", positions(WIDTH, HEIGHT), **UTM)
    with GdalRasterSource.open(RasterRequest(path, resolution=1.7)) as source:
        assert source.grid.geotransform == (528000.0, 1.7, 0.0, 4978000.0, 0.0, -1.7)
        assert (source.grid.width, source.grid.height) == (383, 206)  # 382.4 and 205.9


def test_averaging_sees_every_pixel(tmp_path):
    checks = (np.indices((512, 512)).sum(axis=0) % 2 * 200).astype(np.uint8)
    path = make_raster(tmp_path / "checks.tif", checks, **UTM)
    with GdalRasterSource.open(RasterRequest(path, resolution=4.0)) as source:
        image = source.read(next(iter(Tiling(source.grid.width, source.grid.height))))
    assert np.unique(image).tolist() == [100]


def test_coarser_pixels_do_not_depend_on_overviews(tmp_path):
    path = make_raster(tmp_path / "noise.tif", np.random.default_rng(1).random((600, 600)), **UTM)
    request = RasterRequest(path, resolution=4.0)

    def read():
        with GdalRasterSource.open(request) as source:
            return read_all_bands(source)

    before = read()
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.BuildOverviews("NEAREST", [2, 4, 8])
    dataset = None
    assert np.array_equal(read(), before)


def read_all_bands(source):
    return source.read_values(next(iter(Tiling(source.grid.width, source.grid.height)))).values


@pytest.mark.parametrize(
    ("wish", "error", "sentence"),
    [
        ({"resolution": 1e-5}, RasterReadError, r"\d,\d{3},\d{3} tiles; at most 1,000,000"),
        ({"resolution": 1e9}, RasterReadError, "larger than the whole raster"),
        ({"resolution": 0.0}, RasterReadError, "impossible"),
        ({"resolution": -1.0}, RasterReadError, "impossible"),
        ({"resolution": (1.0, float("nan"))}, RasterReadError, "impossible"),
        ({"target_crs_wkt": "EPSG:999999"}, GridError, "no coordinate reference system"),
        ({"target_crs_wkt": "the usual one"}, GridError, "no coordinate reference system"),
        ({"target_crs_wkt": 'LOCAL_CS["site",UNIT["metre",1]]'}, RasterReadError, "cannot be placed in site"),
    ],
)
@pytest.mark.parametrize("has_exceptions", [False, True])
def test_impossible_target_is_refused(tmp_path, wish, error, sentence, has_exceptions):
    path = make_raster(tmp_path / "utm.tif", positions(50, 40), **UTM)
    with gdal_exceptions(has_exceptions), pytest.raises(error, match=sentence) as caught:
        GdalRasterSource.open(RasterRequest(path, **wish))
    assert caught.value.hint


@pytest.mark.parametrize("wish", [{"resolution": 2.0}, {"target_crs_wkt": "EPSG:4326"}])
def test_target_without_crs_is_refused(tmp_path, wish):
    path = make_raster(tmp_path / "plain.tif", positions(50, 40), geotransform=UTM["geotransform"])
    with pytest.raises(RasterReadError, match="no coordinate reference system, so a target") as caught:
        GdalRasterSource.open(RasterRequest(path, **wish))
    assert "Assign projection" in caught.value.hint

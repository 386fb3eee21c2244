# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels arrive at the engine where GDAL says that they lie on the map, for every kind of raster.

The raster has soft spots at known places. Each spot's centre of brightness in the pixels that
arrived is compared with where GDAL's own transformer puts it, through the grid in the store's
manifest. Pixels that no warping touches are compared one by one as well.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from osgeo import gdal, osr

from geo_sam2.feature_store import FeatureStore
from tests.qgis.encode_runs import SQUARE, encode, mosaic, write_raster

COLUMNS, ROWS = 1500, 1300
RADIUS = 24.0
SPOTS = [
    (200.5, 150.25),
    (750.0, 200.5),
    (1300.75, 400.0),
    (400.25, 640.5),
    (1023.5, 1024.0),
    (1280.0, 1130.5),
]

ANGLE = math.radians(28)
ROTATED = (
    500000.0,
    2.0 * math.cos(ANGLE),
    2.0 * math.sin(ANGLE),
    5000000.0,
    2.0 * math.sin(ANGLE),
    -2.0 * math.cos(ANGLE),
)
DEGREES = (15.0, 2e-5, 0.0, 45.0, 0.0, -2e-5)
ANTIMERIDIAN = (180.0 - 700 * 2e-5, 2e-5, 0.0, -17.0, 0.0, -2e-5)


def spotted():
    """Return (1, rows, columns) uint8 with bright spots, each fading out at twice its radius."""
    y, x = np.mgrid[:ROWS, :COLUMNS] + 0.5
    image = np.zeros((ROWS, COLUMNS))
    for spot_x, spot_y in SPOTS:
        image += 250 * np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / (2 * (RADIUS / 2) ** 2))
    return np.rint(image).clip(0, 250).astype(np.uint8)[None]


def gcps():
    """Return ground control points of an affine with a slight turn."""
    points = [(0, 0), (COLUMNS, 0), (0, ROWS), (COLUMNS, ROWS), (COLUMNS / 2, ROWS / 3)]
    return [(*gdal.ApplyGeoTransform(list(ROTATED), *point), *point) for point in points]


def crs_of(text):
    srs = osr.SpatialReference()
    srs.SetFromUserInput(text)
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return srs


def true_places(raster, target_crs):
    """Return where GDAL puts the spots, (n, 2) in the target CRS or in the raster's own."""
    dataset = gdal.Open(str(raster))
    options = []
    if target_crs:
        options.append(f"DST_SRS={crs_of(target_crs).ExportToWkt()}")
    if dataset.GetGCPCount() or target_crs:
        transformer = gdal.Transformer(dataset, None, options)
        moved, is_ok = transformer.TransformPoints(0, SPOTS)
        assert all(is_ok)
        return np.array(moved)[:, :2]
    geotransform = dataset.GetGeoTransform(can_return_null=True) or (0, 1, 0, 0, 0, -1)
    return np.array([gdal.ApplyGeoTransform(list(geotransform), *spot) for spot in SPOTS])


def centre_of_brightness(image, near_xy, reach_px):
    """Return the weighted mean position of the brightness around a place, in grid pixels."""
    x0, y0 = (round(value - reach_px) for value in near_xy)
    x1, y1 = (round(value + reach_px) + 1 for value in near_xy)
    x0, y0 = max(x0, 0), max(y0, 0)
    part = image[y0:y1, x0:x1].astype(float)
    y, x = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] + 0.5
    return np.array([(part * x).sum(), (part * y).sum()]) / part.sum()


KINDS = {
    "UTM": ({"geotransform": SQUARE}, {}),
    "degrees": ({"geotransform": DEGREES, "crs": "EPSG:4326"}, {}),
    "rotated": ({"geotransform": ROTATED}, {}),
    "south-up": ({"geotransform": (500000.0, 2.0, 0.0, 5000000.0, 0.0, 2.0)}, {}),
    "mirrored": ({"geotransform": (500000.0, -2.0, 0.0, 5000000.0, 0.0, -2.0)}, {}),
    "non-square pixels": ({"geotransform": (500000.0, 2.0, 0.0, 5000000.0, 0.0, -1.25)}, {}),
    "ungeoreferenced": ({"geotransform": None, "crs": None}, {}),
    "GCPs": ({"gcps": gcps()}, {}),
    "target CRS": ({"geotransform": SQUARE}, {"CRS": "EPSG:3857"}),
    "target CRS of degrees": ({"geotransform": SQUARE}, {"CRS": "EPSG:4326"}),
    "target CRS of GCPs": ({"gcps": gcps()}, {"CRS": "EPSG:3857"}),
    "target CRS of south-up": ({"geotransform": (5e5, 2.0, 0.0, 5e6, 0.0, 2.0)}, {"CRS": "EPSG:32632"}),
    "target resolution": ({"geotransform": SQUARE}, {"RESOLUTION": 3.1}),
    "finer resolution": ({"geotransform": SQUARE}, {"RESOLUTION": 1.3}),
    "target CRS and resolution": ({"geotransform": SQUARE}, {"CRS": "EPSG:3035", "RESOLUTION": 2.5}),
    "across the antimeridian": ({"geotransform": ANTIMERIDIAN, "crs": "EPSG:4326"}, {}),
    "across the antimeridian, warped": (
        {"geotransform": ANTIMERIDIAN, "crs": "EPSG:4326"},
        {"CRS": "EPSG:32760"},
    ),
    "to degrees across the antimeridian": (
        {"geotransform": (829000.0, 2.0, 0.0, 8118000.0, 0.0, -2.0), "crs": "EPSG:32760"},
        {"CRS": "EPSG:4326"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_spots_arrive_where_gdal_puts_them(fake_engine, tmp_path, kind):
    how, parameters = KINDS[kind]
    raster = write_raster(tmp_path / "spots.tif", spotted(), **how)
    results, is_ok, feedback = encode(raster, **parameters)
    assert is_ok, feedback.errors
    grid = FeatureStore.open(tmp_path / "spots.demo.geosam2").manifest.source.grid
    image = mosaic(results["OUTPUT"])
    assert not np.isnan(image).any()
    places = true_places(raster, parameters.get("CRS"))
    if grid.crs_authid == "EPSG:4326":  # 181° is where −179° is
        places[:, 0] += 360 * np.round((grid.to_map((grid.width / 2, 0))[0] - places[:, 0]) / 360)
    wanted = grid.to_grid(places)
    assert ((wanted > 0) & (wanted < (grid.width, grid.height))).all()
    scale = math.sqrt(COLUMNS * ROWS / (grid.width * grid.height)) if parameters else 1.0
    found = [centre_of_brightness(image[..., 0], place, 2 * RADIUS / min(scale, 1.0) + 4) for place in wanted]
    assert np.abs(found - wanted).max() < 0.1
    if not parameters and "gcps" not in how:
        np.testing.assert_array_equal(image, np.repeat(spotted()[0][..., None], 3, axis=2))


EXTENTS = {
    # Around the spot at (1280, 1130.5), which lies in the last window of both directions alone.
    "own CRS": (SQUARE, "EPSG:32633", "502540,502580,4997720,4997760 [EPSG:32633]"),
    "no CRS told": (SQUARE, "EPSG:32633", "502540,502580,4997720,4997760"),
    "other CRS": (SQUARE, "EPSG:32633", "15.03225,15.0327,45.1337,45.134 [EPSG:4326]"),
    "beyond 180°": (ANTIMERIDIAN, "EPSG:4326", "180.0115,180.0117,-17.0227,-17.0225 [EPSG:4326]"),
    "from −180°": (ANTIMERIDIAN, "EPSG:4326", "-179.9885,-179.9883,-17.0227,-17.0225 [EPSG:4326]"),
}


@pytest.mark.parametrize("kind", EXTENTS)
def test_extent_off_the_grid_selects_the_window_under_it(fake_engine, tmp_path, kind):
    geotransform, crs, extent = EXTENTS[kind]
    raster = write_raster(tmp_path / "spots.tif", spotted(), geotransform, crs)
    results, is_ok, feedback = encode(raster, EXTENT=extent)
    assert is_ok, feedback.errors
    store = FeatureStore.open(tmp_path / "spots.demo.geosam2")
    windows = {(record.window.xoff, record.window.yoff) for record in store.index.records()}
    # Windows of the last column and row begin at 476 and 276 and reach over the seam at 1024.
    assert (476, 276) in windows
    assert (0, 0) not in windows
    image = mosaic(results["OUTPUT"])
    np.testing.assert_array_equal(image[276:, 476:, 0], spotted()[0][276:, 476:])


def test_whole_world_is_a_fair_extent(fake_engine, tmp_path):
    for number, (geotransform, crs) in enumerate([(SQUARE, "EPSG:32633"), (ANTIMERIDIAN, "EPSG:4326")]):
        raster = write_raster(tmp_path / f"{number}.tif", spotted(), geotransform, crs)
        results, is_ok, feedback = encode(raster, EXTENT="-180,180,-90,90 [EPSG:4326]")
        assert is_ok, feedback.errors
        assert results["TILES"] == 4

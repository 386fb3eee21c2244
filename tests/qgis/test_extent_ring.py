# SPDX-License-Identifier: GPL-3.0-or-later
"""An extent in any CRS selects the windows that it touches, wherever on Earth."""

from __future__ import annotations

import numpy as np
import pytest
from osgeo import osr

from geo_sam2.encoder.crs import crs_texts
from geo_sam2.encoder.extent_ring import extent_ring
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import GridError
from geo_sam2.grid import UNGEOREFERENCED, PixelGrid
from tests.qgis.rasters import crs_of, gdal_exceptions


def grid_of(epsg, geotransform, width=4097, height=2050):
    wkt, authid = crs_texts(crs_of(epsg)) if epsg else ("", "")
    return PixelGrid(width, height, geotransform, wkt, authid)


UTM = grid_of(32612, (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5))
ROTATED = grid_of(32612, (528000.0, 0.4, 0.3, 4978000.0, 0.3, -0.4))
DEGREES = grid_of(4326, (-111.0, 1e-5, 0.0, 44.9, 0.0, -1e-5))
ACROSS_180 = grid_of(4326, (179.98, 1e-5, 0.0, 10.0, 0.0, -1e-5))
UTM_ACROSS_180 = grid_of(32660, (832000.0, 2.0, 0.0, 1000000.0, 0.0, -2.0))
WORLD = grid_of(4326, (-180.0, 0.05, 0.0, 90.0, 0.0, -0.05), 7200, 3600)
PLAIN = grid_of(None, UNGEOREFERENCED)


def selected(grid, extent, crs=""):
    """Return the windows that an extent selects, as a set, with GDAL's exceptions off and on."""
    found = []
    for are_on in (False, True):
        with gdal_exceptions(are_on):
            ring = extent_ring(grid, extent, crs)
        found.append(set(Tiling(grid.width, grid.height).touching(ring)))
    assert found[0] == found[1]
    return found[0]


def windows(grid, x_min, y_min, x_max, y_max):
    """Return the windows of a rectangle in grid pixels."""
    ring = np.array([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)], dtype=float)
    return set(Tiling(grid.width, grid.height).touching(ring))


def around(grid, x, y, epsg, reach=20):
    """Return a rectangle in a CRS that reaches some grid pixels to all sides of a point."""
    transform = osr.CoordinateTransformation(osr_of(grid), crs_of(epsg))
    corners = [(x - reach, y - reach), (x + reach, y - reach), (x - reach, y + reach), (x + reach, y + reach)]
    points = np.array([transform.TransformPoint(*map(float, grid.to_map(corner)))[:2] for corner in corners])
    return (*points.min(axis=0), *points.max(axis=0))


def osr_of(grid):
    srs = osr.SpatialReference()
    srs.SetFromUserInput(grid.crs_wkt)
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return srs


@pytest.mark.parametrize("grid", [UTM, ROTATED, DEGREES, ACROSS_180, PLAIN])
def test_bounds_of_the_grid_select_all(grid):
    assert selected(grid, grid.bounds()) == set(Tiling(grid.width, grid.height))


def test_extent_off_the_grid_selects_what_it_touches():
    extent = (528000.3, 4977900.1, 528600.2, 4977999.9)  # columns 0.6 to 1200.4, rows 0.2 to 199.8
    assert selected(UTM, extent) == windows(UTM, 0.6, 0.2, 1200.4, 199.8)


def test_extent_on_a_seam_does_not_select_what_lies_beyond():
    extent = (528000.0, 4978000.0 - 512, 528512.0, 4978000.0)
    assert selected(UTM, extent) == windows(UTM, 0, 0, 1024, 1024)


def test_extent_of_an_ungeoreferenced_raster_is_in_its_pixels():
    assert selected(PLAIN, (1500, -1500, 1510, -1400)) == windows(PLAIN, 1500, 1400, 1510, 1500)
    # No CRS of the extent could mean anything for it.
    assert selected(PLAIN, (1500, -1500, 1510, -1400), "EPSG:4326") == windows(PLAIN, 1500, 1400, 1510, 1500)


@pytest.mark.parametrize("epsg", [4326, 3857, 32611, 32612, 5070])
@pytest.mark.parametrize("grid", [UTM, ROTATED, DEGREES])
@pytest.mark.parametrize("point", [(500, 500), (1500, 500), (2500, 1500), (4096.5, 40)])
def test_extent_in_another_crs_selects_the_windows_under_it(grid, epsg, point):
    extent = around(grid, *point, epsg)
    found = selected(grid, extent, f"EPSG:{epsg}")
    assert Tiling(grid.width, grid.height).window_at(*point) in found
    assert found <= windows(grid, point[0] - 80, point[1] - 80, point[0] + 80, point[1] + 80)


@pytest.mark.parametrize(
    ("extent", "crs"),
    [
        ((-180, -90, 180, 90), "EPSG:4326"),
        ((-20037508, -20037508, 20037508, 20037508), "EPSG:3857"),
        ((-125, 20, -60, 50), "EPSG:4326"),
    ],
)
@pytest.mark.parametrize("grid", [UTM, ROTATED, DEGREES])
def test_extent_far_beyond_the_projection_selects_all(grid, extent, crs):
    assert selected(grid, extent, crs) == set(Tiling(grid.width, grid.height))


@pytest.mark.parametrize("grid", [ACROSS_180, UTM_ACROSS_180])
def test_extent_of_the_world_selects_all_of_a_raster_across_the_antimeridian(grid):
    everything = set(Tiling(grid.width, grid.height))
    assert selected(grid, (-180, -90, 180, 90), "EPSG:4326") == everything


@pytest.mark.parametrize(
    ("extent", "columns"),
    [
        ((179.981, 9.99, 179.982, 9.999), (100, 200)),
        ((-179.999, 9.99, -179.998, 9.999), (2100, 2200)),
        ((180.001, 9.99, 180.002, 9.999), (2100, 2200)),
    ],
)
def test_extent_on_either_side_of_the_antimeridian(extent, columns):
    expected = windows(ACROSS_180, columns[0], 100, columns[1], 1000)
    assert selected(ACROSS_180, extent, "EPSG:4326") == expected
    # In another geographic CRS, and in the grid's own.
    assert selected(ACROSS_180, extent, "EPSG:4258") == expected
    assert selected(ACROSS_180, extent) == expected


def test_extent_on_the_far_side_for_a_projected_raster():
    expected = Tiling(4097, 2050).window_at(3000, 1000)
    transform = osr.CoordinateTransformation(crs_of(32660), crs_of(4326))
    x, y = transform.TransformPoint(*map(float, UTM_ACROSS_180.to_map((3000, 1000))))[:2]
    assert x < -179
    assert selected(UTM_ACROSS_180, (x, y, x + 1e-4, y + 1e-4), "EPSG:4326") == {expected}


def test_small_projected_extent_on_a_raster_of_the_world():
    """The raster's outline has no place in the extent's CRS."""
    extent = (528000, 4977000, 529000, 4978000)
    found = selected(WORLD, extent, "EPSG:32612")
    assert found == windows(WORLD, 1372, 900, 1373, 901)


@pytest.mark.parametrize(
    "extent",
    [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9), (5, 5, float("nan"), 9), (float("-inf"), 5, 9, 9)],
)
def test_empty_extent_is_refused(extent):
    with pytest.raises(GridError, match="is empty") as caught:
        extent_ring(UTM, extent)
    assert "whole raster" in caught.value.hint


@pytest.mark.parametrize(
    ("grid", "extent", "crs"),
    [
        (UTM, (0, 0, 10, 10), ""),
        (UTM, (528000 - 10, 4978000, 528000, 4978010), ""),
        (UTM, (10, 50, 11, 51), "EPSG:4326"),
        (UTM, (-180, -90, 180, -60), "EPSG:4326"),
        (DEGREES, (-111.1, 44.0, -111.05, 44.9), "EPSG:4326"),
        (DEGREES, (0, 0, 1e6, 1e6), "EPSG:3857"),
        (PLAIN, (0, 0, 10, 10), ""),
        # Inside the bounds of a rotated raster, and yet beside it.
        (ROTATED, (528010, 4978700, 528100, 4979000), ""),
    ],
)
def test_extent_outside_is_refused(grid, extent, crs):
    for are_on in (False, True):
        with gdal_exceptions(are_on), pytest.raises(GridError, match="outside the raster") as caught:
            extent_ring(grid, extent, crs)
        assert "overlaps the raster" in caught.value.hint


def test_extent_in_no_crs_is_refused():
    with pytest.raises(GridError, match="no coordinate reference system"):
        extent_ring(UTM, (0, 0, 1, 1), "the usual one")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Grid coordinates and map coordinates meet where GDAL's geotransform says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from geo_sam2.errors import GridError, StoreError
from geo_sam2.grid import UNGEOREFERENCED, PixelGrid, window_corners
from geo_sam2.tile_window import TileWindow

COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))

# name: (geotransform, area of a pixel, lengths of its sides)
GEOTRANSFORMS = {
    "utm": ((528000.0, 0.1, 0.0, 4978000.0, 0.0, -0.1), 0.01, (0.1, 0.1)),
    "degrees": ((-111.7, 1e-6, 0.0, 44.9, 0.0, -1e-6), 1e-12, (1e-6, 1e-6)),
    "rotated": ((500000.0, 2 * COS, 2 * SIN, 100.0, 2 * SIN, -2 * COS), 4.0, (2.0, 2.0)),
    "south_up": ((500000.0, 2.0, 0.0, 100.0, 0.0, 2.0), 4.0, (2.0, 2.0)),
    "west_up": ((500000.0, -2.0, 0.0, 100.0, 0.0, -2.0), 4.0, (2.0, 2.0)),
    "rows_are_columns": ((500000.0, 0.0, 2.0, 100.0, -2.0, 0.0), 4.0, (2.0, 2.0)),
    "not_square": ((500000.0, 2.0, 0.0, 100.0, 0.0, -5.0), 10.0, (2.0, 5.0)),
    "ungeoreferenced": (UNGEOREFERENCED, 1.0, (1.0, 1.0)),
    "antimeridian": ((179.5, 0.001, 0.0, 10.0, 0.0, -0.001), 1e-6, (0.001, 0.001)),
}


def grid_of(geotransform, width=3000, height=2000, **changes):
    return PixelGrid(
        **{
            "width": width,
            "height": height,
            "geotransform": geotransform,
            "crs_wkt": "WKT",
            "crs_authid": "EPSG:32612",
            **changes,
        }
    )


@pytest.fixture(params=GEOTRANSFORMS.values(), ids=GEOTRANSFORMS.keys())
def case(request):
    return request.param


def test_place_is_that_of_gdals_formula(case):
    geotransform, _, _ = case
    x0, a, b, y0, c, d = geotransform
    for column, row in [(0, 0), (0.5, 0.5), (1, 0), (0, 1), (-3.25, 7000.5)]:
        expected = (x0 + column * a + row * b, y0 + column * c + row * d)
        assert grid_of(geotransform).to_map((column, row)) == pytest.approx(expected, rel=1e-15)


def test_way_back_ends_where_it_began(case):
    grid = grid_of(case[0])
    points = np.array([[(0, 0), (0.5, 0.5)], [(2999.75, 12), (-500, 1e6)]])
    back = grid.to_grid(grid.to_map(points))
    assert back.shape == points.shape
    # What double precision leaves of a micro-degree pixel beside a longitude of 111.7.
    np.testing.assert_allclose(back, points, atol=1e-7)


def test_size_of_a_pixel(case):
    geotransform, area, sides = case
    grid = grid_of(geotransform)
    assert grid.pixel_area() == pytest.approx(area)
    assert grid.pixel_size() == pytest.approx(sides)


def test_window_corners_run_along_the_first_row_first():
    corners = window_corners(TileWindow(0, 1024, 976, 1024, 512))
    assert corners.tolist() == [[1024, 976], [2048, 976], [2048, 1488], [1024, 1488]]


def test_coarse_window_covers_more_of_the_grid():
    assert window_corners(TileWindow(2, 8, 0, 1024, 512)).max(axis=0).tolist() == [8 + 4096, 2048]


def test_footprint_of_a_window_on_the_map():
    grid = grid_of((500000.0, 2.0, 0.0, 100.0, 0.0, -5.0))
    assert grid.footprint(TileWindow(0, 10, 20, 100, 200)).tolist() == [
        [500020, 0],
        [500220, 0],
        [500220, -1000],
        [500020, -1000],
    ]


def test_bounds_of_a_rotated_grid_hold_all_four_corners():
    grid = grid_of(GEOTRANSFORMS["rotated"][0], width=100, height=50)
    x_min, y_min, x_max, y_max = grid.bounds()
    assert (x_min, x_max) == pytest.approx((500000, 500000 + 200 * COS + 100 * SIN))
    assert (y_min, y_max) == pytest.approx((100 - 100 * COS, 100 + 200 * SIN))


def test_grid_without_crs_says_so():
    assert grid_of(UNGEOREFERENCED).has_crs
    assert not grid_of(UNGEOREFERENCED, crs_wkt="", crs_authid="").has_crs


def test_grid_comes_back_from_json(case):
    grid = grid_of(case[0])
    assert PixelGrid.from_json(json.loads(json.dumps(grid.to_json()))) == grid


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"height": 0},
        {"geotransform": (0.0, 0.0, 0.0, 0.0, 0.0, -1.0)},
        {"geotransform": (0.0, 1.0, 2.0, 0.0, 2.0, 4.0)},
        {"geotransform": (math.nan, 1.0, 0.0, 0.0, 0.0, -1.0)},
        {"geotransform": (0.0, 1.0, 0.0, math.inf, 0.0, -1.0)},
    ],
)
def test_impossible_grid_is_refused_made_or_read(changes):
    fields = {"geotransform": UNGEOREFERENCED, **changes}
    with pytest.raises(GridError):
        grid_of(**fields)
    with pytest.raises(StoreError):
        PixelGrid.from_json({**grid_of(UNGEOREFERENCED).to_json(), **fields})


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({}, None),
        ({"crs_wkt": "the same CRS as another PROJ writes it"}, None),
        ({"geotransform": (528000.0005, 0.1, 0.0, 4978000.0, 0.0, -0.1)}, None),
        ({"geotransform": (528000.0, 0.1 + 1e-7, 0.0, 4978000.0, 0.0, -0.1)}, None),
        ({"width": 3001}, "3001 × 2000 pixels instead of 3000 × 2000"),
        ({"geotransform": (528000.005, 0.1, 0.0, 4978000.0, 0.0, -0.1)}, "differs by 0.05 pixels"),
        ({"geotransform": (528000.0, 0.1, 0.0, 4978000.0, 0.0, 0.1)}, "differs by 4e"),
        ({"geotransform": (528000.0, 0.10001, 0.0, 4978000.0, 0.0, -0.1)}, "differs by 0.3 pixels"),
        ({"crs_authid": "EPSG:26912"}, "EPSG:26912 instead of EPSG:32612"),
        ({"crs_authid": ""}, "a CRS without a code instead of EPSG:32612"),
        ({"crs_wkt": "", "crs_authid": ""}, "no CRS instead of one"),
    ],
)
def test_difference_to_another_grid_is_named(changes, difference):
    grid = grid_of(GEOTRANSFORMS["utm"][0])
    other = grid_of(**{"geotransform": GEOTRANSFORMS["utm"][0], **changes})
    found = other.difference_to(grid)
    assert found is None if difference is None else difference in found

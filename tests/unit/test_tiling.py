# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows cover every pixel, overlap only in the last column and row, and are found again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import GridError
from geo_sam2.tile_window import TileWindow

# (width, height): ([(xoff, width), …], [(yoff, height), …])
SIZES = {
    (300, 300): ([(0, 300)], [(0, 300)]),
    (1024, 1024): ([(0, 1024)], [(0, 1024)]),
    (1025, 1025): ([(0, 1024), (1, 1024)], [(0, 1024), (1, 1024)]),
    (1023, 3000): ([(0, 1023)], [(0, 1024), (1024, 1024), (1976, 1024)]),
    (5000, 300): (
        [(0, 1024), (1024, 1024), (2048, 1024), (3072, 1024), (3976, 1024)],
        [(0, 300)],
    ),
    (1, 1): ([(0, 1)], [(0, 1)]),
    (4097, 2050): (
        [(0, 1024), (1024, 1024), (2048, 1024), (3072, 1024), (3073, 1024)],
        [(0, 1024), (1024, 1024), (1026, 1024)],
    ),
    (2048, 1024): ([(0, 1024), (1024, 1024)], [(0, 1024)]),
}


@pytest.fixture(params=SIZES.items(), ids=lambda case: "{}x{}".format(*case[0]))
def case(request):
    return request.param


# Of 4097 × 2050: the first two columns, row by row.
LEFT_SIX = [(0, 0), (1024, 0), (0, 1024), (1024, 1024), (0, 1026), (1024, 1026)]


def box(x_min, y_min, x_max, y_max):
    return np.array([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)], dtype=float)


def offsets(windows):
    return [(window.xoff, window.yoff) for window in windows]


def test_windows_are_those_of_the_table_row_by_row(case):
    (width, height), (columns, rows) = case
    expected = [TileWindow(0, x, y, w, h) for (y, h), (x, w) in itertools.product(rows, columns)]
    tiling = Tiling(width, height)
    assert list(tiling) == expected
    assert (len(tiling), tiling.columns, tiling.rows) == (len(expected), len(columns), len(rows))


def test_no_gap_and_overlap_only_in_the_last_column_and_row(case):
    (width, height), (columns, rows) = case
    covers = np.zeros((height, width), dtype=int)
    for window in Tiling(width, height):
        covers[window.yoff : window.yoff + window.height, window.xoff : window.xoff + window.width] += 1
    assert covers.min() == 1
    last_x = columns[-1][0] if len(columns) > 1 else width
    last_y = rows[-1][0] if len(rows) > 1 else height
    assert covers[:last_y, :last_x].max(initial=1) == 1
    assert covers.max() <= 4


def test_window_at_a_point_holds_it_and_is_the_regular_one(case):
    (width, height), _ = case
    tiling = Tiling(width, height)
    for x, y in itertools.product((0, 0.5, width / 2, width - 1e-6, width), (0, height / 3, height)):
        window = tiling.window_at(x, y)
        assert window in list(tiling)
        assert window.xoff <= x <= window.xoff + window.width
        assert window.yoff <= y <= window.yoff + window.height


@pytest.mark.parametrize(
    ("x", "xoff"),
    [(0, 0), (1023.99, 0), (1024, 1024), (4095.99, 3072), (4096, 3073), (4096.5, 3073), (4097, 3073)],
)
def test_point_in_the_overlap_belongs_to_the_regular_window(x, xoff):
    assert Tiling(4097, 2050).window_at(x, 5).xoff == xoff
    assert Tiling(2050, 4097).window_at(5, x).yoff == xoff


@pytest.mark.parametrize("point", [(-0.001, 5), (5, -0.001), (4097.001, 5), (5, 2050.001), (float("nan"), 5)])
def test_no_window_outside_the_grid(point):
    assert Tiling(4097, 2050).window_at(*point) is None


def test_window_that_does_not_exist_is_refused():
    tiling = Tiling(4097, 2050)
    for column, row in [(-1, 0), (5, 0), (0, -1), (0, 3)]:
        with pytest.raises(GridError, match="5 × 3"):
            tiling.window(column, row)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_grid_without_pixels_is_refused(size):
    with pytest.raises(GridError):
        Tiling(*size)


@pytest.mark.parametrize(
    ("ring", "expected"),
    [
        pytest.param(box(0, 0, 4097, 2050), None, id="all"),
        pytest.param(box(-9e9, -9e9, 9e9, 9e9), None, id="far more than all"),
        pytest.param(box(10, 10, 20, 20), [(0, 0)], id="inside one"),
        pytest.param(box(0, 0, 1024, 1024), [(0, 0)], id="exactly one"),
        pytest.param(box(1024, 0, 2048, 1024), [(1024, 0)], id="exactly another"),
        pytest.param(box(1e-7, 0, 1024 + 1e-7, 1024), [(0, 0)], id="exactly one but for rounding"),
        pytest.param(box(0, 0, 1024.5, 1024), [(0, 0), (1024, 0)], id="half a pixel more"),
        pytest.param(box(500, 500, 1500, 1500), LEFT_SIX, id="over a corner"),
        pytest.param(box(4096.2, 10, 4096.8, 20), [(3073, 0)], id="only in the shifted column"),
        pytest.param(box(3500, 10, 3510, 20), [(3072, 0), (3073, 0)], id="in the overlap"),
        pytest.param(box(-50, -50, 1, 1), [(0, 0)], id="from outside"),
        pytest.param(box(-50, -50, 0, 0), [], id="at the corner from outside"),
        pytest.param(box(5000, 0, 6000, 100), [], id="outside to the right"),
        pytest.param(box(0, 2050, 100, 2060), [], id="outside below"),
        pytest.param(box(10, 10, 10.5, 1900), [(0, 0), (0, 1024), (0, 1026)], id="thin"),
        # A triangle whose bounds hold the first window, and itself does not.
        pytest.param(np.array([(2000, 100), (2000, 1900), (900, 1900.0)]), LEFT_SIX[1:], id="triangle"),
    ],
)  # fmt: skip
def test_extent_selects_the_windows_it_touches(ring, expected):
    tiling = Tiling(4097, 2050)
    expected = offsets(tiling) if expected is None else expected
    for way in (ring, ring[::-1], np.vstack([ring, ring[:1]]), np.roll(ring, 1, axis=0)):
        assert offsets(tiling.touching(way)) == expected


def test_non_convex_ring_leaves_out_the_window_that_it_only_surrounds():
    # A "U" round the middle of three windows, through the two outer ones and the row below.
    ring = np.array(
        [
            (500, 100),
            (600, 100),
            (600, 1500),
            (2500, 1500),
            (2500, 100),
            (2600, 100),
            (2600, 1600),
            (500, 1600.0),
        ]
    )
    assert offsets(Tiling(3072, 2048).touching(ring)) == [
        (0, 0),
        (2048, 0),
        (0, 1024),
        (1024, 1024),
        (2048, 1024),
    ]


def test_touching_agrees_with_counting_pixels():
    """Against a polygon drawn at a quarter pixel, for random rings."""
    random = np.random.default_rng(5)
    tiling = Tiling(2500, 1700)
    y, x = np.mgrid[0:1700:4, 0:2500:4] + 2.0
    for _ in range(60):
        angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 9)))
        radii = random.uniform(100, 1200, len(angles))
        ring = random.uniform((0, 0), (2500, 1700)) + np.stack(
            [np.cos(angles) * radii, np.sin(angles) * radii], axis=1
        )
        inside = np.zeros(x.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0)):
            crosses = (y0 > y) != (y1 > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        found = tiling.touching(ring)
        for window in tiling:
            rows = slice(-(-window.yoff // 4), (window.yoff + window.height) // 4)
            columns = slice(-(-window.xoff // 4), (window.xoff + window.width) // 4)
            shared_px = 16 * inside[rows, columns].sum()
            # Slivers between the samples may be touched all the same.
            assert window in found or shared_px == 0
            assert window not in found or shared_px > 0 or _comes_near(ring, window)


def _comes_near(ring, window):
    """Whether the ring runs within 8 px of a window, where sampling may miss what it shares."""
    steps = np.linspace(0, 1, 2000)[:, None, None]
    points = (ring + steps * (np.roll(ring, -1, axis=0) - ring)).reshape(-1, 2)
    low = np.array([window.xoff, window.yoff]) - 8
    high = low + 16 + [window.width, window.height]
    return bool(((points >= low) & (points <= high)).all(axis=1).any())


@pytest.mark.parametrize("ring", [np.zeros((2, 2)), np.zeros((4, 3)), np.full((4, 2), np.nan), np.zeros(0)])
def test_what_is_no_ring_is_refused(ring):
    with pytest.raises(GridError):
        Tiling(5000, 5000).touching(ring)

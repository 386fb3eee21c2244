# SPDX-License-Identifier: GPL-3.0-or-later
"""Smooth outlines: exact cases, discs, agreement with upstream's mask, validity."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outlines import OutlineOptions, outline_logits, trace
from geo_sam2.errors import FeatureValueError
from tests.engine.outline_fields import (
    WINDOWS,
    assert_sound,
    burnt,
    disc,
    full_size_logits,
    noise,
    object_mask,
    ring_with_hole,
    sample_centres,
    to_shapely,
)

WHOLE = LogitGrid(1024, 1024)


@pytest.mark.parametrize("style", ["smooth", "pixel"])
@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_a_window_all_foreground_is_exactly_its_rectangle(width, height, style):
    grid = LogitGrid(width, height)
    outlines = outline_logits(np.full((256, 256), 3.0, np.float32), grid, OutlineOptions(style=style))
    assert len(outlines) == 1
    assert outlines.ring_count == 1
    assert len(outlines.points_xy) == 5
    corners = {(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)}
    assert set(map(tuple, outlines.points_xy.tolist())) == corners
    assert_sound(outlines, grid)


@pytest.mark.parametrize("style", ["smooth", "pixel"])
@pytest.mark.parametrize("logit", [-3.0, 0.0])
def test_a_window_all_background_has_no_polygon(logit, style):
    logits = np.full((256, 256), logit, np.float32)
    outlines = outline_logits(logits, WHOLE, OutlineOptions(style=style))
    assert len(outlines) == 0
    assert outlines.points_xy.shape == (0, 2)
    assert list(outlines.polygons()) == []
    assert outlines.area_px2.shape == (0,)


@pytest.mark.parametrize(
    ("width", "height", "x_px", "y_px", "radius_px"),
    [
        (1024, 1024, 512.0, 512.0, 500.0),
        (1024, 1024, 511.3, 498.9, 300.0),
        (1024, 1024, 300.7, 401.1, 150.25),
        (1024, 1024, 701.9, 203.45, 100.0),
        (1024, 1024, 100.2, 900.6, 80.0),
        (1024, 1024, 513.13, 511.61, 60.0),
        (700, 900, 350.0, 450.0, 340.0),
        (700, 900, 590.4, 790.3, 101.7),
        (900, 700, 120.9, 570.2, 70.0),
        (300, 1024, 150.0, 700.1, 120.0),
        (1024, 300, 700.1, 150.0, 120.0),
        (100, 100, 48.2, 51.9, 30.0),
        (5, 7, 2.6, 3.4, 2.0),
    ],
)
def test_a_disc_keeps_its_centre_and_area(width, height, x_px, y_px, radius_px):
    grid = LogitGrid(width, height)
    outlines = outline_logits(disc(grid, x_px, y_px, radius_px), grid)
    assert len(outlines) == 1
    assert outlines.ring_count == 1
    assert_sound(outlines, grid)
    centroid = to_shapely(outlines).centroid
    assert np.hypot(centroid.x - x_px, centroid.y - y_px) < 0.05
    assert outlines.area_px2[0] == pytest.approx(np.pi * radius_px**2, rel=1e-3)


@pytest.mark.parametrize("threshold", [-20.0, -2.5, 0.1, 7.0, 40.0])
def test_the_threshold_moves_the_outline_of_a_disc(threshold):
    logits = disc(WHOLE, 480.0, 530.0, 200.0)
    outlines = outline_logits(logits, WHOLE, OutlineOptions(threshold=threshold))
    assert outlines.area_px2[0] == pytest.approx(np.pi * (200.0 - threshold) ** 2, rel=1e-3)


def test_every_vertex_lies_on_the_surface_at_the_threshold():
    logits = noise(seed=4, blur=3)
    outlines = outline_logits(logits, WHOLE, OutlineOptions(threshold=1.5))
    x, y = outlines.points_xy.T
    inner = (x > 0) & (x < 1024) & (y > 0) & (y < 1024)
    u, v = np.clip(x / 4 - 0.5, 0, 255), np.clip(y / 4 - 0.5, 0, 255)
    column, row = np.minimum(u.astype(int), 254), np.minimum(v.astype(int), 254)
    u, v = u - column, v - row
    upper = logits[row, column] * (1 - u) + logits[row, column + 1] * u
    lower = logits[row + 1, column] * (1 - u) + logits[row + 1, column + 1] * u
    height = upper * (1 - v) + lower * v
    assert inner.sum() > 1000
    # Samples near the threshold are moved off it by 1e-4 of the contrast around them.
    np.testing.assert_allclose(height[inner], 1.5, atol=1e-3)


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (700, 900), (300, 1024), (200, 130)])
@pytest.mark.parametrize("seed", range(6))
def test_an_object_covers_the_pixels_of_upstreams_mask(width, height, seed):
    grid = LogitGrid(width, height)
    logits = object_mask(seed, radius=60.0)
    mask = full_size_logits(logits, grid) > 0
    outlines = outline_logits(logits, grid)
    assert_sound(outlines, grid)
    ours = burnt(outlines, grid)
    # Chords may leave the curve by 0.02 px: a pixel centre in a thousand along the border.
    assert (ours != mask).sum() <= max(2, 0.01 * to_shapely(outlines).length)
    fine_area = (full_size_logits(logits, grid, per_pixel=4) > 0).sum() / 16
    assert outlines.area_px2.sum() == pytest.approx(fine_area, rel=1e-3)


@pytest.mark.parametrize(("blur", "least_iou"), [(8, 0.9998), (4, 0.9995), (2, 0.999), (1, 0.998), (0, 0.98)])
def test_noise_gives_valid_polygons_that_agree_with_upstreams_mask(blur, least_iou):
    logits = noise(seed=blur, blur=blur)
    outlines = outline_logits(logits, WHOLE)
    assert_sound(outlines, WHOLE)
    mask, ours = full_size_logits(logits, WHOLE) > 0, burnt(outlines, WHOLE)
    assert (mask & ours).sum() / (mask | ours).sum() >= least_iou


@pytest.mark.parametrize(("width", "height"), WINDOWS)
@pytest.mark.parametrize("blur", [0, 3])
def test_noise_is_valid_in_windows_of_every_shape(width, height, blur):
    grid = LogitGrid(width, height)
    assert_sound(outline_logits(noise(seed=9, blur=blur), grid), grid)


def test_a_ring_is_one_polygon_with_a_hole():
    outlines = outline_logits(ring_with_hole(WHOLE, 500, 520, 100, 250), WHOLE)
    assert len(outlines) == 1
    ((exterior, hole),) = outlines.polygons()
    assert shapely.Polygon(exterior).contains(shapely.Polygon(hole))
    assert outlines.area_px2[0] == pytest.approx(np.pi * (250**2 - 100**2), rel=1e-3)
    assert_sound(outlines, WHOLE)


def test_an_island_in_a_hole_is_a_polygon_of_its_own():
    logits = np.maximum(ring_with_hole(WHOLE, 512, 512, 200, 400), disc(WHOLE, 512, 512, 80))
    outlines = outline_logits(logits, WHOLE)
    assert sorted(len(rings) for rings in outlines.polygons()) == [1, 2]
    assert_sound(outlines, WHOLE)


def test_parts_are_polygons_of_their_own():
    places = [(200, 200, 90), (700, 250, 120), (400, 800, 70)]
    logits = np.max([disc(WHOLE, *place) for place in places], axis=0)
    outlines = outline_logits(logits, WHOLE)
    areas = sorted(outlines.area_px2)
    assert areas == pytest.approx(sorted(np.pi * r**2 for _, _, r in places), rel=2e-3)
    assert_sound(outlines, WHOLE)


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (700, 900), (900, 700)])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom", "corner"])
def test_a_disc_on_the_windows_edge_is_cut_exactly_there(width, height, side):
    grid = LogitGrid(width, height)
    x_px, y_px = {
        "left": (0, height / 2),
        "right": (width, height / 2),
        "top": (width / 2, 0),
        "bottom": (width / 2, height),
        "corner": (width, height),
    }[side]
    outlines = outline_logits(disc(grid, x_px, y_px, 200.0), grid)
    assert_sound(outlines, grid)
    share = 0.25 if side == "corner" else 0.5
    # The outermost half sample is as far as the logits reach: there the surface is level.
    assert outlines.area_px2.sum() == pytest.approx(share * np.pi * 200.0**2, rel=3e-3)
    bounds = to_shapely(outlines).bounds
    if side in ("left", "top"):
        assert bounds[0 if side == "left" else 1] == 0.0
    if side in ("right", "corner"):
        assert bounds[2] == width
    if side in ("bottom", "corner"):
        assert bounds[3] == height


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (700, 900), (1021, 333)])
def test_every_point_on_the_windows_edge_is_exact(width, height):
    grid = LogitGrid(width, height)
    x, y = outline_logits(noise(seed=width, blur=1), grid).points_xy.T
    for coordinate, side in ((x, width), (y, height)):
        for edge in (0.0, float(side)):
            at_edge = np.abs(coordinate - edge) < 1e-6
            assert at_edge.sum() > 10
            assert (coordinate[at_edge] == edge).all()


def test_a_straight_edge_lands_between_samples_and_on_the_padded_edge():
    grid = LogitGrid(700, 900)
    x, _ = sample_centres(grid)
    outlines = outline_logits((x - 231.4).astype(np.float32), grid)
    left, top, right, bottom = to_shapely(outlines).bounds
    assert left == pytest.approx(231.4, abs=1e-4)
    assert (top, right, bottom) == (0.0, 700.0, 900.0)
    assert outlines.area_px2[0] == pytest.approx((700 - 231.4) * 900, rel=1e-6)


def test_the_contour_between_the_last_sample_and_a_padded_edge_is_interpolated():
    # 302.0 is sample 75, beyond the edge at 300; the surface crosses 0 at 299.5, after sample 74 at 298.
    x, _ = sample_centres(LogitGrid(300, 1024))
    outlines = outline_logits((299.5 - x).astype(np.float32), LogitGrid(300, 1024))
    assert to_shapely(outlines).bounds == pytest.approx((0.0, 0.0, 299.5, 1024.0), abs=1e-5)


@pytest.mark.parametrize("contrast", [1.0, 1.0 + 1e-7, 1.01, 3.0])
def test_a_checkerboard_of_saddles_is_valid(contrast):
    grid = LogitGrid(256, 256, low_res=64)
    rows, columns = np.mgrid[:64, :64]
    logits = np.where((rows + columns) % 2, -1.0, contrast).astype(np.float32)
    outlines = outline_logits(logits, grid)
    assert_sound(outlines, grid)
    assert outlines.area_px2.sum() == pytest.approx((full_size_logits(logits, grid) > 0).sum(), rel=0.1)


def test_a_saddle_joined_against_its_saddle_point_keeps_its_chords():
    # The mean is positive and joins the positive corners; the saddle point is negative and would not.
    values = np.array([[10.0, -1.0], [-1.0, 0.05]])
    outlines = trace(values, np.array([0.0, 100.0]), np.array([0.0, 100.0]))
    assert len(outlines) == 1
    vertices = outlines.points_xy[np.lexsort(outlines.points_xy.T)]
    along, far = 1000 / 11, 100 / 1.05
    chords = [(0, 0), (0, 0), (along, 0), (0, along), (100, far), (far, 100), (100, 100)]
    np.testing.assert_allclose(vertices, chords, rtol=1e-9)


def test_a_surface_with_nearly_touching_branches_is_valid():
    grid = LogitGrid(512, 512, low_res=128)
    rows, columns = np.mgrid[:128, :128]
    nearly = 1.0 + 1e-6 * np.random.default_rng(0).standard_normal((128, 128))
    assert_sound(outline_logits(np.where((rows + columns) % 2, -nearly, nearly), grid), grid)


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_samples_exactly_at_the_threshold_are_outside_and_leave_no_touching_rings(levels, seed):
    logits = np.random.default_rng(seed).integers(-levels // 2, levels, (256, 256)).astype(np.float32)
    assert (logits == 0).any()
    outlines = outline_logits(logits, WHOLE)
    assert len(outlines) > 10
    assert_sound(outlines, WHOLE)


def test_a_lone_sample_at_the_threshold_makes_a_hole_that_is_none_to_the_eye():
    logits = np.full((256, 256), 5.0, np.float32)
    logits[100, 100] = 0.0
    outlines = outline_logits(logits, WHOLE)
    assert outlines.ring_count == 2
    assert outlines.area_px2[0] == pytest.approx(1024**2, abs=1e-3)
    assert_sound(outlines, WHOLE)


@pytest.mark.parametrize("style", ["smooth", "pixel"])
def test_a_threshold_that_float32_rounds_is_compared_as_upstream_compares(style):
    logits = np.full((256, 256), 0.1, np.float32)
    assert len(outline_logits(logits, WHOLE, OutlineOptions(style=style, threshold=0.1))) == 0


@pytest.mark.parametrize("style", ["smooth", "pixel"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused(value, style):
    logits = np.zeros((256, 256), np.float32)
    logits[7, 9] = value
    with pytest.raises(FeatureValueError, match="NaN or infinite"):
        outline_logits(logits, WHOLE, OutlineOptions(style=style))


def test_huge_logits_do_not_spoil_the_outline_elsewhere():
    logits = disc(WHOLE, 300, 300, 150)
    logits[200:, 200:] = -1e6
    outlines = outline_logits(logits, WHOLE)
    assert outlines.area_px2[0] == pytest.approx(np.pi * 150**2, rel=1e-3)


def test_any_lattice_can_be_traced():
    x = np.concatenate(([-700.0], np.sort(np.random.default_rng(5).uniform(-700, 3000, 900)), [3000.0]))
    y = np.linspace(100_000.0, 103_000.0, 800)
    values = 900.0 - np.hypot(x[None] - 1000.0, y[:, None] - 101_500.0)
    outlines = trace(values, x, y)
    assert_sound(outlines)
    centroid = to_shapely(outlines).centroid
    assert (centroid.x, centroid.y) == pytest.approx((1000.0, 101_500.0), abs=0.05)
    assert outlines.area_px2[0] == pytest.approx(np.pi * 900**2, rel=1e-3)


def test_two_lattices_that_share_an_edge_meet_in_the_same_points():
    values = noise(seed=21, blur=4).astype(np.float64)
    x = np.arange(256) * 4.0
    y = np.arange(256) * 4.0
    left, right = trace(values[:, :129], x[:129], y), trace(values[:, 128:], x[128:], y)
    seam = x[128]
    on_left = np.unique(left.points_xy[left.points_xy[:, 0] == seam, 1])
    on_right = np.unique(right.points_xy[right.points_xy[:, 0] == seam, 1])
    assert len(on_left) > 4
    np.testing.assert_allclose(on_left, on_right, atol=2e-3)


@pytest.mark.parametrize(
    ("values", "x", "y", "problem"),
    [
        (np.zeros((3, 4)), np.arange(3.0), np.arange(3.0), "do not fit"),
        (np.zeros((1, 4)), np.arange(4.0), np.arange(1.0), "do not fit"),
        (np.zeros((3, 3)), np.array([0.0, 2.0, 2.0]), np.arange(3.0), "increasing"),
        (np.zeros((3, 3)), np.arange(3.0), np.array([2.0, 1.0, 0.0]), "increasing"),
        (np.zeros((3, 3)), np.array([0.0, np.nan, 2.0]), np.arange(3.0), "increasing"),
        (np.zeros((3, 3), np.int32), np.arange(3.0), np.arange(3.0), "float32"),
    ],
)
def test_a_lattice_that_makes_no_sense_is_refused(values, x, y, problem):
    with pytest.raises(ValueError, match=problem):
        trace(values, x, y)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixel outlines: exactly upstream's binary mask, along pixel edges, valid."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outlines import OutlineOptions, outline_logits, trace
from tests.engine.outline_fields import (
    WINDOWS,
    assert_sound,
    burnt,
    disc,
    full_size_logits,
    noise,
    object_mask,
)

PIXEL = OutlineOptions(style="pixel")


def assert_along_pixel_edges(outlines):
    assert np.array_equal(outlines.points_xy, np.rint(outlines.points_xy))
    steps = np.diff(outlines.points_xy, axis=0)
    within_ring = np.diff(outlines.ring_of_point) == 0
    assert ((steps[within_ring] == 0).sum(axis=1) == 1).all()


@pytest.mark.parametrize(("width", "height"), WINDOWS)
@pytest.mark.parametrize(("blur", "threshold"), [(0, 0.0), (2, 0.0), (6, 1.3)])
def test_burning_the_outline_gives_upstreams_mask_back(width, height, blur, threshold):
    grid = LogitGrid(width, height)
    logits = noise(seed=width + blur, blur=blur)
    full = full_size_logits(logits, grid)
    outlines = outline_logits(logits, grid, OutlineOptions(style="pixel", threshold=threshold))
    # Where the scale is no power of two, upstream's weights are rounded: a sign may hang on that.
    sure = np.abs(full - threshold) > 1e-4
    assert sure.mean() > 0.9999
    np.testing.assert_array_equal(burnt(outlines, grid)[sure], (full > threshold)[sure])


@pytest.mark.parametrize("seed", range(4))
def test_of_a_whole_window_every_single_pixel_is_upstreams(seed):
    grid = LogitGrid(1024, 1024)
    logits = object_mask(seed)
    outlines = outline_logits(logits, grid, PIXEL)
    np.testing.assert_array_equal(burnt(outlines, grid), full_size_logits(logits, grid) > 0)
    assert outlines.area_px2.sum() == (full_size_logits(logits, grid) > 0).sum()


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (700, 900), (60, 44), (5, 7)])
@pytest.mark.parametrize("blur", [0.5, 2])
def test_rings_run_along_pixel_edges_and_are_valid(width, height, blur):
    grid = LogitGrid(width, height)
    outlines = outline_logits(noise(seed=2, blur=blur), grid, PIXEL)
    assert len(outlines) > 0
    assert_along_pixel_edges(outlines)
    assert_sound(outlines, grid)


@pytest.mark.parametrize("seed", range(20))
def test_pixels_that_touch_at_corners_give_valid_polygons(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((14, 17)) < rng.uniform(0.3, 0.7)
    # One sample at each pixel's centre, and the border repeated: the mask itself.
    values = np.pad(np.where(mask, 1.0, -1.0), 1, mode="edge")
    x = np.concatenate(([0.0], np.arange(17) + 0.5, [17.0]))
    y = np.concatenate(([0.0], np.arange(14) + 0.5, [14.0]))
    outlines = trace(values, x, y, PIXEL)
    assert_along_pixel_edges(outlines)
    assert_sound(outlines)
    np.testing.assert_array_equal(burnt(outlines, LogitGrid(17, 14)), mask)


def test_two_pixels_that_share_a_corner_are_two_polygons():
    values = np.pad(np.array([[1.0, -1.0], [-1.0, 1.0]]), 1, mode="edge")
    positions = np.array([0.0, 0.5, 1.5, 2.0])
    outlines = trace(values, positions, positions, PIXEL)
    assert outlines.area_px2.tolist() == [1.0, 1.0]


def test_a_ring_through_corners_keeps_its_hole():
    mask = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]])  # the hole touches the notch at a corner
    values = np.pad(np.where(mask, 1.0, -1.0), 1, mode="edge")
    positions = np.array([0.0, 0.5, 1.5, 2.5, 3.0])
    outlines = trace(values, positions, positions, PIXEL)
    assert_sound(outlines)
    assert outlines.area_px2.tolist() == [7.0]
    assert outlines.ring_count == 2


def test_a_lattice_that_starts_elsewhere_keeps_its_place():
    positions = np.array([1000.0, 1000.5, 1001.5, 1002.0])
    values = np.full((4, 4), -1.0)
    values[1, 2:] = values[0, 2:] = 1.0
    outlines = trace(values, positions, positions - 3000.0, PIXEL)
    assert outlines.points_xy.min(axis=0).tolist() == [1001.0, -2000.0]
    assert outlines.area_px2.tolist() == [1.0]


def test_a_lattice_that_ends_within_a_pixel_is_refused():
    with pytest.raises(ValueError, match="pixel edges"):
        trace(np.ones((2, 2)), np.array([0.0, 2.5]), np.array([0.0, 2.0]), PIXEL)


def test_a_mask_that_holds_no_pixel_centre_is_empty():
    # Positive within 0.3 px of a pixel corner only: the smooth outline is there, no pixel is.
    grid = LogitGrid(64, 64)
    logits = disc(grid, 32.0, 32.0, 0.3)
    assert len(outline_logits(logits, grid)) == 1
    assert len(outline_logits(logits, grid, PIXEL)) == 0

# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygons as mask prompts: the area on each sample, held against shapely's intersections."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_prompt import covered_shares, mask_logits
from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.engine.ring_clip import bounds_within, clip_to_rectangle
from geo_sam2.errors import PromptError

WINDOWS = {
    "full": LogitGrid(1024, 1024),
    "700 wide, 900 high": LogitGrid(700, 900),
    "900 wide, 700 high": LogitGrid(900, 700),
    "smaller than the logits": LogitGrid(130, 97),
    "a row": LogitGrid(1024, 1),
    "a pixel": LogitGrid(1, 1),
}


def outlines_of(*polygons):
    """Return shapely polygons as outlines, their rings as they run."""
    rings = [np.array(ring.coords) for polygon in polygons for ring in (polygon.exterior, *polygon.interiors)]
    return Outlines(
        np.concatenate(rings),
        offsets_of(np.array([len(ring) for ring in rings])),
        offsets_of(np.array([1 + len(polygon.interiors) for polygon in polygons])),
    )


def star(x, y, radius, points=7):
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
    reach = radius * np.where(np.arange(2 * points) % 2, 0.35, 1.0)
    return shapely.Polygon(np.column_stack((x + reach * np.cos(angle), y + reach * np.sin(angle))))


def disc(x, y, radius):
    return shapely.Point(x, y).buffer(radius, 60)


SHAPES = {
    "triangle": [shapely.Polygon([(10.3, 20.7), (600.1, 77.7), (123.4, 666.6)])],
    "turned round": [shapely.Polygon([(123.4, 666.6), (600.1, 77.7), (10.3, 20.7)])],
    "star with a hole": [star(350, 400, 300) - disc(350, 400, 60.3)],
    "hole that runs like its exterior": [
        shapely.Polygon(star(350, 400, 300).exterior, [star(350, 400, 100).exterior])
    ],
    "two parts, an island in a lake": [
        disc(300, 300, 200) - disc(300, 300, 150),
        disc(300, 300, 50.5),
        shapely.box(550.5, 5.25, 600, 600),
    ],
    "two in one sample": [
        shapely.box(100.1, 100.1, 101, 103),
        shapely.box(101.5, 100.1, 102.2, 103),
    ],
    "sides on samples": [shapely.box(128, 64, 512, 256)],
    "sides between pixels": [shapely.box(128.5, 64.25, 512.125, 256.75)],
    "smaller than a sample": [disc(400.2, 300.1, 0.7)],
    "beyond the window": [star(500, 500, 900) - disc(500, 500, 100)],
    "all of the window": [shapely.box(-50, -1e6, 2000, 3000)],
    "exactly the window of 1024": [shapely.box(0, 0, 1024, 1024)],
    "round a corner": [shapely.box(-100, -100, 300, 300) - shapely.box(-90, -90, 200, 200)],
    "a comb that leaves the window": [
        shapely.union_all([shapely.box(20 * i, -50, 20 * i + 7.7, 333) for i in range(20)])
        .union(shapely.box(0, -60, 400, -40))
        .buffer(0)
    ],
}


def reference(polygons, grid):
    """Return the share of each sample's square that polygons cover within the window."""
    edges = np.arange(grid.low_res) * grid.pitch_px
    x, y = edges[None, :], edges[:, None]
    squares = shapely.box(x, y, x + grid.pitch_px, y + grid.pitch_px)
    union = shapely.union_all(polygons) & shapely.box(0, 0, grid.width_px, grid.height_px)
    shapely.prepare(union)
    touched = shapely.intersects(union, squares)
    shares = np.zeros(squares.shape)
    shares[touched] = shapely.area(shapely.intersection(squares[touched], union)) / grid.pitch_px**2
    return shares


@pytest.mark.parametrize("grid", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize("polygons", SHAPES.values(), ids=SHAPES.keys())
def test_share_of_each_sample_is_its_area(polygons, grid):
    found = covered_shares(outlines_of(*polygons), grid)
    assert found.shape == (256, 256)
    np.testing.assert_allclose(found, reference(polygons, grid), atol=1e-9)


def test_polygons_that_overlap_count_once():
    lying, standing = shapely.box(100, 300, 900, 500), shapely.box(400, 100, 600, 900)
    found = covered_shares(outlines_of(lying, standing), LogitGrid(1024, 1024))
    np.testing.assert_allclose(found, reference([lying, standing], LogitGrid(1024, 1024)), atol=1e-9)


def test_logits_are_those_of_upstream_for_a_mask_that_is_given():
    """``SAM2Base._use_mask_as_output`` on the pixels of the window, for polygons along their edges."""
    import torch

    shape = shapely.box(100, 200, 637, 543) - shapely.box(301, 302, 405, 411)
    mask = torch.zeros((1, 1, 1024, 1024))
    mask[..., 200:543, 100:637] = 1
    mask[..., 302:411, 301:405] = 0
    shrunk = torch.nn.functional.avg_pool2d(mask * 20.0 - 10.0, 4)[0, 0].numpy()
    found = mask_logits(outlines_of(shape), LogitGrid(1024, 1024))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, shrunk, atol=1e-5)


def test_edge_of_the_polygon_is_where_the_logits_are_zero():
    """Along a straight edge the bilinear surface over the samples crosses 0 on it."""
    grid = LogitGrid(700, 900)
    for edge_px in (300.0, 301.3, 302.9):
        logits = mask_logits(outlines_of(shapely.box(100, 100, edge_px, 800)), grid)
        values, x, y = grid.lattice(logits)
        row = values[np.searchsorted(y, 450)]
        last = np.flatnonzero(row > 0)[-1]
        crossing = x[last] + (x[last + 1] - x[last]) * row[last] / (row[last] - row[last + 1])
        assert abs(crossing - edge_px) < grid.pitch_px / 8


@pytest.mark.parametrize(
    "polygon",
    [shapely.box(1200, 10, 1300, 20), shapely.box(1024, 0, 1100, 100), shapely.box(-300, -300, 1300, 1300)],
    ids=["beside", "at the side", "a hole that holds the window"],
)
def test_mask_without_a_part_in_the_window_is_refused(polygon):
    hole = shapely.box(-1, -1, 1025, 1025)
    outlines = outlines_of(polygon - hole if polygon.contains(hole) else polygon)
    with pytest.raises(PromptError, match="cover nothing of its window of 1024 × 1024"):
        mask_logits(outlines, LogitGrid(1024, 1024))


WINDOW = (200.0, 300.0, 700.5, 900.25)


@pytest.mark.parametrize("polygons", SHAPES.values(), ids=SHAPES.keys())
def test_clipped_polygons_keep_area_and_extent(polygons):
    outlines = outlines_of(*polygons)
    expected = shapely.union_all(polygons) & shapely.box(*WINDOW)
    clipped = clip_to_rectangle(outlines, WINDOW).oriented()
    Outlines.from_arrays(**clipped.arrays())
    assert clipped.area_px2.sum() == pytest.approx(expected.area, abs=1e-6)
    found = bounds_within(outlines, WINDOW)
    if expected.area == 0:
        assert found is None
        assert len(clipped) == 0
    else:
        np.testing.assert_allclose(found, expected.bounds, atol=1e-9)


def test_extent_of_a_polygon_along_the_sides_of_the_rectangle():
    rectangle = shapely.box(*WINDOW)
    assert bounds_within(outlines_of(rectangle), WINDOW) == WINDOW
    beside = shapely.box(0, 300, 200, 500)
    assert bounds_within(outlines_of(beside), WINDOW) is None
    inside = shapely.box(300, 400, 350, 450)
    assert bounds_within(outlines_of(beside, inside), WINDOW) == inside.bounds


def test_no_polygon_has_no_part():
    assert len(clip_to_rectangle(Outlines.empty(), WINDOW)) == 0
    assert bounds_within(Outlines.empty(), WINDOW) is None
    assert not covered_shares(Outlines.empty(), LogitGrid(1024, 1024)).any()

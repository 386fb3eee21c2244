# SPDX-License-Identifier: GPL-3.0-or-later
"""Outlines have points enough, and rings across the antimeridian stay in one piece."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geo_sam2.encoder.extent_outline import (
    SIDE_POINTS,
    bounds_of,
    outline_through,
    overlap,
    rectangle_outline,
    unwrapped,
)


def test_outline_of_a_rectangle_has_its_corners_and_points_between():
    outline = rectangle_outline((10, 20, 42, 84))
    assert outline.shape == (4 * SIDE_POINTS, 2)
    assert outline[::SIDE_POINTS].tolist() == [[10, 20], [42, 20], [42, 84], [10, 84]]
    assert np.hypot(*np.diff(outline, axis=0).T).max() == pytest.approx(64 / SIDE_POINTS)
    assert bounds_of(outline) == (10, 20, 42, 84)


def test_outline_goes_straight_through_any_corners():
    outline = outline_through([(0, 0), (SIDE_POINTS, SIDE_POINTS), (0, 5)])
    assert outline[:SIDE_POINTS].tolist() == [[i, i] for i in range(SIDE_POINTS)]


def test_ring_across_the_antimeridian_is_unwrapped():
    ring = np.array([(179.5, 1), (-179.5, 1), (-179.5, 0), (179.5, 0.0)])
    assert unwrapped(ring, 360).tolist() == [[179.5, 1], [180.5, 1], [180.5, 0], [179.5, 0]]


def test_ring_elsewhere_is_left_alone():
    ring = np.array([(-5.0, 1), (5, 1), (5, 0)])
    assert unwrapped(ring, 360).tolist() == ring.tolist()
    far = np.array([(0.0, 1), (1e7, 1), (5, 0)])
    assert unwrapped(far, math.inf) is far


def test_ring_round_a_pole_is_told():
    assert unwrapped(np.array([(-135.0, 80), (-45, 80), (45, 80), (135, 80)]), 360) is None


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ((5, 5, 20, 20), (5, 5, 10, 10)),
        ((-5, 2, 20, 3), (0, 2, 10, 3)),
        ((10, 0, 20, 10), None),
        ((11, 0, 20, 10), None),
        ((0, 10, 10, 20), None),
    ],
)
def test_overlap_of_two_rectangles(other, shared):
    assert overlap((0, 0, 10, 10), other) == shared
    assert overlap(other, (0, 0, 10, 10)) == shared

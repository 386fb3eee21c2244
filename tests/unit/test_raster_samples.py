# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples are the same for the same size, spread over all of it, and few."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.encoder.raster_samples import CELL_HEIGHT, CELL_WIDTH, sample_windows

SIZES = [
    (1, 1),
    (300, 300),
    (256, 128),
    (2048, 1024),
    (2049, 1025),
    (5000, 300),
    (30_000, 30_000),
    (3, 70_000),
]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_samples_lie_inside_and_begin_on_whole_cells(width, height):
    for window in sample_windows(width, height):
        assert 0 < window.width <= CELL_WIDTH
        assert 0 < window.height <= CELL_HEIGHT
        assert window.xoff % CELL_WIDTH == 0
        assert window.yoff % CELL_HEIGHT == 0
        assert window.xoff + window.width <= width
        assert window.yoff + window.height <= height


@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 300), (2048, 1024), (1, 1000)])
def test_small_raster_is_covered_once(width, height):
    covers = np.zeros((height, width), dtype=int)
    for window in sample_windows(width, height):
        covers[window.yoff : window.yoff + window.height, window.xoff : window.xoff + window.width] += 1
    assert (covers == 1).all()


def test_large_raster_is_sampled_from_edge_to_edge_without_repeats():
    windows = list(sample_windows(30_000, 30_000))
    assert len(set(windows)) == len(windows) == 64
    columns = sorted({window.xoff for window in windows})
    rows = sorted({window.yoff for window in windows})
    assert columns[0] == rows[0] == 0
    assert max(np.diff(columns)) < 30_000 / 7 + CELL_WIDTH
    assert max(np.diff(rows)) < 30_000 / 7 + CELL_HEIGHT
    assert columns[-1] + CELL_WIDTH >= 30_000
    assert rows[-1] + CELL_HEIGHT >= 30_000


def test_samples_of_a_size_never_change():
    """Stores are found again by what these windows hold."""
    windows = list(sample_windows(30_000, 20_000))
    assert [(window.xoff, window.yoff) for window in windows[:9]] == [
        (0, 0),
        (4096, 0),
        (8448, 0),
        (12800, 0),
        (16896, 0),
        (21248, 0),
        (25600, 0),
        (29952, 0),
        (0, 2816),
    ]
    assert windows[-1].xoff, windows[-1].yoff == (29952, 19968)


def test_later_rounds_look_in_more_places():
    assert len(list(sample_windows(30_000, 30_000, 16))) == 256
    assert len(list(sample_windows(3000, 3000, 16))) == 12 * 16

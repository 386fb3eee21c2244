# SPDX-License-Identifier: GPL-3.0-or-later
"""Where logits lie in a window, and how they are clipped at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.pixel_edges import interpolate, weights_at
from geo_sam2.errors import WindowError
from tests.engine.outline_fields import WINDOWS, full_size_logits, noise


def test_samples_of_a_whole_window_are_centred_on_their_share():
    positions = LogitGrid(1024, 1024).sample_positions(1024)
    assert positions[0] == 0.0
    assert positions[-1] == 1024.0
    np.testing.assert_array_equal(positions[1:-1], np.arange(256) * 4 + 2)


@pytest.mark.parametrize(
    ("side_px", "longer_px", "inside", "last_inside"),
    [
        (700, 900, 199, 198.5 * 900 / 256),  # sample 199 lies at 701.4
        (900, 900, 256, 255.5 * 900 / 256),
        (300, 1024, 75, 298.0),
        (302, 1024, 75, 298.0),  # sample 75 lies exactly on the edge
        (303, 1024, 76, 302.0),
        (1, 1024, 0, 0.0),  # the first sample lies beyond the window
        (5, 7, 183, 182.5 * 7 / 256),
    ],
)
def test_samples_beyond_the_window_are_cut(side_px, longer_px, inside, last_inside):
    positions = LogitGrid(side_px, longer_px).sample_positions(side_px)
    assert len(positions) == inside + 2
    assert positions[-1] == side_px
    assert positions[-2] == pytest.approx(last_inside, abs=1e-9)
    assert (np.diff(positions) > 0).all()


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(1024, 1024, (256, 256)), (700, 900, (256, 200)), (1024, 300, (75, 256)), (5, 7, (256, 183))],
)
def test_valid_shape_covers_the_window(width, height, shape):
    assert LogitGrid(width, height).valid_shape == shape


def test_model_scale_takes_the_longer_side_to_the_image_size():
    assert LogitGrid(700, 900).model_scale * 900 == pytest.approx(1024)
    assert LogitGrid(300, 100, image_size=512, low_res=128).model_scale * 300 == pytest.approx(512)


@pytest.mark.parametrize(("width", "height"), WINDOWS)
def test_lattice_is_upstreams_full_size_surface(width, height):
    grid = LogitGrid(width, height)
    logits = noise(seed=width + height)
    values, x, y = grid.lattice(logits)
    assert values.shape == (len(y), len(x))
    assert values.dtype == np.float32
    at_pixels = interpolate(
        values, weights_at(x, np.arange(width) + 0.5), weights_at(y, np.arange(height) + 0.5)
    )
    # In float64, where upstream's own weights have no rounding to speak of.
    expected = full_size_logits(logits.astype(np.float64), grid)
    np.testing.assert_allclose(at_pixels, expected, atol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(700, 900), (900, 700), (300, 1024)])
def test_the_covering_part_of_the_logits_is_enough(width, height):
    grid = LogitGrid(width, height)
    rows, columns = grid.valid_shape
    logits = noise(seed=3)
    logits[rows:], logits[:, columns:] = logits[rows - 1], logits[:, columns - 1 : columns]
    whole, part = grid.lattice(logits), grid.lattice(logits[:rows, :columns])
    for one, other in zip(whole, part):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((255, 200), np.float32),  # a row short
        np.zeros((256, 199), np.float32),
        np.zeros((256, 257), np.float32),
        np.zeros((1, 256, 256), np.float32),
        np.zeros((256, 256), np.int64),
        np.zeros((256, 256), np.float16),
    ],
)
def test_logits_that_do_not_fit_the_window_are_refused(logits):
    with pytest.raises(WindowError, match="logits"):
        LogitGrid(700, 900).lattice(logits)


@pytest.mark.parametrize("width", [0, -1, 2.5, True, "7", None])
def test_a_window_without_whole_sides_is_refused(width):
    with pytest.raises(WindowError, match="width_px"):
        LogitGrid(width, 10)

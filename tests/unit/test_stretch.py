# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of any type become 0–255 as the percentiles or the range say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo_sam2.encoder.stretch import Stretch
from geo_sam2.errors import StoreError, StretchError


def test_uint8_passes_unchanged():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(Stretch.none().apply(values), values)


def test_values_that_need_a_stretch_never_pass_unchanged():
    with pytest.raises(StretchError, match="uint16"):
        Stretch.none().apply(np.zeros((1, 2, 2), dtype=np.uint16))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_range_becomes_0_to_255_rounded_and_clipped(dtype):
    stretch = Stretch.from_range((10, 61), 2)
    values = np.array([0, 9, 10, 11, 35, 61, 62, 100]).astype(dtype).reshape(1, 2, 4)
    expected = [0, 0, 0, 5, 125, 255, 255, 255]
    stretched = stretch.apply(np.concatenate([values, values]))
    assert stretched.dtype == np.uint8
    assert stretched.reshape(2, -1).tolist() == [expected, expected]


def test_range_below_zero():
    values = np.array([-9999.0, -1.5, -1.0, -0.5, 1e30]).reshape(1, 1, 5)
    assert Stretch.from_range((-1.5, -0.5), 1).apply(values).tolist() == [[[0, 0, 128, 255, 255]]]


def test_large_integers_keep_their_differences():
    values = np.array([2_000_000_000, 2_000_000_001, 2_000_000_002], dtype=np.uint32).reshape(1, 1, 3)
    assert Stretch.from_range((2_000_000_000, 2_000_000_002), 1).apply(values).tolist() == [[[0, 128, 255]]]


def test_values_handed_in_are_left_alone():
    values = np.array([[[1.0, 2.0]]])
    Stretch.from_range((0, 1), 1).apply(values)
    assert values.tolist() == [[[1.0, 2.0]]]


def test_percentiles_of_each_band():
    band = np.arange(1001, dtype=np.uint16)
    stretch = Stretch.from_samples([band, band * 2 + 7])
    assert stretch == Stretch("linear", (20.0, 47.0), (980.0, 1967.0))


def test_few_extreme_values_do_not_flatten_the_rest():
    band = np.concatenate([np.linspace(0, 1, 990), [1e30] * 5, [-1e30] * 5])
    stretch = Stretch.from_samples([band])
    assert 0 <= stretch.minimum[0] < 0.02
    assert 0.98 < stretch.maximum[0] <= 1


def test_sparse_values_are_stretched_between_minimum_and_maximum():
    band = np.zeros(1000, dtype=np.int16)
    band[5] = 300
    assert Stretch.from_samples([band]) == Stretch("linear", (0.0,), (300.0,))


def test_constant_band_beside_others_becomes_0():
    stretch = Stretch.from_samples([np.arange(100), np.full(100, 7)])
    values = np.array([[[50]], [[7]]])
    assert stretch.apply(values).ravel().tolist() == [129, 0]
    assert stretch.apply(values + 5)[1] == 0


def test_constant_image_is_refused_with_its_value():
    with pytest.raises(StretchError, match="constant.* 7, -2.") as caught:
        Stretch.from_samples([np.full(10, 7), np.full(10, -2)])
    assert "range" in caught.value.hint


def test_image_without_valid_pixel_is_refused():
    with pytest.raises(StretchError, match="No valid pixel"):
        Stretch.from_samples([np.zeros(0)])


@pytest.mark.parametrize(
    ("value_range", "sentence"),
    [
        ((5, 5), "empty"),
        ((6, 5), "minimum must be below"),
        ((0, float("nan")), "no end"),
        ((0, float("inf")), "no end"),
    ],
)
def test_impossible_range_is_refused(value_range, sentence):
    with pytest.raises(StretchError, match=sentence) as caught:
        Stretch.from_range(value_range, 3)
    assert caught.value.hint


def test_other_number_of_bands_is_refused():
    with pytest.raises(StretchError, match="3 bands meet a stretch of 1"):
        Stretch.from_range((0, 1), 1).apply(np.zeros((3, 2, 2)))


@pytest.mark.parametrize("stretch", [Stretch.none(), Stretch("linear", (-1.5, 0.0), (2.0, 0.0))])
def test_stretch_comes_back_from_json(stretch):
    assert Stretch.from_json(json.loads(json.dumps(stretch.to_json()))) == stretch


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "gamma"},
        {"minimum": []},
        {"maximum": [1.0, 2.0]},
        {"minimum": [3.0]},
        {"kind": "none"},
        {"minimum": [], "maximum": []},
    ],
)
def test_stretch_that_contradicts_itself_is_refused(changes):
    with pytest.raises(StoreError):
        Stretch.from_json({"kind": "linear", "minimum": [1.0], "maximum": [2.0], **changes})

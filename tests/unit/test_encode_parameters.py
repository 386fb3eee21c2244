# SPDX-License-Identifier: GPL-3.0-or-later
"""What people write for bands, range and resolution: read, or refused with a sentence."""

from __future__ import annotations

import math

import pytest

from geo_sam2.encoder.encode_parameters import read_bands, read_range, read_resolution
from geo_sam2.errors import EncodeRequestError


@pytest.mark.parametrize(
    ("value", "bands"),
    [
        (None, None),
        ("", None),
        ([], None),
        (2, (2,)),
        ("3", (3,)),
        ("3;2;1", (3, 2, 1)),
        ("3,2,1", (3, 2, 1)),
        ([4, 3], (4, 3)),
        (["4", "3", "2"], (4, 3, 2)),
        (2.0, (2,)),
        ([1, 1, 1], (1, 1, 1)),
    ],
)
def test_bands_are_read_in_their_order(value, bands):
    assert read_bands(value) == bands


@pytest.mark.parametrize("value", ["red", "1;x", 0, -1, [0], 1.5, "nan", [1, None, "x"], object()])
def test_what_is_no_band_is_named(value):
    with pytest.raises(EncodeRequestError, match="is no band number"):
        read_bands(value)


def test_more_than_three_bands_are_refused():
    with pytest.raises(EncodeRequestError, match="4 bands are chosen; the model sees at most three"):
        read_bands([1, 2, 3, 4])


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (None, None),
        ("", None),
        ("nan,nan", None),
        ([math.nan, math.nan], None),
        ("0,3000", (0.0, 3000.0)),
        ([-1.5, 2], (-1.5, 2.0)),
        ("0.001;0.4", (0.001, 0.4)),
    ],
)
def test_range_is_read(value, limits):
    assert read_range(value) == limits


@pytest.mark.parametrize("value", ["5,1", [3, 3]])
def test_range_without_extent_is_refused(value):
    with pytest.raises(EncodeRequestError, match="its minimum must be below its maximum"):
        read_range(value)


@pytest.mark.parametrize("value", ["1", "0,nan", "0,inf", "a,b", [1, 2, 3], 7])
def test_what_is_no_range_is_named(value):
    with pytest.raises(EncodeRequestError, match="is no range of values"):
        read_range(value)


@pytest.mark.parametrize(
    ("value", "side"), [(None, None), ("", None), (0.5, 0.5), ("0.25", 0.25), (10, 10.0), (1e-9, 1e-9)]
)
def test_resolution_is_any_number_above_zero(value, side):
    assert read_resolution(value) == side


@pytest.mark.parametrize("value", [0, -1, "x", "1,2", math.nan, math.inf, [1, 2]])
def test_what_is_no_resolution_is_named(value):
    with pytest.raises(EncodeRequestError, match="is no resolution"):
        read_resolution(value)

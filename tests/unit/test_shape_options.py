# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a shape: what the engine is told of them, and their text in a feature."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo_sam2.errors import OutlineOptionsError
from geo_sam2.segmentation.shape_options import ShapeOptions

EVERYTHING = ShapeOptions(1.25, "smooth", 0.1, 20.5, 1e6, False, True)


def test_engine_judges_parts_of_one_tile():
    assert EVERYTHING.outline_fields(is_joined=False) == {
        "threshold": 1.25,
        "style": "smooth",
        "simplify_px": 0.1,
        "min_area_px2": 20.5,
        "max_hole_px2": 1e6,
        "largest_only": False,
    }
    assert ShapeOptions().outline_fields(is_joined=False)["largest_only"] is True


def test_parts_of_several_tiles_are_left_for_after_the_joint():
    options = ShapeOptions(0.5, "smooth", 2.0, 20.0, 30.0, True)
    assert options.outline_fields(is_joined=True) == {
        "threshold": 0.5,
        "style": "smooth",
        "simplify_px": 2.0,
        "min_area_px2": 0.0,
        "max_hole_px2": 0.0,
        "largest_only": False,
    }


def test_pixel_style_keeps_the_tolerance_but_does_not_use_it():
    options = ShapeOptions(style="pixel", simplify_px=2.0)
    assert options.outline_fields(is_joined=False)["simplify_px"] == 0.0
    assert options.simplify_px == 2.0


@pytest.mark.parametrize("options", [ShapeOptions(), EVERYTHING, ShapeOptions(threshold=-0.1 + 0.3)])
def test_text_gives_the_options_back_exactly(options):
    assert ShapeOptions.from_text(options.to_text()) == options
    assert len(options.to_text()) < 254  # a text field of a shapefile


def test_equal_options_have_one_text_whatever_numbers_they_came_as():
    as_numbers = ShapeOptions(threshold=1, simplify_px=np.float64(2.0), min_area_px2=np.int64(3))
    assert as_numbers.to_text() == ShapeOptions(threshold=1.0, simplify_px=2.0, min_area_px2=3.0).to_text()
    assert type(as_numbers.outline_fields(is_joined=False)["simplify_px"]) is float


@pytest.mark.parametrize(
    "values",
    [
        {"style": "Smooth"},
        {"style": None},
        {"threshold": float("nan")},
        {"threshold": -2e6},
        {"threshold": "1"},
        {"simplify_px": -0.1},
        {"min_area_px2": float("inf")},
        {"max_hole_px2": True},
        {"max_hole_px2": 10**400},
        {"largest_only": 1},
        {"right_angles": "yes"},
    ],
)
def test_value_that_cannot_be_used_is_said(values):
    with pytest.raises(OutlineOptionsError) as caught:
        ShapeOptions(**values)
    assert caught.value.text.endswith(".")


def changed(**values):
    return json.dumps({**json.loads(ShapeOptions().to_text()), **values})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        "{}",
        ShapeOptions().to_text()[:-1],
        changed(version=2),
        changed(version=True),
        changed(threshold="0"),
        changed(threshold=None),
        changed(largest_only=0),
        changed(style="round"),
        changed(simplify_px=-1),
        changed(min_area_px2=float("inf")),
        '{"version":1,"threshold":0.0}',
        "[" * 5000,
        changed(style="x" * 20_000),
    ],
)
def test_text_that_cannot_be_read_is_said(text):
    with pytest.raises(OutlineOptionsError) as caught:
        ShapeOptions.from_text(text)
    assert caught.value.text.endswith(".")
    assert caught.value.hint
    assert len(caught.value.text) < 200

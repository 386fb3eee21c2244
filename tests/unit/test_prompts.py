# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts as values: lines that become clicks, and the steps that the decoder is asked with."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.engine.outline_rings import Outlines, offsets_of
from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.engine.prompt_steps import prompt_after, read_steps
from geo_sam2.segmentation.prompts import (
    MASK_CHOICES,
    Box,
    Click,
    ObjectPrompts,
    clicks_along,
    decoder_steps,
    read_label,
)

ON = Click(100.0, 200.0, FOREGROUND, 1)
ALSO_ON = Click(120.0, 210.0, FOREGROUND, 2)
BESIDE = Click(10.0, 20.0, BACKGROUND, 3)
BOX = Box(50.0, 60.0, 150.0, 260.0, 4)
RING = np.array([(50.0, 60.0), (50.0, 260.0), (150.0, 260.0), (50.0, 60.0)])
TWO_PARTS = Outlines(np.concatenate((RING, RING)), offsets_of(np.array([4, 4])), offsets_of(np.array([1, 1])))
MASK = Box(50.0, 60.0, 150.0, 260.0, 5, polygons=TWO_PARTS)


def positions(clicks):
    return [(click.x_px, click.y_px) for click in clicks]


LINES = {
    "one vertex": ([(5, 6)], [(5, 6)]),
    "no length": ([(5, 6), (5, 6)], [(5, 6)]),
    "under two pixels": ([(0, 0), (1.5, 0)], [(0.75, 0)]),
    "short": ([(0, 0), (30, 0)], [(5, 0), (15, 0), (25, 0)]),
    "through a tile": ([(0, 0), (0, 1024)], [(0, 64 + 128 * i) for i in range(8)]),
    "round a corner": ([(0, 0), (90, 0), (90, 90)], [(30, 0), (90, 0), (90, 60)]),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES.keys())
def test_line_becomes_evenly_spaced_clicks(line, expected):
    clicks = clicks_along(np.array(line, dtype=float), BACKGROUND, 9)
    np.testing.assert_allclose(positions(clicks), expected)
    assert {(click.label, click.source_id) for click in clicks} == {(BACKGROUND, 9)}


def test_line_without_vertices_gives_no_click():
    assert clicks_along(np.empty((0, 2)), FOREGROUND, 1) == []


def test_scribble_gets_no_more_clicks_than_its_extent_asks_for():
    x = np.linspace(0, 300, 400)
    scribble = np.column_stack((x, 100 * (np.arange(400) % 2)))
    assert len(clicks_along(scribble, FOREGROUND, 1)) == 3


STEPS = {
    "lone click, best": (([ON], None, None), [([(100, 200)], [1], None, None)]),
    "lone click, whole": (([ON], None, 2), [([(100, 200)], [1], None, 2)]),
    "clicks at once": (([BESIDE, ON], None, None), [([(10, 20), (100, 200)], [0, 1], None, None)]),
    "first click on the object chooses": (
        ([BESIDE, ON, ALSO_ON], None, 0),
        [([(100, 200)], [1], None, 0), ([(10, 20), (120, 210)], [0, 1], None, None)],
    ),
    "box": (([], BOX, None), [([], [], BOX.bounds_px, None)]),
    "box leaves no choice": (([BESIDE], BOX, 1), [([(10, 20)], [0], BOX.bounds_px, None)]),
}


@pytest.mark.parametrize(("given", "expected"), STEPS.values(), ids=STEPS.keys())
def test_steps_are_those_the_engine_reads(given, expected):
    steps = read_steps(decoder_steps(*given))
    found = [
        ([point[:2] for point in step.points], [point[2] for point in step.points], step.box, step.mask)
        for step in steps
    ]
    assert found == expected


def test_mask_goes_with_its_box_and_the_clicks_that_correct_it():
    steps = decoder_steps([ON, BESIDE], MASK, 1, first_polygon=3)
    everything = Outlines.concatenate([TWO_PARTS, TWO_PARTS, TWO_PARTS]).polygons_between(0, 5)
    (step,) = read_steps(steps, everything)
    assert [point[:2] for point in step.points] == [(100, 200), (10, 20)]
    assert step.box == MASK.bounds_px
    assert step.mask is None
    np.testing.assert_array_equal(step.mask_polygons.points_xy, TWO_PARTS.points_xy)
    assert len(step.mask_polygons) == 2


def test_box_brings_no_mask():
    (step,) = read_steps(decoder_steps([ON], BOX, None), TWO_PARTS)
    assert step.mask_polygons is None


@pytest.mark.parametrize("mask", MASK_CHOICES.values())
def test_choice_is_made_at_a_lone_click(mask):
    """The engine refuses a choice anywhere else."""
    for clicks, box in (([BESIDE, ON], None), ([ON], None), ([ON, BESIDE], BOX)):
        steps = read_steps(decoder_steps(clicks, box, mask))
        for count, step in enumerate(steps, start=1):
            assert step.mask is None or prompt_after(steps[:count]).is_lone_click


def test_object_with_background_clicks_alone_has_no_foreground():
    assert not ObjectPrompts(clicks=(BESIDE,)).has_foreground
    assert ObjectPrompts(clicks=(BESIDE, ON)).has_foreground
    assert ObjectPrompts(boxes=(BOX,)).has_foreground


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, 1), (0, 0), (1.0, 1), (True, 1), (False, 0), ("1", 1), (" 0 ", 0)]
    + [(value, None) for value in (2, -1, 0.5, "", "yes", "01", None, float("nan"), [1])],
)
def test_labels_of_all_field_types_are_read(value, label):
    assert read_label(value) == label

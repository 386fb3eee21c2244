# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts as text in a feature, and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geo_sam2.errors import PromptError
from geo_sam2.segmentation.object_state import MAX_PROMPTS, ObjectState, make_box, make_click
from geo_sam2.segmentation.prompt_text import read_prompts, write_prompts
from geo_sam2.segmentation.session import Session


def test_text_is_what_is_documented():
    session = Session()
    session.add_click(812.5, 96.25, 1)
    session.choose_mask(2)
    session.add_click(840, 120.5, 0)
    session.add_box(860.125, 80, 790, 140)
    text = write_prompts(session.state)
    assert text == (
        '{"version":1,"prompts":[{"foreground":[812.5,96.25]},{"background":[840.0,120.5]},'
        '{"box":[790.0,80.0,860.125,140.0]}],"mask":2}'
    )


def test_prompts_come_back_exactly_numbered_from_1():
    prompts = []
    places = np.random.default_rng(4).uniform(-1e5, 1e6, (4, 2))
    for prompt_id, (x, y) in zip((3, 9, 11, 12), places):
        prompts.append(make_click(x, y, 1, prompt_id))
        prompts.append(make_click(x + 1 / 3, y, 0, prompt_id + 100))
        prompts.append(make_box(x, y, x + 1e-3, y + 7.7, prompt_id + 200))
    state = ObjectState(tuple(prompts), 1)
    again = read_prompts(write_prompts(state))
    assert again == state.numbered(range(1, 100))
    assert write_prompts(again) == write_prompts(state)


def test_restored_prompts_make_the_same_request_with_ids_of_their_own():
    session = Session()
    session.add_click(1, 2, 1)
    session.add_click(3, 4, 1)
    saved = session.state
    other = Session()
    other.add_click(100, 100, 1)
    request = other.restore(read_prompts(write_prompts(saved)))
    assert write_prompts(request.state) == write_prompts(saved)
    newer = other.add_click(5, 6, 1).state
    assert len({prompt.source_id for prompt in newer.prompts}) == 3


ONE = {"foreground": [1.5, 2.5]}


def text_of(**values):
    return json.dumps({"version": 1, "prompts": [ONE], "mask": None, **values})


def test_text_may_lack_the_mask_and_bring_more_than_is_known():
    assert read_prompts('{"version":1,"prompts":[{"foreground":[1,2]}],"note":"x"}').mask is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "null",
        "[]",
        "{}",
        text_of()[:-4],
        text_of(version=2),
        text_of(version=True),
        text_of(version="1"),
        text_of(prompts=None),
        text_of(prompts={}),
        text_of(prompts=[]),
        text_of(prompts=["x"]),
        text_of(prompts=[{"background": [1, 2]}]),
        text_of(prompts=[{"foreground": [1]}]),
        text_of(prompts=[{"foreground": [1, 2, 3]}]),
        text_of(prompts=[{"foreground": [1, "2"]}]),
        text_of(prompts=[{"foreground": [1, True]}]),
        text_of(prompts=[{"foreground": [1, None]}]),
        text_of(prompts=[{"foreground": [1, float("nan")]}]),
        text_of(prompts=[{"foreground": [1, float("inf")]}]),
        text_of(prompts=[{"foreground": [1, 1e13]}]),
        text_of(prompts=[{"foreground": {"x": 1, "y": 2}}]),
        text_of(prompts=[{"foreground": [1, 2], "background": [1, 2]}]),
        text_of(prompts=[{"polygon": [1, 2]}]),
        text_of(prompts=[{"box": [1, 2]}]),
        text_of(prompts=[{"box": [1, 2, 1, 5]}]),
        text_of(mask=3),
        text_of(mask=-1),
        text_of(mask=1.0),
        text_of(mask=True),
        text_of(mask="whole"),
        text_of(prompts=[ONE] * (MAX_PROMPTS + 1)),
        "[" * 100_000,
        '{"version":1,"prompts":[{"foreground":[1' + "0" * 5000 + ",2]}]}",
        '{"version":1,"prompts":[{"foreground":[1' + "0" * 1000 + ",2]}]}",
        text_of() + " " * 2_000_000,
    ],
)
def test_text_that_cannot_be_read_is_said(text):
    with pytest.raises(PromptError) as caught:
        read_prompts(text)
    assert caught.value.text.endswith(".")
    assert len(caught.value.text) < 200


def test_most_prompts_that_are_possible_are_written_and_read():
    state = ObjectState(tuple(make_box(x, 1e6, 1e6 + 0.123, 2.125, x) for x in range(MAX_PROMPTS)))
    assert read_prompts(write_prompts(state)).prompts[-1].bounds_px == state.prompts[-1].bounds_px

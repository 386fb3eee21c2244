# SPDX-License-Identifier: GPL-3.0-or-later
"""An object from click to outline, by the session and the engine's process, on the demo model.

The same prompts must give the same outline however one came to them.
"""

from __future__ import annotations

import queue
import sys
from pathlib import Path

import numpy as np
import pytest

from geo_sam2.errors import GeoSam2Error
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.runtime.engine_command import engine_command
from geo_sam2.segmentation.grid_tiles import GridTiles
from geo_sam2.segmentation.interactive_decoder import InteractiveDecoder, TileDamagedError
from geo_sam2.segmentation.object_state import hovered
from geo_sam2.segmentation.object_steps import tile_steps
from geo_sam2.segmentation.prompt_text import read_prompts, write_prompts
from geo_sam2.segmentation.session import Session
from geo_sam2.segmentation.shape_options import ShapeOptions
from tests.engine.two_tiles import PONDS

PATIENCE_S = 300
SHAPE = ShapeOptions(largest_only=False)


class Asker:
    """Asks an engine of its own and waits."""

    def __init__(self, client, store, records):
        self.tiles = GridTiles(store.tiling, records)
        self.decoder = InteractiveDecoder(lambda: client, store, records)

    def __call__(self, state, shape=SHAPE, way="decode"):
        answers = queue.Queue()
        getattr(self.decoder, way)(tile_steps(state, self.tiles), shape, answers.put)
        answer = answers.get(timeout=PATIENCE_S)
        if isinstance(answer, GeoSam2Error):
            raise answer
        return answer


def start(pond_store, folder):
    client = EngineClient(engine_command(Path(sys.executable)), folder / "engine.log")
    return client, Asker(client, *pond_store)


@pytest.fixture(scope="module")
def ask(pond_store, tmp_path_factory):
    client, asker = start(pond_store, tmp_path_factory.mktemp("engine"))
    with client:
        yield asker


@pytest.fixture(scope="module")
def ask_another(pond_store, tmp_path_factory):
    """An engine that never remembers what the first one was asked."""
    client, asker = start(pond_store, tmp_path_factory.mktemp("another"))
    with client:
        yield asker


def assert_same(found, expected):
    """Fail unless two answers are equal to the last bit, scores and every vertex."""
    assert [part.window for part in found] == [part.window for part in expected]
    for part, twin in zip(found, expected):
        assert part.chosen == twin.chosen
        assert [one[:3] for one in part.candidates] == [one[:3] for one in twin.candidates]
        for one, other in zip(part.candidates, twin.candidates):
            for name, array in one.outlines.arrays().items():
                np.testing.assert_array_equal(array, other.outlines.arrays()[name])


def worked_on():
    """Return a session of an object in two tiles that was corrected, and has a mask chosen."""
    session = Session()
    x, y, _ = PONDS[3]
    session.add_click(x - 40.123, y + 7.7, 1)
    session.choose_mask(2)
    session.add_click(x + 55.5, y, 1)
    session.add_click(x - 90, y - 130, 0)
    session.add_box(x - 110, y - 110, x + 110, y + 110)
    session.add_click(x + 20, y + 150, 0)
    return session


@pytest.fixture(scope="module")
def expected(ask):
    answer = ask(worked_on().state)
    assert len(answer) == 2
    assert any(len(part.candidates[part.chosen].outlines) for part in answer)
    return answer


def test_undo_and_redo_give_the_same_outline(ask, expected):
    session = worked_on()
    for _ in range(4):
        session.undo()
        ask(session.state)
    for _ in range(4):
        session.redo()
    assert_same(ask(session.state), expected)


def test_prompt_dragged_there_and_back_gives_the_same_outline(ask, expected):
    session = worked_on()
    click, _, _, box, _ = session.state.prompts
    session.move(click.source_id, 300, 420)
    session.move(box.source_id, 700, 300)
    elsewhere = ask(session.state)
    assert elsewhere[0].candidates[0].predicted_iou != expected[0].candidates[0].predicted_iou
    session.move(click.source_id, click.x_px, click.y_px)
    session.move(box.source_id, (box.x_min_px + box.x_max_px) / 2, (box.y_min_px + box.y_max_px) / 2)
    assert_same(ask(session.state), expected)


def test_engine_that_knows_nothing_gives_the_same_outline(ask_another, expected):
    assert_same(ask_another(worked_on().state), expected)


def test_prompts_read_from_a_saved_feature_give_the_same_outline(ask_another, expected):
    session = Session()
    session.restore(read_prompts(write_prompts(worked_on().state)))
    shape = ShapeOptions.from_text(SHAPE.to_text())
    assert_same(ask_another(session.state, shape), expected)


def test_corrections_after_a_restore_go_on_as_if_never_saved(ask, ask_another):
    session, restored = worked_on(), Session()
    restored.restore(read_prompts(write_prompts(session.state)))
    for each in (session, restored):
        each.add_click(1060.25, 790, 1)
    assert_same(ask_another(restored.state), ask(session.state))


def test_click_on_a_pond_gives_its_outline(ask):
    x, y, radius = PONDS[2]
    (answer,) = ask(hovered(x, y))
    assert len(answer.candidates) == 3
    areas = [one.outlines.area_px2.sum() for one in answer.candidates]
    assert min(abs(area / (np.pi * radius**2) - 1) for area in areas) < 0.2


def test_preview_shows_what_a_click_there_gives(ask):
    x, y, _ = PONDS[0]
    for mask in (None, 0, 1, 2):
        state = hovered(x + 3.3333333, y, mask)
        session = Session()
        session.add_click(x + 3.3333333, y, 1)
        session.choose_mask(mask)
        (preview,) = ask(state, way="preview")
        (clicked,) = ask(session.state)
        shown, chosen = preview.candidates[preview.chosen], clicked.candidates[clicked.chosen]
        assert len(preview.candidates) == 1
        assert shown[:3] == chosen[:3]
        np.testing.assert_array_equal(shown.outlines.points_xy, chosen.outlines.points_xy)


def test_shape_changes_the_outline_and_back_again(ask, expected):
    state = worked_on().state
    changed = ask(state, ShapeOptions(threshold=1.5, simplify_px=3.0, largest_only=False), way="reshape")
    assert sum(len(part.candidates[0].outlines.points_xy) for part in changed) < sum(
        len(part.candidates[0].outlines.points_xy) for part in expected
    )
    assert_same(ask(state, way="reshape"), expected)


def test_damaged_tile_of_several_is_named(pond_store, tmp_path):
    store, records = pond_store
    client, asker = start(pond_store, tmp_path)
    damaged = list(records)[1]
    path = store.tile_path(records[damaged].file)
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1])
        with client, pytest.raises(TileDamagedError) as caught:
            asker(worked_on().state)
    finally:
        path.write_bytes(content)
    assert caught.value.record == records[damaged]
    assert caught.value.text.endswith(".")

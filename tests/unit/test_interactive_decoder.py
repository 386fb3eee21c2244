# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of clicks and previews to the engine: who waits for whom, and what comes back."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pytest
from gates import PATIENCE_S
from store_maker import MODEL, SOURCE

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.errors import (
    CancelledError,
    DamagedTileError,
    EngineDiedError,
    EngineError,
    EnvironmentMissingError,
    GeoSam2Error,
    PromptError,
    ProtocolError,
    StoreError,
)
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.runtime.engine_client import EngineState
from geo_sam2.runtime.engine_future import EngineFuture, EngineResult, Outcome
from geo_sam2.segmentation.grid_tiles import GridTiles
from geo_sam2.segmentation.interactive_decoder import InteractiveDecoder, TileDamagedError
from geo_sam2.segmentation.newest_wins import NewestWins
from geo_sam2.segmentation.object_state import ObjectState, hovered, make_box, make_click
from geo_sam2.segmentation.object_steps import tile_steps
from geo_sam2.segmentation.shape_options import ShapeOptions

TILING = Tiling(3000, 2000)
A, B, *_ = TILING
TILES = GridTiles(TILING, TILING)
SHAPE = ShapeOptions(threshold=0.5, min_area_px2=30)
# One polygon, as rings are sent.
SQUARE = np.array([(1, 1), (1, 3), (3, 3), (3, 1), (1, 1)], np.float64)


def record_of(window, state=TileState.DONE, generation=1):
    return TileRecord(window, state, window.file_name(generation), 100, 7, 0.5, "")


def plan_at(*clicks):
    prompts = tuple(make_click(x, 100, 1, number) for number, x in enumerate(clicks))
    return tile_steps(ObjectState(prompts), TILES)


IN_A, IN_BOTH = plan_at(100), plan_at(100, 1500)


def answer_of(*objects, polygons=None):
    """Return what the engine says: for each object (chosen, masks), a polygon for each mask."""
    count = sum(len(masks) for _, masks in objects) if polygons is None else polygons
    fields = [
        {
            "chosen": chosen,
            "best": chosen,
            "candidates": [
                {"mask": mask, "predicted_iou": 0.5 + mask / 10, "stability": 1, "polygons": 1}
                for mask in masks
            ],
        }
        for chosen, masks in objects
    ]
    rings = [SQUARE + number for number in range(count)]
    arrays = Outlines(
        np.concatenate([np.empty((0, 2)), *rings]),
        np.arange(count + 1, dtype=np.int32) * len(SQUARE),
        np.arange(count + 1, dtype=np.int32),
    ).arrays()
    return EngineResult(Outcome.DONE, {"objects": fields}, arrays)


LONE, SINGLE = (1, (0, 1, 2)), (0, (0,))


class FakeClient:
    """Holds what it is asked until the test answers."""

    def __init__(self):
        self.sent = queue.Queue()
        self.count = 0
        self.cancelled = []
        self.state = EngineState.READY
        self.refusal = None

    def request(self, fields):
        self.count += 1
        future = EngineFuture(self.count, self.cancelled.append)
        if self.refusal is not None:
            future.set_exception(self.refusal)
        else:
            self.sent.put((fields, future))
        return future

    def take(self):
        """Return the oldest request that is not answered."""
        return self.sent.get(timeout=PATIENCE_S)

    def answer(self, *objects):
        fields, future = self.take()
        future.set_result(answer_of(*objects))
        return fields

    def fail(self, error):
        self.take()[1].set_exception(error)


@pytest.fixture
def client():
    return FakeClient()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return FeatureStore.create(tmp_path_factory.mktemp("store") / "s.geosam2", MODEL, SOURCE)


@pytest.fixture
def decoder(client, store):
    return InteractiveDecoder(lambda: client, store, {window: record_of(window) for window in (A, B)})


@pytest.fixture
def heard():
    """A list of (name, answer); ``heard.to(name)`` is a callback."""

    class Heard(list):
        def to(self, name):
            return lambda answer: self.append((name, answer))

        @property
        def names(self):
            return [name for name, _ in self]

    return Heard()


# Messages and answers


def test_object_of_several_tiles_is_one_message(decoder, client, store, heard):
    decoder.decode(IN_BOTH, SHAPE, heard.to("object"))
    fields, _ = client.take()
    assert client.sent.empty()
    assert fields == {
        "type": "decode",
        "store": str(store.folder),
        "objects": [
            {
                "tile": {"window": window.to_json(), "file": window.file_name(1), "crc32": 7},
                "steps": [{"points": [[x, 100.0]], "labels": [1]}],
            }
            for window, x in ((A, 100.0), (B, 1500.0))
        ],
        "outline": SHAPE.outline_fields(is_joined=True),
        "all_candidates": True,
    }
    assert heard == []


def test_areas_are_the_engines_business_in_one_tile(decoder, client, heard):
    decoder.decode(IN_A, SHAPE, heard.to("object"))
    assert client.take()[0]["outline"]["min_area_px2"] == 30


def test_answers_come_by_tile_with_their_masks(decoder, client, heard):
    decoder.decode(IN_BOTH, SHAPE, heard.to("object"))
    client.answer(LONE, (0, (0,)))
    ((_, (first, second)),) = heard
    assert (first.window, second.window) == (A, B)
    assert [candidate.mask for candidate in first.candidates] == [0, 1, 2]
    assert first.chosen == 1
    assert first.candidates[2].predicted_iou == 0.7
    assert type(first.candidates[2].stability) is float
    assert [candidate.outlines.points_xy[0, 0] for candidate in first.candidates] == [1, 2, 3]
    assert second.candidates[0].outlines.points_xy[0, 0] == 4


def test_preview_brings_the_chosen_mask_alone(decoder, client, heard):
    decoder.preview(tile_steps(hovered(100, 100, 2), TILES), SHAPE, heard.to("hover"))
    fields = client.answer((2, (2,)))
    assert fields["preview"] is True
    assert fields["preview_group"]
    assert "all_candidates" not in fields
    assert fields["objects"][0]["steps"][0]["mask"] == 2
    ((_, (answer,)),) = heard
    assert answer.chosen == 0
    assert answer.candidates[0].mask == 2


def test_mask_without_an_outline_is_an_answer(decoder, client, heard):
    decoder.decode(IN_A, SHAPE, heard.to("object"))
    result = answer_of(SINGLE, polygons=0)
    result.fields["objects"][0]["candidates"][0]["polygons"] = 0
    client.take()[1].set_result(result)
    ((_, (answer,)),) = heard
    assert len(answer.candidates[0].outlines) == 0


def test_nothing_to_decode_is_answered_at_once(decoder, client, heard):
    nothing = tile_steps(ObjectState(), TILES)
    for way in (decoder.decode, decoder.preview, decoder.reshape):
        way(nothing, SHAPE, heard.to("nothing"))
        way(IN_A, SHAPE, heard.to("something"))
    assert [answer for name, answer in heard if name == "nothing"] == [()] * 3
    assert client.count == 3


BAD_ANSWERS = {
    "no objects": lambda result: result.fields.pop("objects"),
    "too few objects": lambda result: result.fields["objects"].clear(),
    "no record": lambda result: result.fields.update(objects=[7]),
    "no candidates": lambda result: result.fields["objects"][0].pop("candidates"),
    "chosen is not there": lambda result: result.fields["objects"][0].update(chosen=2),
    "no score": lambda result: result.fields["objects"][0]["candidates"][0].pop("predicted_iou"),
    "more polygons than sent": lambda result: result.fields["objects"][0]["candidates"][0].update(polygons=2),
    "fewer than none": lambda result: result.fields["objects"][0]["candidates"][0].update(polygons=-1),
    "no arrays": lambda result: result.arrays.clear(),
    "other arrays": lambda result: result.arrays.update(points_xy=np.zeros((3, 3))),
}


@pytest.mark.parametrize("spoil", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_answer_that_makes_no_sense_is_said(decoder, client, heard, spoil):
    decoder.decode(IN_A, SHAPE, heard.to("object"))
    result = answer_of(SINGLE)
    spoil(result)
    client.take()[1].set_result(result)
    ((_, error),) = heard
    assert isinstance(error, ProtocolError)
    assert error.__cause__ is not None


# Newest wins


def test_one_preview_is_on_its_way_and_the_newest_waits(decoder, client, heard):
    for name in "abcd":
        decoder.preview(IN_A, SHAPE, heard.to(name))
        assert client.count == 1
        assert decoder.queue_length == (name != "a")
    client.answer(LONE)
    assert heard.names == ["a"]
    assert client.count == 2
    assert decoder.queue_length == 0
    client.answer(LONE)
    assert heard.names == ["a", "d"]
    decoder.preview(IN_A, SHAPE, heard.to("e"))
    client.answer(LONE)
    assert heard.names == ["a", "d", "e"]


def test_next_preview_is_sent_before_the_last_answer_is_worked_on(decoder, client):
    counts = []
    decoder.preview(IN_A, SHAPE, lambda _: counts.append(client.count))
    decoder.preview(IN_A, SHAPE, lambda _: None)
    client.answer(LONE)
    assert counts == [2]


def test_clicks_neither_wait_for_previews_nor_are_replaced(decoder, client, heard):
    decoder.preview(IN_A, SHAPE, heard.to("hover"))
    decoder.preview(IN_A, SHAPE, heard.to("hover 2"))
    for name in ("click", "click 2", "click 3"):
        decoder.decode(IN_A, SHAPE, heard.to(name))
    decoder.preview(IN_A, SHAPE, heard.to("hover 3"))
    assert client.count == 4
    for _ in range(5):
        client.answer(LONE)
    assert heard.names == ["hover", "click", "click 2", "click 3", "hover 3"]


def test_changes_of_shape_replace_each_other_but_not_previews(decoder, client, heard):
    decoder.preview(IN_A, SHAPE, heard.to("hover"))
    for threshold in range(4):
        decoder.reshape(IN_A, ShapeOptions(threshold=threshold), heard.to(threshold))
    assert client.answer(LONE)["preview"] is True
    asked = [client.answer(LONE) for _ in range(2)]
    assert [fields["outline"]["threshold"] for fields in asked] == [0, 3]
    assert all(fields["all_candidates"] for fields in asked)
    assert heard.names == ["hover", 0, 3]


def test_forgotten_previews_do_not_come_back(decoder, client, heard):
    decoder.preview(IN_A, SHAPE, heard.to("a"))
    decoder.preview(IN_A, SHAPE, heard.to("b"))
    decoder.decode(IN_A, SHAPE, heard.to("click"))
    decoder.forget_previews()
    decoder.preview(IN_A, SHAPE, heard.to("c"))
    for _ in range(3):
        client.answer(LONE)
    assert heard.names == ["click", "c"]


def test_preview_that_the_engine_dropped_for_a_newer_one_is_not_answered(decoder, client, heard):
    decoder.preview(IN_A, SHAPE, heard.to("a"))
    decoder.preview(IN_A, SHAPE, heard.to("b"))
    client.take()[1].set_result(EngineResult(Outcome.SUPERSEDED))
    client.answer(LONE)
    assert heard.names == ["b"]


def test_many_hands_leave_at_most_one_on_its_way_and_the_last_is_answered(decoder, client):
    answered, most = queue.Queue(), []
    ends = threading.Event()

    def serve():
        while not ends.is_set() or not client.sent.empty():
            try:
                fields, future = client.sent.get(timeout=0.01)
            except queue.Empty:
                continue
            most.append(client.sent.qsize())
            future.set_result(answer_of(LONE))

    server = threading.Thread(target=serve)
    server.start()
    hands = [
        threading.Thread(target=lambda: [decoder.preview(IN_A, SHAPE, lambda _: None) for _ in range(300)])
        for _ in range(4)
    ]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    decoder.preview(IN_A, SHAPE, answered.put)
    assert len(answered.get(timeout=PATIENCE_S)) == 1
    ends.set()
    server.join()
    assert max(most) == 0


def test_callback_that_raises_does_not_stop_the_lane(decoder, client, heard):
    def broken(_):
        raise RuntimeError("a fault of the caller's")

    decoder.preview(IN_A, SHAPE, broken)
    decoder.preview(IN_A, SHAPE, heard.to("b"))
    client.answer(LONE)
    client.answer(LONE)
    nothing = tile_steps(ObjectState(), TILES)
    with pytest.raises(RuntimeError):
        decoder.preview(nothing, SHAPE, broken)
    decoder.preview(IN_A, SHAPE, heard.to("c"))
    client.answer(LONE)
    assert heard.names == ["b", "c"]


def test_job_that_ends_and_then_raises_lets_only_one_follow():
    lane, started = NewestWins(), []

    def faulty(finish):
        lane.offer(lambda _: started.append("next"))
        finish()
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError):
        lane.offer(faulty)
    lane.offer(lambda _: started.append("waits"))
    assert started == ["next"]
    assert lane.waiting == 1


# What goes wrong


def test_damaged_tile_is_named(decoder, client, heard):
    decoder.decode(IN_A, SHAPE, heard.to("object"))
    client.fail(DamagedTileError("The tile is damaged.", "Encode it again."))
    ((_, error),) = heard
    assert isinstance(error, TileDamagedError)
    assert error.record == record_of(A)
    assert (error.text, error.hint) == ("The tile is damaged.", "Encode it again.")


def test_damaged_tile_of_several_is_found_by_its_file(decoder, client, heard):
    decoder.decode(IN_BOTH, SHAPE, heard.to("object"))
    error = DamagedTileError("The tile is damaged.")
    error.file = B.file_name(1)
    client.fail(error)
    ((_, error),) = heard
    assert error.record == record_of(B)


def test_damaged_tile_of_several_without_a_name_is_still_told(decoder, client, heard):
    decoder.decode(IN_BOTH, SHAPE, heard.to("object"))
    client.fail(DamagedTileError("The tile is damaged."))
    ((_, error),) = heard
    assert type(error) is DamagedTileError


def test_waiting_preview_goes_on_after_a_damaged_tile(decoder, client, heard):
    decoder.preview(IN_A, SHAPE, heard.to("a"))
    decoder.preview(plan_at(1500), SHAPE, heard.to("b"))
    client.fail(DamagedTileError("The tile is damaged."))
    client.answer(LONE)
    assert heard.names == ["a", "b"]


@pytest.mark.parametrize("error", [EngineDiedError("It died."), CancelledError("It was stopped.")])
def test_previews_stop_with_the_engine_and_start_with_the_next_move(decoder, client, heard, error):
    decoder.preview(IN_A, SHAPE, heard.to("a"))
    decoder.preview(IN_A, SHAPE, heard.to("b"))
    client.fail(error)
    assert client.sent.empty()
    decoder.preview(IN_A, SHAPE, heard.to("c"))
    client.answer(LONE)
    assert heard.names == ["a", "c"]
    assert heard[0][1] is error


def test_newest_change_of_shape_is_answered_though_the_engine_died(decoder, client, heard):
    decoder.reshape(IN_A, SHAPE, heard.to("a"))
    decoder.reshape(IN_A, SHAPE, heard.to("b"))
    client.fail(EngineDiedError("It died."))
    client.answer(LONE)
    assert heard.names == ["a", "b"]


def test_clicks_on_their_way_all_fail_with_the_engine(decoder, client, heard):
    for name in "ab":
        decoder.decode(IN_A, SHAPE, heard.to(name))
    for _ in range(2):
        client.fail(EngineDiedError("It died."))
    assert [type(answer) for _, answer in heard] == [EngineDiedError] * 2


def test_engine_that_refuses_at_once_is_an_answer(decoder, client, heard):
    client.refusal = EngineError("The engine was closed.")
    for way in (decoder.decode, decoder.preview, decoder.reshape, decoder.preview):
        way(IN_A, SHAPE, heard.to("refused"))
    assert [answer for _, answer in heard] == [client.refusal] * 4


def test_stopped_engine_is_told_as_cancelled(decoder, client, heard):
    decoder.decode(IN_A, SHAPE, heard.to("object"))
    client.take()[1].set_result(EngineResult(Outcome.CANCELLED))
    ((_, error),) = heard
    assert isinstance(error, CancelledError)


def test_what_is_no_error_of_ours_becomes_one(decoder, client, heard):
    decoder.decode(IN_A, SHAPE, heard.to("object"))
    client.fail(RuntimeError("a fault"))
    ((_, error),) = heard
    assert isinstance(error, EngineError)
    assert "a fault" in error.text


def test_engine_that_is_not_installed_is_an_answer(store, client, heard):
    missing = EnvironmentMissingError("There is none.")

    def find():
        if missing is None:
            return client
        raise missing

    decoder = InteractiveDecoder(find, store, {A: record_of(A)})
    for way in (decoder.decode, decoder.preview, decoder.reshape):
        way(IN_A, SHAPE, heard.to("object"))
    assert [answer for _, answer in heard] == [missing] * 3
    missing = None
    decoder.preview(IN_A, SHAPE, heard.to("hover"))
    client.answer(LONE)
    assert heard.names[-1] == "hover"


def test_tile_that_is_not_done_is_not_asked_for(decoder, client, heard):
    decoder.update_records([record_of(B, TileState.FAILED)])
    decoder.decode(IN_BOTH, SHAPE, heard.to("object"))
    ((_, error),) = heard
    assert isinstance(error, StoreError)
    assert client.sent.empty()
    decoder.update_records([record_of(B, generation=2)])
    decoder.decode(IN_BOTH, SHAPE, heard.to("object"))
    assert client.take()[0]["objects"][1]["tile"]["file"] == B.file_name(2)


def test_message_that_cannot_travel_is_an_answer(decoder, client, heard, monkeypatch):
    def refuse(_):
        raise ProtocolError("It is too long.")

    monkeypatch.setattr(client, "request", refuse)
    decoder.preview(IN_A, SHAPE, heard.to("hover"))
    ((_, error),) = heard
    assert isinstance(error, GeoSam2Error)


# The end


def test_closing_cancels_what_is_on_its_way_and_drops_what_waits(decoder, client, store, heard):
    for name in ("hover", "hover 2"):
        decoder.preview(IN_A, SHAPE, heard.to(name))
    for name in ("shape", "shape 2"):
        decoder.reshape(IN_A, SHAPE, heard.to(name))
    decoder.decode(IN_A, SHAPE, heard.to("click"))
    decoder.decode(IN_A, SHAPE, heard.to("done"))
    futures = [client.take()[1] for _ in range(4)]
    futures[-1].set_result(answer_of(LONE))
    decoder.close()
    assert sorted(client.cancelled) == [future.request_id for future in futures[:-1]]
    fields, _ = client.take()
    assert fields == {"type": "close_store", "store": str(store.folder)}
    for future in futures[:-1]:
        future.set_result(EngineResult(Outcome.CANCELLED))
    assert heard.names == ["done", "shape", "click"]
    assert client.sent.empty()


@pytest.mark.parametrize("state", [EngineState.STOPPED, EngineState.FAILED, EngineState.STARTING])
def test_closing_starts_no_engine(decoder, client, heard, state):
    decoder.decode(IN_A, SHAPE, heard.to("click"))
    client.answer(LONE)
    client.state = state
    decoder.close()
    assert client.sent.empty()


def test_closing_what_was_never_used_asks_nothing(decoder, client):
    decoder.close()
    assert client.count == 0


def test_prompt_that_the_engine_refuses_is_told(decoder, client, heard):
    decoder.decode(tile_steps(ObjectState((make_box(1, 1, 9, 9, 1),)), TILES), SHAPE, heard.to("box"))
    refusal = PromptError("No.")
    client.fail(refusal)
    assert heard == [("box", refusal)]

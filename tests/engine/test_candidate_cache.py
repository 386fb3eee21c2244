# SPDX-License-Identifier: GPL-3.0-or-later
"""What was decoded is outlined anew without decoding, comes out the same, and takes bounded memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from geo_sam2.engine import decode_objects
from geo_sam2.engine.candidate_cache import KEPT_BYTES, PASSING_BYTES, CandidateCache
from geo_sam2.engine.mask_choice import Candidates
from geo_sam2.engine.mask_decoder import MaskDecoder
from geo_sam2.engine.operations import Engine
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.prompt_steps import read_steps
from geo_sam2.engine.protocol import Message
from geo_sam2.errors import DamagedTileError, PromptError
from tests.engine.two_tiles import PONDS

X, Y, _ = PONDS[0]
CLICK = {"points": [[X, Y]], "labels": [1]}
BESIDE = {"points": [[X + 300.0, Y + 200.0]], "labels": [0]}
BOX = {"box": [X - 130.0, Y - 130.0, X + 130.0, Y + 130.0]}
# Bytes of three masks, and of one, each with its predicted IoU.
THREE, ONE = 3 * (256 * 256 * 4 + 4), 256 * 256 * 4 + 4


class Context:
    def serve_waiting(self):
        pass

    def progress(self, done, total, text=""):
        pass


@pytest.fixture
def passes(monkeypatch):
    """A list that gets the number of points of each pass of the decoder, over all engines."""
    counted = []
    original = MaskDecoder.decode

    def counting(self, tile, coords, *rest):
        counted.append(coords.shape[1])
        return original(self, tile, coords, *rest)

    monkeypatch.setattr(MaskDecoder, "decode", counting)
    return counted


@pytest.fixture
def cache_of(monkeypatch):
    """Return a function that makes an engine and its cache with other bounds."""

    def make(kept_bytes=KEPT_BYTES, passing_bytes=PASSING_BYTES):
        cache = CandidateCache(kept_bytes, passing_bytes)
        monkeypatch.setattr(decode_objects, "CandidateCache", lambda: cache)
        return Engine(), cache

    return make


@pytest.fixture
def ask(pond_store):
    """Return a function that asks an engine for some steps: (objects, outlines)."""
    store, records = pond_store
    window, record = next(iter(records.items()))
    tile = {"window": window.to_json(), "file": record.file, "crc32": record.crc32}

    def ask(engine, *steps, batch=False, **fields):
        objects = [{"tile": tile, "steps": list(steps)}]
        message = Message({"store": str(store.folder), "objects": objects, **fields})
        answer = (engine.decode_batch if batch else engine.decode)(message, Context())
        return answer.fields["objects"], Outlines.from_arrays(**answer.arrays)

    return ask


def assert_same(found, expected):
    assert found[0] == expected[0]
    for name, array in expected[1].arrays().items():
        np.testing.assert_array_equal(found[1].arrays()[name], array)


SHAPES = [
    {"threshold": 1.0},
    {"threshold": -1.0},
    {"style": "pixel"},
    {"simplify_px": 2.0},
    {"min_area_px2": 500.0},
    {"max_hole_px2": 1e9},
    {"largest_only": True},
    {"threshold": 0.3, "simplify_px": 1.0, "min_area_px2": 50.0, "max_hole_px2": 50.0, "largest_only": True},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("steps", [[CLICK], [CLICK, BESIDE, BOX]], ids=["lone click", "three steps"])
def test_another_shape_is_not_decoded_and_is_what_a_decode_gives(ask, passes, steps, shape):
    engine = Engine()
    ask(engine, *steps)
    assert len(passes) == len(steps)
    found = ask(engine, *steps, outline=shape, all_candidates=True)
    assert len(passes) == len(steps)
    assert_same(found, ask(Engine(), *steps, outline=shape, all_candidates=True))
    assert len(passes) == 2 * len(steps)


def test_shape_changes_there_and_back_give_the_same_outline(ask):
    engine = Engine()
    expected = ask(engine, CLICK, BESIDE)
    for shape in SHAPES:
        ask(engine, CLICK, BESIDE, outline=shape)
    assert_same(ask(engine, CLICK, BESIDE), expected)


def test_stepping_through_the_masks_decodes_nothing(ask, passes):
    engine = Engine()
    ask(engine, CLICK, all_candidates=True)
    for mask in (0, 1, 2, None):
        found = ask(engine, {**CLICK, "mask": mask}, all_candidates=True)
        assert passes == [1]
        assert_same(found, ask(Engine(), {**CLICK, "mask": mask}, all_candidates=True))
        passes.pop()


def test_correction_goes_on_with_the_mask_that_was_stepped_to(ask, passes):
    engine = Engine()
    answers = []
    for mask in (0, 1, 2):
        ask(engine, {**CLICK, "mask": mask})
        answers.append(ask(engine, {**CLICK, "mask": mask}, BESIDE))
    assert passes == [1, 2, 2, 2]
    for mask, found in enumerate(answers):
        assert_same(found, ask(Engine(), {**CLICK, "mask": mask}, BESIDE))
    scores = {answer[0][0]["candidates"][0]["predicted_iou"] for answer in answers}
    assert len(scores) == 3


def test_mask_that_is_not_there_is_refused_when_it_is_remembered_too(ask):
    engine = Engine()
    ask(engine, CLICK, BOX)
    for steps in ([CLICK, {**BOX, "mask": 1}], [CLICK, {**BOX, "mask": 2}, BESIDE]):
        with pytest.raises(PromptError, match="mask"):
            ask(engine, *steps)


def test_previous_mask_left_out_is_another_step(ask, passes):
    engine = Engine()
    ask(engine, CLICK, BESIDE)
    found = ask(engine, CLICK, {**BESIDE, "use_previous": False})
    assert passes == [1, 2, 2]
    assert_same(found, ask(Engine(), CLICK, {**BESIDE, "use_previous": False}))


def test_click_on_the_last_preview_is_not_decoded(ask, passes):
    engine = Engine()
    for dx in (-3, -2, -1, 0):
        ask(engine, {"points": [[X + dx, Y]], "labels": [1]}, preview=True)
    found = ask(engine, CLICK, all_candidates=True)
    assert passes == [1] * 4
    assert_same(found, ask(Engine(), CLICK, all_candidates=True))


@pytest.mark.parametrize("passing", [{"preview": True}, {"batch": True}], ids=["previews", "a batch"])
def test_steps_of_a_click_outlive_what_passes(ask, passes, cache_of, passing):
    engine, cache = cache_of(kept_bytes=THREE + ONE, passing_bytes=2 * THREE)
    ask(engine, CLICK, preview=True)
    expected = ask(engine, CLICK, BESIDE)
    for dx in range(8):
        ask(engine, {"points": [[X + dx + 1, Y]], "labels": [1]}, **passing)
        assert cache.nbytes <= 3 * THREE + ONE
    del passes[:]
    assert_same(ask(engine, CLICK, BESIDE), expected)
    ask(engine, CLICK)
    assert passes == []


def test_preview_of_the_next_click_uses_the_steps_before_it(ask, passes):
    engine = Engine()
    ask(engine, CLICK, BOX)
    ask(engine, CLICK, BOX, BESIDE, preview=True)
    ask(engine, CLICK, BOX, BESIDE)
    assert passes == [1, 3, 4]


@pytest.mark.parametrize("kept_bytes", [0, ONE, THREE, 5 * ONE])
def test_memory_is_bounded_and_what_was_forgotten_comes_out_the_same(ask, cache_of, kept_bytes):
    engine, cache = cache_of(kept_bytes, passing_bytes=0)
    steps = [CLICK]
    for dx in range(6):
        steps.append({"points": [[X + 20.0 * dx, Y + 150.0]], "labels": [dx % 2]})
        ask(engine, *steps)
        # The newest stays even where it alone is too large.
        assert cache.nbytes <= max(kept_bytes, THREE)
    for count in (1, 4, 7):
        assert_same(ask(engine, *steps[:count]), ask(Engine(), *steps[:count]))


def test_entries_hold_no_more_memory_than_they_count():
    batch = torch.zeros(100, 4, 256, 256)
    cache = CandidateCache()
    steps = read_steps([CLICK])
    found = Candidates(batch[7, 1:], torch.zeros(100, 4)[7, 1:])
    kept = cache.put("tile", steps, found, False)
    assert kept.logits.untyped_storage().nbytes() + kept.predicted_iou.untyped_storage().nbytes() == THREE
    assert cache.nbytes == THREE
    assert cache.get("tile", steps, True) is kept
    assert cache.get("another", steps, False) is None


def test_tile_that_was_encoded_again_is_decoded_again(ask, pond_store, passes):
    engine = Engine()
    store, records = pond_store
    ask(engine, CLICK)
    record = next(iter(records.values()))
    path = store.tile_path(record.file)
    twin = path.with_name(path.name.replace(".1.", ".2."))
    twin.write_bytes(path.read_bytes())
    try:
        tile = {"window": record.window.to_json(), "file": record.window.file_name(2), "crc32": record.crc32}
        objects = [{"tile": tile, "steps": [CLICK]}]
        message = Message({"store": str(store.folder), "objects": objects})
        answer = engine.decode(message, Context())
        assert passes == [1, 1]
        message.fields["objects"][0]["tile"]["crc32"] += 1
        with pytest.raises(DamagedTileError) as caught:
            engine.decode(copy.deepcopy(message), Context())
    finally:
        twin.unlink()
    assert answer.fields["objects"] == ask(Engine(), CLICK)[0]
    assert caught.value.file == record.window.file_name(2)

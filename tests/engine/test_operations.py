# SPDX-License-Identifier: GPL-3.0-or-later
"""The handlers behind the messages, asked as the server asks them."""

from __future__ import annotations

import copy
import math
import shutil

import numpy as np
import pytest
import torch

from geo_sam2.engine import decode_objects
from geo_sam2.engine.mask_decoder import Features, MaskDecoder
from geo_sam2.engine.operations import Engine
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.protocol import Message
from geo_sam2.engine.tile_io import write_decoder, write_tile
from geo_sam2.errors import (
    CancelledError,
    CheckpointError,
    DamagedTileError,
    DeviceError,
    GeoSam2Error,
    OutlineOptionsError,
    PromptError,
    ProtocolError,
    StoreError,
    WindowError,
)
from geo_sam2.feature_store import FeatureStore
from geo_sam2.model_info import ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow

WINDOW = TileWindow(0, 2048, 1024, 1024, 1024)
SOURCE = SourceInfo.of_pixels(16384, 16384)
CLICK = {"points": [[2500.5, 1600.25]], "labels": [1]}
SECOND = {"points": [[2300.0, 1300.0]], "labels": [0]}
BOX = {"box": [2200.0, 1100.0, 2900.5, 1900.0]}


class Context:
    """Stands in for the server's; counts how often a handler asks whether to go on."""

    id = 1

    def __init__(self, cancel_at: int = 0):
        self.served, self.reports, self.cancel_at = 0, [], cancel_at

    def serve_waiting(self):
        self.served += 1
        if self.served == self.cancel_at:
            raise CancelledError("Cancelled.")

    check_cancelled = serve_waiting

    def progress(self, done, total, text=""):
        self.reports.append((done, total))


@pytest.fixture(scope="module")
def store(tiny_model, tmp_path_factory):
    """Return a store with one tile of smooth random features, and the tile's record."""
    store = FeatureStore.create(tmp_path_factory.mktemp("store") / "s.geosam2", tiny_model.info, SOURCE)
    write_decoder(store, tiny_model.decoder_tensors())
    generator = torch.Generator().manual_seed(11)
    coarse = (torch.randn((1, size, 8, 8), generator=generator) for size in (256, 32, 64))
    features = Features(
        *(
            torch.nn.functional.interpolate(part, (side, side), mode="bicubic")[0]
            for part, side in zip(coarse, (64, 256, 128))
        )
    )
    return store, write_tile(store, WINDOW, 1, features)


@pytest.fixture(scope="module")
def engine():
    return Engine()


def request(store, *steps, **fields):
    """Return a decode message for one object."""
    store, record = store
    tile = {"window": WINDOW.to_json(), "file": record.file, "crc32": record.crc32}
    objects = [{"tile": tile, "steps": list(steps)}]
    return Message({"store": str(store.folder), "objects": objects, **fields})


def decode(engine, message):
    """Return the answer's objects and its outlines."""
    answer = engine.decode(message, Context())
    return answer.fields["objects"], Outlines.from_arrays(**answer.arrays)


def test_click_is_answered_with_the_best_of_three(engine, store):
    (answer,), outlines = decode(engine, request(store, CLICK))
    (candidate,) = answer["candidates"]
    assert answer["chosen"] == answer["best"] == candidate["mask"]
    assert candidate["polygons"] == len(outlines) > 0
    assert 0 <= candidate["predicted_iou"] <= 1
    assert 0 <= candidate["stability"] <= 1
    low, high = outlines.points_xy.min(axis=0), outlines.points_xy.max(axis=0)
    assert (low >= (2048, 1024)).all()
    assert (high <= (2048 + 1024, 1024 + 1024)).all()


def test_all_candidates_come_one_after_the_other(engine, store):
    (answer,), outlines = decode(engine, request(store, CLICK, all_candidates=True))
    assert [candidate["mask"] for candidate in answer["candidates"]] == [0, 1, 2]
    assert sum(candidate["polygons"] for candidate in answer["candidates"]) == len(outlines)
    scores = [candidate["predicted_iou"] for candidate in answer["candidates"]]
    assert answer["best"] == scores.index(max(scores))


def test_chosen_mask_is_the_one_that_comes(engine, store):
    (whole,), outlines = decode(engine, request(store, CLICK, all_candidates=True))
    counts = [candidate["polygons"] for candidate in whole["candidates"]]
    for mask in range(3):
        (answer,), only = decode(engine, request(store, {**CLICK, "mask": mask}))
        assert answer["chosen"] == mask
        assert len(only) == counts[mask]
    assert sum(counts) == len(outlines)


def test_mask_that_is_not_there_is_refused(engine, store):
    with pytest.raises(PromptError, match="mask 1"):
        decode(engine, request(store, {**BOX, "mask": 1}))


@pytest.mark.parametrize("steps", [[CLICK, SECOND], [BOX, CLICK, SECOND], [{**CLICK, "mask": 2}, SECOND]])
def test_replay_gives_what_the_session_gave(store, steps):
    session, replay = Engine(), Engine()
    for count in range(1, len(steps) + 1):
        last, outlines = decode(session, request(store, *steps[:count]))
    again, same = decode(replay, request(store, *steps))
    assert again == last
    np.testing.assert_array_equal(same.points_xy, outlines.points_xy)


def test_what_was_decoded_is_not_decoded_again(store, monkeypatch):
    passes = []
    original = MaskDecoder.decode
    monkeypatch.setattr(
        MaskDecoder, "decode", lambda self, *args: (passes.append(args[1].shape[1]), original(self, *args))[1]
    )
    engine = Engine()
    decode(engine, request(store, CLICK))
    decode(engine, request(store, CLICK, SECOND))
    decode(engine, request(store, CLICK, SECOND, BOX))
    assert passes == [1, 2, 4]


def test_previous_mask_matters_unless_it_is_left_out(engine, store):
    with_mask, _ = decode(engine, request(store, CLICK, SECOND))
    without, _ = decode(engine, request(store, CLICK, {**SECOND, "use_previous": False}))
    together = {"points": CLICK["points"] + SECOND["points"], "labels": [1, 0]}
    at_once, _ = decode(engine, request(store, together))
    assert without == at_once
    assert with_mask != without


def test_choice_at_a_step_changes_the_next(engine, store):
    answers = [decode(engine, request(store, {**CLICK, "mask": mask}, SECOND))[0] for mask in range(3)]
    assert answers[0] != answers[1]
    assert answers[1] != answers[2]


def test_objects_get_the_same_answers_alone_and_together(engine, store):
    singles = [request(store, {"points": [[2100.0 + 60 * i, 1500.0]], "labels": [1]}) for i in range(5)]
    together = copy.deepcopy(singles[0])
    together.fields["objects"] = [single.fields["objects"][0] for single in singles]
    context = Context()
    answer = Engine().decode(together, context)
    alone = [decode(engine, single) for single in singles]
    assert answer.fields["objects"] == [objects[0] for objects, _ in alone]
    np.testing.assert_array_equal(
        answer.arrays["points_xy"], np.concatenate([outlines.points_xy for _, outlines in alone])
    )
    assert context.reports[-1] == (5, 5)


def test_batches_of_other_devices_give_the_same_answers(store, monkeypatch):
    """On a pretended GPU, prompts of one tile and length share a pass."""
    clicks = [{"points": [[2100.0 + 60 * i, 1500.0]], "labels": [1]} for i in range(5)]
    items = [[click] for click in clicks] + [[BOX], [CLICK, SECOND]]
    message = request(store)
    tile = message.fields["objects"][0]["tile"]
    message.fields["objects"] = [{"tile": tile, "steps": steps} for steps in items]
    expected = Engine().decode(message, Context()).fields["objects"]

    batches = []
    original = decode_objects.ObjectDecoder._decode_batch

    def pretend(self, batch, is_passing):
        batches.append(len(batch))
        return original(self, batch, is_passing)

    class Gpu:
        type = "cuda"

    def grouped(self, objects):
        device, self._decoder.device = self._decoder.device, Gpu()
        groups = list(batches_of(self, objects))
        self._decoder.device = device
        return groups

    batches_of = decode_objects.ObjectDecoder._batches
    monkeypatch.setattr(decode_objects.ObjectDecoder, "_batches", grouped)
    monkeypatch.setattr(decode_objects.ObjectDecoder, "_decode_batch", pretend)
    found = Engine().decode(message, Context()).fields["objects"]
    assert batches == [5, 1, 1]
    for answer, reference in zip(found, expected):
        assert answer["best"] == reference["best"]
        for candidate, twin in zip(answer["candidates"], reference["candidates"]):
            assert candidate["predicted_iou"] == pytest.approx(twin["predicted_iou"], abs=1e-4)


def test_decoding_is_left_between_objects(engine, store):
    message = request(store, CLICK)
    message.fields["objects"] *= 5
    with pytest.raises(CancelledError):
        engine.decode(message, Context(cancel_at=3))


def test_tile_on_a_coarser_level_lands_on_its_ground(tiny_model, tmp_path):
    store = FeatureStore.create(tmp_path / "s.geosam2", tiny_model.info, SOURCE)
    write_decoder(store, tiny_model.decoder_tensors())
    generator = torch.Generator().manual_seed(11)
    shapes = tiny_model.info.feature_shapes.to_json().values()
    features = Features(*(torch.randn(shape, generator=generator) for shape in shapes))
    answers = []
    for window in (TileWindow(0, 0, 0, 1024, 1024), TileWindow(2, 4096, 8192, 1024, 1024)):
        record = write_tile(store, window, 1, features)
        point = [300.0 * window.pixel_size + window.xoff, 700.0 * window.pixel_size + window.yoff]
        tile = {"window": window.to_json(), "file": record.file}
        message = Message(
            {
                "store": str(store.folder),
                "objects": [{"tile": tile, "steps": [{"points": [point], "labels": [1]}]}],
            }
        )
        answers.append(decode(Engine(), message))
    (first, fine), (second, coarse) = answers
    assert first == second
    np.testing.assert_allclose(coarse.points_xy, fine.points_xy * 4 + (4096, 8192))


BAD_STEPS = {
    "no step": ([], PromptError),
    "empty step": ([{}], PromptError),
    "outside the window": ([{"points": [[2047.9, 1600.0]], "labels": [1]}], PromptError),
    "box outside the window": ([{"box": [2000, 1100, 2500, 1500]}], PromptError),
    "not a number": ([{"points": [[math.nan, 1600.0]], "labels": [1]}], PromptError),
    "text": ([{"points": [["2500", 1600.0]], "labels": [1]}], PromptError),
    "three coordinates": ([{"points": [[2500, 1600, 0]], "labels": [1]}], PromptError),
    "label 2": ([{"points": [[2500, 1600]], "labels": [2]}], PromptError),
    "label -1": ([{"points": [[2500, 1600]], "labels": [-1]}], PromptError),
    "label true": ([{"points": [[2500, 1600]], "labels": [True]}], PromptError),
    "label missing": ([{"points": [[2500, 1600]], "labels": []}], PromptError),
    "empty box": ([{"box": [2500, 1500, 2500, 1600]}], PromptError),
    "box upside down": ([{"box": [2500, 1600, 2600, 1500]}], PromptError),
    "unknown field": ([{**CLICK, "polygon": []}], PromptError),
    "mask 3": ([{**CLICK, "mask": 3}], PromptError),
    "not a record": (["click"], PromptError),
    "too many steps": ([CLICK] * 1001, PromptError),
}


@pytest.mark.parametrize(("steps", "error"), BAD_STEPS.values(), ids=BAD_STEPS.keys())
def test_bad_prompt_gets_its_sentence(engine, store, steps, error):
    with pytest.raises(error) as caught:
        decode(engine, request(store, *steps))
    assert caught.value.text.endswith(".")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda fields: fields.update(store="relative/s.geosam2"), ProtocolError),
        (lambda fields: fields.update(store="/nowhere/s.geosam2"), StoreError),
        (lambda fields: fields.update(device="cuda:99"), DeviceError),
        (lambda fields: fields.update(objects=[]), ProtocolError),
        (lambda fields: fields.update(objects=[7]), ProtocolError),
        (lambda fields: fields.update(outline={"colour": "red"}), OutlineOptionsError),
        (lambda fields: fields.update(outline={"simplify_px": -1}), OutlineOptionsError),
        (lambda fields: fields["objects"][0]["tile"].update(file="../manifest.json"), StoreError),
        (lambda fields: fields["objects"][0]["tile"].update(crc32="x"), ProtocolError),
        (lambda fields: fields["objects"][0]["tile"].update(crc32=1), DamagedTileError),
        (lambda fields: fields["objects"][0]["tile"]["window"].update(width=0), WindowError),
        (lambda fields: fields["objects"][0]["tile"]["window"].update(xoff=2049), DamagedTileError),
    ],
)
def test_bad_request_gets_its_sentence(store, change, error):
    message = copy.deepcopy(request(store, CLICK))
    change(message.fields)
    with pytest.raises(error):
        decode(Engine(), message)


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a bit flipped": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"\x01" + path.read_bytes()[-8:]),
    "header length absurd": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_tile_is_never_decoded(store, tmp_path, damage):
    folder = tmp_path / "s.geosam2"
    shutil.copytree(store[0].folder, folder)
    damage(folder / store[1].file)
    with pytest.raises(DamagedTileError):
        decode(Engine(), request((FeatureStore.open(folder), store[1]), CLICK))


def test_tile_of_another_store_is_never_decoded(store, tiny_model, tmp_path):
    other = FeatureStore.create(tmp_path / "other.geosam2", tiny_model.info, SOURCE)
    write_decoder(other, tiny_model.decoder_tensors())
    (other.folder / "tiles" / "0").mkdir()
    shutil.copy(store[0].folder / store[1].file, other.folder / store[1].file)
    with pytest.raises(DamagedTileError, match="another store"):
        decode(Engine(), request((other, store[1]), CLICK))


@pytest.mark.parametrize("content", [None, b"", b"x" * 100])
def test_missing_decoder_file_is_said(store, tmp_path, content):
    folder = tmp_path / "s.geosam2"
    shutil.copytree(store[0].folder, folder)
    (folder / "decoder.safetensors").unlink()
    if content is not None:
        (folder / "decoder.safetensors").write_bytes(content)
    with pytest.raises(StoreError, match="decoder file"):
        decode(Engine(), request((FeatureStore.open(folder), store[1]), CLICK))


@pytest.fixture(scope="module")
def model_fields(random_checkpoint):
    return {"checkpoint": str(random_checkpoint("tiny")), "device": "cpu", "precision": "fp32"}


def test_encoded_window_can_be_decoded(engine, model_fields, tmp_path):
    loaded = engine.load_model(Message({"model": model_fields}), Context()).fields
    assert loaded["precision"] == "fp32"
    store = FeatureStore.create(tmp_path / "s.geosam2", ModelInfo.from_json(loaded["model_info"]), SOURCE)
    place = {"store": str(store.folder), "model": model_fields}
    engine.write_decoder(Message(place), Context())
    window = TileWindow(0, 0, 0, 700, 900)
    image = np.random.default_rng(1).integers(0, 256, (900, 700, 3), dtype=np.uint8)
    tiles = [{"window": window.to_json(), "generation": 4}]
    answer = engine.encode(Message({**place, "tiles": tiles}, {"image_0": image}), Context())
    (record,) = answer.fields["tiles"]
    assert record["file"] == "tiles/0/x00000000_y00000000.4.safetensors"
    assert (store.folder / record["file"]).stat().st_size == record["bytes"]
    tile = {"window": window.to_json(), "file": record["file"], "crc32": record["crc32"]}
    objects = [{"tile": tile, "steps": [{"points": [[350.0, 450.0]], "labels": [1]}]}]
    _, outlines = decode(engine, Message({"store": str(store.folder), "objects": objects}))
    assert outlines.points_xy[:, 0].max() <= 700
    assert outlines.points_xy[:, 1].max() <= 900


@pytest.mark.parametrize(
    ("tiles", "arrays"),
    [
        ([{"window": WINDOW.to_json()}], {}),
        ([{"window": WINDOW.to_json()}], {"image_0": np.zeros((1024, 1023, 3), np.uint8)}),
        ([{"window": WINDOW.to_json()}], {"image_0": np.zeros((1024, 1024, 3), np.float32)}),
        ([{"window": WINDOW.to_json()}], {"image_0": np.zeros((1024, 1024, 4), np.uint8)}),
        ([{}], {"image_0": np.zeros((1024, 1024, 3), np.uint8)}),
        (["x"], {"image_0": np.zeros((1024, 1024, 3), np.uint8)}),
        ([], {}),
    ],
)
def test_bad_window_gets_its_sentence(engine, store, model_fields, tiles, arrays):
    fields = {"store": str(store[0].folder), "model": model_fields, "tiles": tiles}
    before = sorted(store[0].folder.rglob("*"))
    with pytest.raises((WindowError, ProtocolError)):
        engine.encode(Message(fields, arrays), Context())
    assert sorted(store[0].folder.rglob("*")) == before


def test_other_model_than_the_stores_is_refused(engine, store, random_checkpoint):
    model = {"checkpoint": str(random_checkpoint("small")), "device": "cpu"}
    image = np.zeros((1024, 1024, 3), np.uint8)
    fields = {"store": str(store[0].folder), "model": model, "tiles": [{"window": WINDOW.to_json()}]}
    with pytest.raises(GeoSam2Error, match="another model"):
        engine.encode(Message(fields, {"image_0": image}), Context())


def test_missing_model_file_is_said(engine, tmp_path):
    with pytest.raises(CheckpointError, match="There is no file"):
        engine.load_model(Message({"model": {"checkpoint": str(tmp_path / "x.pt")}}), Context())


def test_closed_store_is_read_anew(store):
    engine = Engine()
    decode(engine, request(store, CLICK))
    engine.close_store(Message({"store": str(store[0].folder)}), Context())
    assert engine._decoders == {}

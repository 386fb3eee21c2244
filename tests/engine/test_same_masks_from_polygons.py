# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask prompts from polygons: ours against ``SAM2ImagePredictor`` with the same mask as ``mask_input``.

Upstream's mask is made apart from ours, of areas that shapely cuts. Ours goes the way of a
request: a tile in a store, steps and arrays of a message, the decoder that serves clicks.
"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import torch

from geo_sam2.engine.decode_objects import ObjectDecoder, ObjectRequest, TileReference
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_choice import full_size_logits
from geo_sam2.engine.mask_decoder import Features
from geo_sam2.engine.operations import Engine
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.prompt_steps import read_steps, steps_key
from geo_sam2.engine.protocol import Message
from geo_sam2.engine.tile_io import write_decoder, write_tile
from geo_sam2.errors import PromptError, ProtocolError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow
from tests.engine import upstream
from tests.engine.test_mask_prompt_areas import disc, outlines_of, reference, star
from tests.engine.test_same_masks_as_upstream import DECODE_BOUND, WHOLE_BOUND, difference

OFFSET = np.array((2048.0, 1024.0))
WINDOWS = {
    "full": TileWindow(0, 2048, 1024, 1024, 1024),
    "700 wide, 900 high": TileWindow(0, 2048, 1024, 700, 900),
}
# In pixels of the window.
BARN = [star(350, 400, 260) - disc(350, 400, 70)]
SHEDS = [shapely.box(100.3, 120, 300, 333.3), disc(480, 700, 90)]
ACROSS = [star(600, 850, 300)]
CORRECTION = (((300.5, 600.5), (412.25, 77.0)), (1, 0))


class Context:
    def serve_waiting(self):
        pass

    def progress(self, done, total, text=""):
        pass


@pytest.fixture(scope="module")
def features(tiny_model):
    """Return random features that float16 holds exactly, so that a store changes nothing."""
    generator = torch.Generator().manual_seed(7)
    shapes = tiny_model.info.feature_shapes
    return Features(
        *(
            torch.randn(shape, generator=generator).half().float()
            for shape in (shapes.image_embed, shapes.high_res_feats_0, shapes.high_res_feats_1)
        )
    )


@pytest.fixture(scope="module", params=WINDOWS.values(), ids=WINDOWS.keys())
def tile(request, tiny_model, features, tmp_path_factory):
    """Return a store, the tile in it, and upstream's predictor on the same features."""
    source = SourceInfo.of_pixels(16384, 16384)
    store = FeatureStore.create(tmp_path_factory.mktemp("store") / "s.geosam2", tiny_model.info, source)
    write_decoder(store, tiny_model.decoder_tensors())
    record = write_tile(store, request.param, 1, features)
    predictor = upstream.image_predictor_class()(upstream.random_model("tiny"))
    upstream.set_features(predictor, features)
    side = max(request.param.width, request.param.height)
    predictor._orig_hw = [(side, side)]
    return store, TileReference(request.param, record.file, record.crc32), predictor


def in_grid(polygons):
    outlines = outlines_of(*polygons)
    return Outlines(outlines.points_xy + OFFSET, outlines.ring_offsets, outlines.polygon_offsets)


def box_of(polygons, window):
    """Return the box round the part of polygons in a window, in its pixels."""
    inside = shapely.union_all(polygons) & shapely.box(0, 0, window.width, window.height)
    return np.array(inside.bounds)


def step_of(polygons, window, points=(), labels=(), first=0):
    return {
        "box": (box_of(polygons, window) + np.tile(OFFSET, 2)).tolist(),
        "points": [(np.array(point) + OFFSET).tolist() for point in points],
        "labels": list(labels),
        "mask_polygons": [first, first + len(polygons)],
    }


def ask_ours(store, reference_, steps):
    decoder = ObjectDecoder(store, torch.device("cpu"))
    ((_, candidates),) = decoder.decode([ObjectRequest(reference_, steps)], lambda: None)
    grid = decoder.grid(reference_.window)
    return full_size_logits(candidates.logits, grid).numpy(), candidates.predicted_iou.numpy()


def ask_upstream(predictor, polygons, window, points=(), labels=(), mask_input=None):
    grid = LogitGrid(window.width, window.height)
    if mask_input is None:
        mask_input = (20 * reference(polygons, grid) - 10).astype(np.float32)
    # Ours counts from corners; upstream scales and then adds half a pixel of the model's image.
    half_px = 0.5 / grid.model_scale
    logits, scores, low_res = predictor.predict(
        point_coords=np.array(points) - half_px if points else None,
        point_labels=np.array(labels) if points else None,
        box=box_of(polygons, window) - half_px,
        mask_input=mask_input[None],
        multimask_output=False,
        return_logits=True,
    )
    return logits[:, : window.height, : window.width], scores, low_res


@pytest.mark.parametrize("points, labels", [((), ()), CORRECTION], ids=["alone", "with clicks"])
@pytest.mark.parametrize("polygons", [BARN, SHEDS, ACROSS], ids=["hole", "two parts", "over the side"])
def test_polygons_give_upstreams_masks(tile, polygons, points, labels):
    store, where, predictor = tile
    window = where.window
    *expected, _ = ask_upstream(predictor, polygons, window, points, labels)
    steps = read_steps([step_of(polygons, window, points, labels)], in_grid(polygons))
    assert difference(expected, ask_ours(store, where, steps)) <= DECODE_BOUND


def test_click_after_a_mask_goes_on_with_its_answer(tile):
    """As upstream's logits of the first answer, given back as ``mask_input``."""
    store, where, predictor = tile
    window = where.window
    points, labels = CORRECTION
    *_, low_res = ask_upstream(predictor, BARN, window)
    *expected, _ = ask_upstream(predictor, BARN, window, points, labels, low_res[0].clip(-32, 32))
    clicks = {"points": (np.array(points) + OFFSET).tolist(), "labels": list(labels)}
    steps = read_steps([step_of(BARN, window), clicks], in_grid(BARN))
    assert difference(expected, ask_ours(store, where, steps)) <= WHOLE_BOUND


@pytest.mark.parametrize(
    "other",
    [SHEDS, [BARN[0].union(disc(350, 400, 70))], [shapely.affinity.translate(BARN[0], 4, 0)]],
    ids=["other polygons", "hole filled", "a sample to the right"],
)
def test_another_mask_is_noticed(tile, other):
    store, where, predictor = tile
    *expected, _ = ask_upstream(predictor, BARN, where.window)
    step = {**step_of(BARN, where.window), "mask_polygons": [0, len(other)]}
    found = ask_ours(store, where, read_steps([step], in_grid(other)))
    assert difference(expected, found) > WHOLE_BOUND


# Messages


def decode(tile, steps_of_objects, polygons, **arrays):
    store, where, _ = tile
    item = {"window": where.window.to_json(), "file": where.file, "crc32": where.crc32}
    fields = {
        "store": str(store.folder),
        "objects": [{"tile": item, "steps": steps} for steps in steps_of_objects],
    }
    answer = Engine().decode(Message(fields, {**polygons.arrays(), **arrays}), Context())
    return answer.fields["objects"], Outlines.from_arrays(**answer.arrays)


def test_objects_of_a_message_find_their_own_polygons(tile):
    window = tile[1].window
    both = Outlines.concatenate([in_grid(BARN), in_grid(SHEDS)])
    steps = [[step_of(BARN, window)], [step_of(SHEDS, window, first=1)]]
    together, _ = decode(tile, steps, both)
    (barn,), _ = decode(tile, [[step_of(BARN, window)]], in_grid(BARN))
    (sheds,), _ = decode(tile, [[step_of(SHEDS, window)]], in_grid(SHEDS))
    assert together == [barn, sheds]
    assert barn != sheds


def test_off_the_cpu_a_mask_prompt_has_a_pass_of_its_own(tile):
    """Prompts that share a pass have no mask prompt: it would be lost."""
    store, where, _ = tile
    box = {"box": step_of(BARN, where.window)["box"]}
    steps = [box, step_of(BARN, where.window), step_of(BARN, where.window), box]
    objects = [ObjectRequest(where, read_steps([step], in_grid(BARN))) for step in steps]
    decoder = ObjectDecoder(store, torch.device("cpu"))
    decoder._decoder.device = torch.device("cuda")
    assert list(decoder._batches(objects)) == [[0, 3], [1], [2]]


def test_remembered_steps_are_told_apart_by_their_polygons(tile):
    """A session that has seen one mask does not take its logits for those of another."""
    store, where, _ = tile
    engine = Engine()
    click = {"points": [(OFFSET + (350, 400)).tolist()], "labels": [1]}
    item = {"window": where.window.to_json(), "file": where.file, "crc32": where.crc32}
    step = step_of(SHEDS, where.window)
    answers = []
    for polygons in (SHEDS, [SHEDS[1], SHEDS[0].buffer(20)]):
        fields = {"store": str(store.folder), "objects": [{"tile": item, "steps": [step, click]}]}
        message = Message(fields, in_grid(polygons).arrays())
        answers.append(engine.decode(message, Context()).fields["objects"])
        assert Engine().decode(message, Context()).fields["objects"] == answers[-1]
    assert answers[0] != answers[1]


def test_a_polygon_in_one_ring_or_two_is_another_step():
    lake = outlines_of(disc(300, 300, 200) - disc(300, 300, 150))
    island = Outlines(lake.points_xy, lake.ring_offsets, np.array([0, 1, 2], np.int32))
    keys = {
        steps_key(read_steps([{"box": [1, 1, 2, 2], "mask_polygons": [0, len(given)]}], given))
        for given in (lake, island)
    }
    assert len(keys) == 2


def test_click_with_a_mask_is_no_lone_click(tile):
    """What is meant is not ambiguous: there is one answer."""
    click = {"points": [(OFFSET + (350, 400)).tolist()], "labels": [1], "mask_polygons": [0, 1]}
    (answer,), _ = decode(tile, [[click]], in_grid(BARN))
    assert [candidate["mask"] for candidate in answer["candidates"]] == [0]
    with pytest.raises(PromptError, match="gives 1"):
        decode(tile, [[{**click, "mask": 2}]], in_grid(BARN))


BAD_STEPS = {
    "no list": ({"mask_polygons": 1}, "first and the end"),
    "text": ({"mask_polygons": "01"}, "first and the end"),
    "three numbers": ({"mask_polygons": [0, 1, 1]}, "first and the end"),
    "half a polygon": ({"mask_polygons": [0, 0.5]}, "two whole numbers"),
    "no number": ({"mask_polygons": [False, True]}, "two whole numbers"),
    "none": ({"mask_polygons": [1, 1]}, "goes from polygon 1 to 1"),
    "backwards": ({"mask_polygons": [2, 1]}, "goes from polygon 2 to 1"),
    "below zero": ({"mask_polygons": [-1, 1]}, "goes from polygon -1 to 1"),
    "more than there are": ({"mask_polygons": [0, 3]}, "the message has 2 polygons"),
    "alone": ({"box": None}, "stands alone"),
}


@pytest.mark.parametrize(("changed", "text"), BAD_STEPS.values(), ids=BAD_STEPS.keys())
def test_bad_mask_prompt_gets_its_sentence(tile, changed, text):
    step = {**step_of(SHEDS, tile[1].window), **changed}
    with pytest.raises(PromptError, match=text) as caught:
        decode(tile, [[step]], in_grid(SHEDS))
    assert caught.value.text.endswith(".")


BAD_ARRAYS = {
    "open ring": (
        lambda given: {"points_xy": given.points_xy + np.arange(len(given.points_xy))[:, None]},
        "closed",
    ),
    "NaN": (lambda given: {"points_xy": given.points_xy * np.nan}, "NaN"),
    "float32": (lambda given: {"points_xy": given.points_xy.astype(np.float32)}, "float64"),
    "offsets beyond": (lambda given: {"ring_offsets": given.ring_offsets * 2}, "Ring offsets"),
    "no exterior": (lambda given: {"polygon_offsets": given.polygon_offsets * 0}, "Polygon offsets"),
}


@pytest.mark.parametrize(("change", "text"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_bad_polygons_get_their_sentence(tile, change, text):
    given = in_grid(SHEDS)
    with pytest.raises(ProtocolError, match=text) as caught:
        decode(tile, [[step_of(SHEDS, tile[1].window)]], given, **change(given))
    assert caught.value.text.endswith(".")


def test_missing_array_is_named(tile):
    store, where, _ = tile
    arrays = in_grid(SHEDS).arrays()
    del arrays["ring_offsets"]
    item = {"window": where.window.to_json(), "file": where.file}
    fields = {
        "store": str(store.folder),
        "objects": [{"tile": item, "steps": [step_of(SHEDS, where.window)]}],
    }
    with pytest.raises(ProtocolError, match="come without ring_offsets"):
        Engine().decode(Message(fields, arrays), Context())


def test_polygons_that_cannot_be_meant_are_refused(tile):
    given = in_grid(SHEDS)
    step = step_of(SHEDS, tile[1].window)
    with pytest.raises(PromptError, match="farther out"):
        decode(tile, [[step]], given, points_xy=given.points_xy * 1e12)
    with pytest.raises(PromptError, match="cover nothing of its window"):
        decode(tile, [[step]], given, points_xy=given.points_xy + 5000)

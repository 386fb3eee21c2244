# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours against ``SAM2ImagePredictor``: same weights, same pixels, same prompts, same masks.

Every comparison is relative to the standard deviation of upstream's logits. The second
half breaks ours on purpose, one mistake at a time, and shows that the bounds notice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geo_sam2.engine.device import choose_device, choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_choice import full_size_logits, multimask, single_mask
from geo_sam2.engine.mask_decoder import Features, MaskDecoder
from geo_sam2.engine.prompt_embedding import PromptEmbedding
from geo_sam2.engine.prompt_steps import prompt_after, read_steps
from geo_sam2.engine.sam2_model import load_model
from geo_sam2.engine.tile_io import read_tile, write_tile
from geo_sam2.engine.window_image import model_coordinates
from geo_sam2.feature_store import FeatureStore
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow
from tests.engine import upstream

GRID = LogitGrid(1024, 1024)
PHOTOGRAPH = Path(__file__).resolve().parents[2] / "examples" / "meadow_1024.jpg"
WHOLE_BOUND = 1e-3  # from pixels to logits
DECODE_BOUND = 1e-4  # from features to logits


@dataclass(frozen=True)
class Case:
    """Prompts in grid pixels (corner-based); upstream counts pixel centres."""

    points: tuple = ()
    labels: tuple = ()
    box: tuple | None = None
    has_mask_input: bool = False
    multimask: bool = False


CASES = {
    "click, three masks": Case(((300.5, 600.5),), (1,), multimask=True),
    "click, one mask": Case(((300.5, 600.5),), (1,)),
    "click on the corner": Case(((0.0, 1024.0),), (1,), multimask=True),
    "clicks of both kinds": Case(((300.5, 600.5), (412.25, 77.0), (900.0, 900.0)), (1, 0, 1)),
    "box": Case(box=(100.0, 200.0, 700.5, 650.0)),
    "box and points": Case(((300.5, 400.5), (150.0, 220.0)), (1, 0), box=(100.0, 200.0, 700.5, 650.0)),
    "click with mask": Case(((300.5, 600.5),), (1,), has_mask_input=True),
    "box, points and mask": Case(
        ((300.5, 400.5), (150.0, 220.0)), (1, 0), box=(100.0, 200.0, 700.5, 650.0), has_mask_input=True
    ),
    "box, three masks": Case(box=(100.0, 200.0, 700.5, 650.0), multimask=True),
}


@pytest.fixture(scope="module")
def image():
    """Return a real photograph: what the precision of features must be good for."""
    return np.array(Image.open(PHOTOGRAPH).convert("RGB"))


@pytest.fixture(scope="module")
def pair(model_pair, image):
    """Return ours and upstream's with the image set."""
    model, reference = model_pair
    predictor = upstream.image_predictor_class()(reference)
    predictor.set_image(image)
    encoder = ImageEncoder(model, choose_precision(model.device, "fp32"))
    decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, model.device)
    return decoder, encoder.encode([image])[0], predictor


@pytest.fixture(scope="module")
def tiny_pair(tiny_model):
    """Return a decoder and a predictor of the random tiny model on the same seeded features."""
    generator = torch.Generator().manual_seed(5)
    shapes = tiny_model.info.feature_shapes
    features = Features(
        *(
            torch.randn(shape, generator=generator)
            for shape in (shapes.image_embed, shapes.high_res_feats_0, shapes.high_res_feats_1)
        )
    )
    predictor = upstream.image_predictor_class()(upstream.random_model("tiny"))
    upstream.set_features(predictor, features)
    decoder = MaskDecoder(tiny_model.decoder_tensors(), tiny_model.info.decoder, tiny_model.device)
    return decoder, features, predictor


def mask_input():
    """Return low-res logits as an earlier answer could have been, within ±32."""
    rows, cols = np.mgrid[:256, :256]
    return (20 - np.hypot(rows - 150, cols - 80) / 2).clip(-32, 32).astype(np.float32)


def ask_upstream(predictor, case: Case):
    """Return full-size logits (masks, 1024, 1024) and scores (masks,)."""
    logits, scores, _ = predictor.predict(
        point_coords=np.array(case.points) - 0.5 if case.points else None,
        point_labels=np.array(case.labels) if case.points else None,
        box=np.array(case.box) - 0.5 if case.box else None,
        mask_input=mask_input()[None] if case.has_mask_input else None,
        multimask_output=case.multimask,
        return_logits=True,
    )
    return logits, scores


def ask_ours(decoder, features: Features, case: Case, shift_px: float = 0.0, grid: LogitGrid = GRID):
    """Return the same of ours, through the code that serves requests."""
    step = {"points": [list(point) for point in case.points], "labels": list(case.labels), "box": case.box}
    prompt = prompt_after(read_steps([step]))
    coords = model_coordinates(prompt.points_xy, grid) + shift_px
    with torch.inference_mode():
        raw = decoder.decode(
            decoder.prepare(features),
            torch.from_numpy(coords).float()[None],
            torch.from_numpy(prompt.labels)[None],
            torch.from_numpy(mask_input())[None] if case.has_mask_input else None,
        )
        answer = multimask(raw, 0) if case.multimask else single_mask(raw, 0, decoder.settings)
        return full_size_logits(answer.logits, grid).numpy(), answer.predicted_iou.numpy()


def difference(expected, found) -> float:
    """Return the largest difference of logits, or of scores, as a share of the logits' deviation."""
    (logits, scores), (our_logits, our_scores) = expected, found
    assert our_logits.shape == logits.shape
    assert our_scores.shape == scores.shape
    return float(max(np.abs(logits - our_logits).max(), np.abs(scores - our_scores).max()) / logits.std())


def test_features_from_pixels_match_upstream(pair):
    _, features, predictor = pair
    ours = features.image_embed, features.high_res_feats_0, features.high_res_feats_1
    for expected, found in zip(upstream.predictor_features(predictor), ours):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-4 * expected.std()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_masks_from_pixels_match_upstream(pair, case):
    decoder, features, predictor = pair
    assert difference(ask_upstream(predictor, case), ask_ours(decoder, features, case)) <= WHOLE_BOUND


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_masks_from_the_same_features_match_upstream(tiny_pair, case):
    decoder, features, predictor = tiny_pair
    assert difference(ask_upstream(predictor, case), ask_ours(decoder, features, case)) <= DECODE_BOUND


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_plain_layers_give_the_masks_of_fused_ones(tiny_model, tiny_pair, case):
    _, features, predictor = tiny_pair
    plain = MaskDecoder(tiny_model.decoder_tensors(), tiny_model.info.decoder, tiny_model.device, fused=False)
    assert difference(ask_upstream(predictor, case), ask_ours(plain, features, case)) <= DECODE_BOUND


def test_a_batch_gives_the_masks_of_its_prompts_one_by_one(tiny_pair):
    decoder, features, _ = tiny_pair
    coords = torch.tensor([[[100.0, 200.0]], [[512.5, 900.0]], [[1000.0, 3.0]]])
    labels = torch.ones((3, 1), dtype=torch.int64)
    with torch.inference_mode():
        tile = decoder.prepare(features)
        together = decoder.decode(tile, coords, labels)
        for index in range(3):
            alone = decoder.decode(tile, coords[index : index + 1], labels[index : index + 1])
            bound = 1e-5 * float(alone.logits.std())
            torch.testing.assert_close(together.logits[index], alone.logits[0], atol=bound, rtol=0)
            torch.testing.assert_close(together.predicted_iou[index], alone.predicted_iou[0])


def test_masks_from_a_float16_store_agree_with_upstream(pair, model_pair, tmp_path):
    decoder, features, predictor = pair
    store = FeatureStore.create(tmp_path / "s.geosam2", model_pair[0].info, SourceInfo.of_pixels(2048, 2048))
    window = TileWindow(0, 0, 0, 1024, 1024)
    record = write_tile(store, window, 1, features)
    stored = read_tile(store, window, record.file, record.crc32)
    ious = []
    for case in CASES.values():
        expected, _ = ask_upstream(predictor, case)
        found, _ = ask_ours(decoder, stored, case)
        for mask, twin in zip(expected > 0, found > 0):
            union = (mask | twin).sum()
            ious.append((mask & twin).sum() / union if union else 1.0)
    assert np.mean(ious) >= 0.999
    assert min(ious) >= 0.99


def test_narrow_window_gives_upstreams_masks_of_the_padded_square(image):
    """Not exactly: upstream's resizing blends the window's edge with the padding."""
    model = load_model(upstream.DEMO_WEIGHTS, choose_device("cpu"))
    narrow, grid = image[:900, :700], LogitGrid(700, 900)
    square = np.broadcast_to(np.rint(narrow.mean((0, 1))), (900, 900, 3)).astype(np.uint8)
    square[:, :700] = narrow
    predictor = upstream.image_predictor_class()(upstream.demo_model())
    predictor.set_image(square)
    features = ImageEncoder(model, choose_precision(model.device, "fp32")).encode([narrow])[0]
    decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, model.device)
    ious = []
    for point in ((350.5, 450.5), (120.0, 800.0), (250.0, 100.0)):
        case = Case((point,), (1,), multimask=True)
        expected = ask_upstream(predictor, case)[0][:, :, :700] > 0
        found = ask_ours(decoder, features, case, grid=grid)[0] > 0
        assert found.shape == expected.shape == (3, 900, 700)
        ious += [(mask & twin).sum() / (mask | twin).sum() for mask, twin in zip(expected, found)]
    assert np.mean(ious) > 0.9


# What ours would be asked with, or given, after each mistake: (features, shift of prompts in pixels).


def half_a_pixel(features, model, monkeypatch):
    return features, 0.5


def no_mem_embed_left_out(features, model, monkeypatch):
    no_mem_embed = model.module.no_mem_embed.detach().view(-1, 1, 1)
    return replace(features, image_embed=features.image_embed - no_mem_embed), 0.0


def padding_point_left_out(features, model, monkeypatch):
    sparse = PromptEmbedding.sparse
    monkeypatch.setattr(PromptEmbedding, "sparse", lambda *args: sparse(*args)[:, :-1])
    return features, 0.0


def finer_features_transposed(features, model, monkeypatch):
    feats = features.high_res_feats_0.transpose(1, 2).contiguous()
    return replace(features, high_res_feats_0=feats), 0.0


def coarser_features_transposed(features, model, monkeypatch):
    feats = features.high_res_feats_1.transpose(1, 2).contiguous()
    return replace(features, high_res_feats_1=feats), 0.0


def high_res_features_swapped(features, model, monkeypatch):
    """Swap the two levels; resampled and cut, since as they are they would not even fit."""
    finer = torch.nn.functional.interpolate(features.high_res_feats_1[None], scale_factor=2)[0, :32]
    coarser = features.high_res_feats_0[:, ::2, ::2].repeat(2, 1, 1)
    return replace(features, high_res_feats_0=finer, high_res_feats_1=coarser), 0.0


@pytest.mark.parametrize(
    "mistake",
    [
        half_a_pixel,
        no_mem_embed_left_out,
        padding_point_left_out,
        finer_features_transposed,
        coarser_features_transposed,
        high_res_features_swapped,
    ],
)
@pytest.mark.parametrize("name", ["click, three masks", "box and points", "click with mask"])
def test_a_mistake_is_noticed(tiny_model, tiny_pair, monkeypatch, mistake, name):
    decoder, features, predictor = tiny_pair
    broken, shift_px = mistake(features, tiny_model, monkeypatch)
    found = ask_ours(decoder, broken, CASES[name], shift_px)
    assert difference(ask_upstream(predictor, CASES[name]), found) > WHOLE_BOUND


def test_missing_stability_rule_is_noticed(tiny_model, tiny_pair):
    _, features, predictor = tiny_pair
    settings = replace(tiny_model.info.decoder, stability_thresh=0.0)
    decoder = MaskDecoder(tiny_model.decoder_tensors(), settings, tiny_model.device)
    case = CASES["box"]
    assert difference(ask_upstream(predictor, case), ask_ours(decoder, features, case)) > WHOLE_BOUND

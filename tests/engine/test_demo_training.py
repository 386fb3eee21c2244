# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the demo model computes what SAM 2 computes, and asks what it says it asks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from demo_scenes.training_scenes import training_scene  # noqa: E402
from demo_training import losses, model, pool, prompts, steps  # noqa: E402
from torch.nn import functional as F  # noqa: E402


@pytest.fixture(scope="module")
def demo_model():
    built = model.build_demo_model()
    model.set_starting_values(built, 0)
    return built.eval()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    pool.draw(folder, 256, 5)
    return pool.load(folder, 256, 5)


@torch.inference_mode()
def test_whole_frame_gives_the_masks_of_the_official_modules(demo_model):
    chance = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (1, 3, 1024, 1024), dtype=torch.uint8, generator=chance)
    features = model.encode(demo_model, image)
    coords, labels = torch.tensor([[[300.0, 500.0], [640.0, 80.0]]]), torch.tensor([[1.0, 0.0]])
    mask_input = torch.randn(1, 1, 256, 256, generator=chance)
    found = model.decode(demo_model, features, coords, labels, mask_input, (0, 0))
    sparse, dense = demo_model.sam_prompt_encoder((coords, labels), None, mask_input)
    expected = type(demo_model.sam_mask_decoder).predict_masks(
        demo_model.sam_mask_decoder,
        features.image_embed,
        demo_model.sam_prompt_encoder.get_dense_pe(),
        sparse,
        dense,
        False,
        list(features.high_res_feats),
    )
    assert (found[0] - expected[0]).abs().max() < 1e-4 * expected[0].std()
    assert (found[1] - expected[1]).abs().max() < 1e-5


@torch.inference_mode()
def test_a_crop_is_asked_in_the_place_of_the_frame_where_it_lies(demo_model):
    prompt_encoder = demo_model.sam_prompt_encoder
    features = model.encode(demo_model, torch.zeros(1, 3, 256, 256, dtype=torch.uint8))
    seen = {}
    original = model.predict_masks
    model.predict_masks = lambda decoder, features, image_pe, sparse, dense: seen.update(
        image_pe=image_pe, sparse=sparse
    )
    try:
        model.decode(demo_model, features, torch.tensor([[[7.5, 23.5]]]), torch.ones(1, 1), None, (512, 256))
    finally:
        model.predict_masks = original
    # The point lies in the middle of the token at row 1, column 0 of the crop.
    position = seen["sparse"][0, 0] - prompt_encoder.point_embeddings[1].weight[0]
    torch.testing.assert_close(seen["image_pe"][0, :, 1, 0], position, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen["image_pe"], prompt_encoder.get_dense_pe()[..., 16:32, 32:48])


def test_targets_hold_the_click_and_nest(scene):
    targets = prompts.sample_targets(np.random.default_rng(0), scene, 40)
    part, whole, group = targets.levels.unbind(1)
    assert torch.all(part <= whole)
    assert torch.all(whole <= group)
    cell = (targets.click_xy / prompts.LOW_RES_PX).long()
    assert torch.all(part[torch.arange(40), cell[:, 1], cell[:, 0]] > 0)


@pytest.mark.parametrize("turn", range(8))
def test_turning_a_scene_keeps_middles_inside_their_objects(scene, turn):
    turned = pool.turned(scene, turn)
    column = {name: turned.objects[:, index] for index, name in enumerate(pool.COLUMNS)}
    assert np.all(turned.labels_khw[1][column["row"], column["col"]] == column["object_id"])
    assert sorted(np.bincount(turned.labels_khw[1].ravel())) == sorted(
        np.bincount(scene.labels_khw[1].ravel())
    )


def test_correction_clicks_the_larger_error_with_its_label():
    mask = torch.zeros(1, 64, 64)
    mask[0, 10:30, 10:30] = 1
    logits = torch.full((1, 64, 64), -5.0)
    logits[0, 20:30, 10:30] = 5
    logits[0, 50:54, 50:54] = 5
    coords, label = prompts.correction(torch.Generator().manual_seed(0), logits, mask, 256)
    assert label.item() == 1
    assert mask[0, int(coords[0, 0, 1] / 4), int(coords[0, 0, 0] / 4)] == 1
    assert logits[0, int(coords[0, 0, 1] / 4), int(coords[0, 0, 0] / 4)] < 0
    logits[0, 10:30, 10:30] = 5
    coords, label = prompts.correction(torch.Generator().manual_seed(0), logits, mask, 256)
    assert label.item() == 0
    assert torch.all((coords / 4 >= 49) & (coords / 4 <= 54))


def test_mask_loss_is_least_at_the_share_itself():
    share = F.avg_pool2d((torch.rand(1, 1, 64, 64) > 0.5).float(), 4)[:, None, 0].clamp(0.02, 0.98)
    exact = losses.mask_loss(share.logit(), share)
    for offset in (-0.5, 0.5):
        assert torch.all(losses.mask_loss(share.logit() + offset, share) > exact)


def test_a_step_leaves_gradients_in_everything_that_is_trained(demo_model, scene):
    batch = steps.make_batch(np.random.default_rng(0), [scene], 6)
    demo_model.zero_grad()
    for seed in range(12):  # until corrections with and without mask prompt were drawn
        steps.training_step(demo_model, batch, torch.Generator().manual_seed(seed), True)
    without = [name for name, p in model.trained_parameters(demo_model) if p.grad is None]
    demo_model.zero_grad()
    assert without == []


def test_pool_files_are_whole_or_absent(tmp_path):
    pool.draw(tmp_path, 256, 1)
    assert [path.name for path in (tmp_path / "256").iterdir()] == ["00001.npz"]
    stored = pool.load(tmp_path, 256, 1)
    np.testing.assert_array_equal(stored.image_hwc, training_scene(1, 256).image_hwc)

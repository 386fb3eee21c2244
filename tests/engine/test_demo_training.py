# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the demo model computes what SAM 2 computes, and asks what it says it asks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from demo_scenes.training_scenes import training_scene  # noqa: E402
from demo_training import losses, model, pool, prompts, steps  # noqa: E402


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


@pytest.mark.parametrize(
    ("size_px", "corner", "with_mask"),
    [(256, (304, 208), True), (256, (768, 0), False), (1024, (0, 0), True), (1024, (0, 0), False)],
)
@torch.inference_mode()
def test_a_crop_gives_the_masks_of_the_official_modules_at_its_place(demo_model, size_px, corner, with_mask):
    chance = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (1, 3, size_px, size_px), dtype=torch.uint8, generator=chance)
    corner_xy = torch.tensor([corner])
    features = model.encode(demo_model, image, corner_xy)
    coords = torch.tensor([[[0.3, 0.5], [0.64, 0.08]]]) * size_px
    labels = torch.tensor([[1.0, 0.0]])
    side = size_px // 4
    mask_input = torch.randn(1, 1, side, side, generator=chance) if with_mask else None
    found = model.decode(demo_model, features, coords, labels, mask_input)

    official = instantiate(OmegaConf.load(model.DEMO_FOLDER / "demo.yaml")).model
    official.load_state_dict(demo_model.state_dict())
    encoder = official.eval().sam_prompt_encoder
    sparse, dense = encoder((coords + corner_xy, labels), None, mask_input)
    left, top = corner[0] // 16, corner[1] // 16
    rows, cols = slice(top, top + size_px // 16), slice(left, left + size_px // 16)
    expected = official.sam_mask_decoder.predict_masks(
        features.image_embed,
        encoder.get_dense_pe()[..., rows, cols],
        sparse,
        dense if with_mask else dense[..., rows, cols],
        False,
        list(features.high_res_feats),
    )
    assert (found[0] - expected[0]).abs().max() < 1e-4 * expected[0].std()
    assert (found[1] - expected[1]).abs().max() < 1e-5


@torch.inference_mode()
def test_starting_values_keep_tokens_apart_and_look_at_the_click(demo_model):
    """The click's token keeps itself in the first self-attention and sees its own place."""
    attentions = {}
    layer = demo_model.sam_mask_decoder.transformer.layers[0]

    def keep(name, attention):
        def hook(_, arguments):
            q, k = attention.q_proj(arguments["q"]), attention.k_proj(arguments["k"])
            q, k = (attention._separate_heads(value, attention.num_heads) for value in (q, k))
            attentions[name] = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1).mean(1)[0]

        return attention.register_forward_pre_hook(
            lambda _, __, arguments: hook(_, arguments), with_kwargs=True
        )

    handles = [keep("self", layer.self_attn), keep("to_image", layer.cross_attn_token_to_image)]
    image = torch.full((1, 3, 1024, 1024), 128, dtype=torch.uint8)
    features = model.encode(demo_model, image)
    model.decode(demo_model, features, torch.tensor([[[331.0, 602.0]]]), torch.ones(1, 1), None)
    for handle in handles:
        handle.remove()
    click = 6  # after the score, IoU and four mask tokens
    assert torch.all(attentions["self"].diagonal() > 0.9)
    row, col = divmod(int(attentions["to_image"][click].argmax()), 64)
    assert abs(row - 602 // 16) <= 3
    assert abs(col - 331 // 16) <= 3


def test_balanced_loss_leads_out_of_an_empty_mask():
    share = torch.zeros(1, 1, 64, 64)
    share[..., 28:36, 28:36] = 1
    pull = {}
    for balance in (0.0, 1.0):
        logits = torch.full((1, 1, 64, 64), -6.0, requires_grad=True)
        losses.mask_loss(logits, share, balance).sum().backward()
        pull[balance] = -float(logits.grad[share > 0].sum())
    assert pull[1.0] > 5 * pull[0.0] > 0


@torch.inference_mode()
def test_balanced_features_have_no_mean_and_the_deviation_of_positions():
    built = model.build_demo_model()
    model.set_starting_values(built, 0)
    images = torch.randint(0, 255, (2, 3, 256, 256), dtype=torch.uint8)
    model.balance_features(built, images)
    features = model.encode(built, images)
    for tensor in (features.image_embed, *features.high_res_feats):
        assert tensor.mean((0, 2, 3)).abs().max() < 1e-3
        assert tensor.std((0, 2, 3)).mean() == pytest.approx(0.7, abs=0.01)


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


def test_mask_loss_keeps_a_quarter_covered_sample_outside_the_edge():
    share = torch.zeros(1, 1, 64, 64)
    share[..., 10:30, 10:30] = 1
    share[..., 30, 10:30] = 0.25
    logits = torch.where(share > 0.5, 6.0, -6.0)
    logits[..., 30, 10:30] = -1.1
    exact = losses.mask_loss(logits, share)
    for wrong in (1.1, 6.0):
        logits[..., 30, 10:30] = wrong
        assert losses.mask_loss(logits, share) > exact


def test_a_step_leaves_gradients_in_everything_that_is_trained(demo_model, scene):
    batch = steps.make_batch(np.random.default_rng(0), [scene], 6)
    demo_model.zero_grad()
    head = torch.nn.Conv2d(352, 64, 1)
    for seed in range(5):  # corrections with and without mask prompt are among them
        steps.training_step(demo_model, batch, torch.Generator().manual_seed(seed), True, head)
    without = [name for name, p in model.trained_parameters(demo_model) if p.grad is None]
    demo_model.zero_grad()
    assert without == []


def test_pool_files_are_whole_or_absent(tmp_path):
    pool.draw(tmp_path, 256, 1)
    assert [path.name for path in (tmp_path / "256").iterdir()] == ["00001.npz"]
    stored = pool.load(tmp_path, 256, 1)
    np.testing.assert_array_equal(stored.image_hwc, training_scene(1, 256).image_hwc)

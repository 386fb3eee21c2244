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
from demo_training import losses, model, pool, prompts, starting_values, steps  # noqa: E402


@pytest.fixture(scope="module")
def demo_model():
    torch.manual_seed(0)  # of the matrix of position encodings
    built = model.build_demo_model()
    starting_values.set_click_circuit(built, 0)
    for mlp in built.sam_mask_decoder.output_hypernetworks_mlps:  # 0 until they are fitted to a trunk
        mlp.layers[-1].reset_parameters()
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
    # Narrow Gaussians multiply what float32 rounds off; a wrong place or order is a thousand times more.
    assert (found[0] - expected[0]).abs().max() < 1e-3 * expected[0].std()
    assert (found[1] - expected[1]).abs().max() < 1e-5


CLICK = 6  # among the tokens, after the score, IoU and four mask tokens


def attention_weights(demo_model, features, coords_xy, labels, attention):
    """Return the weights (N, heads, queries, keys) of an attention for a prompt each."""
    seen = {}

    def keep(module, _, arguments):
        q = module._separate_heads(module.q_proj(arguments["q"]), module.num_heads)
        k = module._separate_heads(module.k_proj(arguments["k"]), module.num_heads)
        seen["weights"] = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)

    handle = attention.register_forward_pre_hook(keep, with_kwargs=True)
    model.decode(demo_model, features, coords_xy, labels, None)
    handle.remove()
    return seen["weights"]


@torch.inference_mode()
def test_starting_values_attend_to_the_click_as_the_gaussians_that_they_are(demo_model):
    chance = torch.Generator().manual_seed(3)
    clicks_xy = torch.rand(12, 2, generator=chance) * 960 + 32
    noise = 0.3 * torch.randn(1, starting_values.FEATURES, 64, 64, generator=chance)
    frame = starting_values.set_click_circuit(demo_model, 0)
    image_embed = torch.einsum("bfhw,fc->bchw", noise, frame.features)
    high_res = (torch.zeros(1, 32, 256, 256), torch.zeros(1, 64, 128, 128))
    features = model.Features(image_embed, high_res, torch.zeros(1, 2, dtype=torch.long))
    features = features.at(torch.zeros(12, dtype=torch.long))
    layer = demo_model.sam_mask_decoder.transformer.layers[0]
    prompt = (clicks_xy[:, None], torch.ones(12, 1))

    own = attention_weights(demo_model, features, *prompt, layer.self_attn)
    assert torch.all(own.mean(1).diagonal(dim1=1, dim2=2) > 0.85)

    centres = torch.arange(64) * 16 + 8.0
    far = (centres[None, None] - (clicks_xy[:, :, None] + 0.5)).square()  # (clicks, xy, cells)
    squares = (far[:, 1, :, None] + far[:, 0, None, :]).flatten(1)
    found = attention_weights(demo_model, features, *prompt, layer.cross_attn_token_to_image)[:, :, CLICK]
    for head, sigma in enumerate(starting_values.POINT_SIGMA_PX):
        expected = (-squares / (2 * sigma**2)).softmax(1)
        # Small random weights of the other channels tilt it a little; a cell aside would be 0.7 and more.
        assert (found[:, head] - expected).abs().sum(1).mean() < 0.5
    near = attention_weights(demo_model, features, *prompt, layer.cross_attn_image_to_token)[..., CLICK]
    for head, sigma in enumerate(starting_values.PIXEL_SIGMA_PX[0]):
        share = near[:, head]
        assert share[squares < (0.8 * sigma) ** 2].mean() > 2 * share[squares > (4 * sigma) ** 2].mean()


@torch.inference_mode()
def test_starting_values_mark_the_inside_of_a_box_and_nothing_else(demo_model):
    frame = starting_values.set_click_circuit(demo_model, 0)
    features = model.Features(
        torch.zeros(1, 256, 64, 64),
        (torch.zeros(1, 32, 256, 256), torch.zeros(1, 64, 128, 128)),
        torch.zeros(1, 2, dtype=torch.long),
    )
    written = {}
    layer = demo_model.sam_mask_decoder.transformer.layers[0].cross_attn_image_to_token
    handle = layer.register_forward_hook(lambda _, __, output: written.update(marks=output))
    box = torch.tensor([[[203.5, 411.5], [607.5, 651.5]]])
    model.decode(demo_model, features, box, torch.tensor([[2.0, 3.0]]), None)
    handle.remove()
    mark = (written["marks"][0] @ frame.kinds[starting_values.CORNERS][0]).view(64, 64)
    centres = torch.arange(64) * 16 + 8.0
    inside = ((centres > 412) & (centres < 652))[:, None] & ((centres > 204) & (centres < 608))[None]
    far = torch.minimum((centres - 412).abs(), (centres - 652).abs())[:, None] > 16
    far = far & (torch.minimum((centres - 204).abs(), (centres - 608).abs()) > 16)[None]
    assert torch.equal(mark[far] > 0, inside[far])


@torch.inference_mode()
def test_what_is_kept_apart_does_not_reach_positions(demo_model):
    frame = starting_values.set_click_circuit(demo_model, 0)
    layer = demo_model.sam_mask_decoder.transformer.layers[0].mlp.layers[-1]
    layer.weight.add_(torch.randn(layer.weight.shape))
    frame.keep_apart(demo_model)
    written = layer.weight.abs().max()
    for reader in (frame.read_x, frame.read_y, frame.read_r2, *frame.kinds[: starting_values.FLAGS]):
        assert (reader @ layer.weight).abs().max() < 1e-4 * written
    assert (frame.features @ layer.weight).abs().max() > 0.1 * written


@torch.inference_mode()
def test_fitted_masks_tell_what_was_asked_for_from_the_rest(scene):
    built = model.build_demo_model()
    frame = starting_values.set_click_circuit(built, 0)
    batch = steps.make_batch(np.random.default_rng(0), [scene], 24)
    model.balance_features(built, batch.images_u8)
    features = model.encode(built, batch.images_u8, batch.corner_xy).at(batch.image_index)
    asked = [prompts.first_prompt(batch.targets, kind) for kind in ("click", "box")]
    share = torch.cat([batch.targets.levels[:, prompts.OBJECT], batch.targets.mask])

    def decode():
        return torch.cat([model.decode(built, features, *prompt, None)[0] for prompt in asked])

    starting_values.fit_masks(built.sam_mask_decoder, frame, decode, share)
    logits = decode()[:, 0]
    for half in (slice(0, 24), slice(24, 48)):
        inside, outside = logits[half][share[half] > 0.5], logits[half][share[half] < 0.5]
        assert inside.mean() > outside.mean() + 0.4


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
def test_balanced_features_have_no_mean_and_their_deviations():
    built = model.build_demo_model()
    starting_values.set_click_circuit(built, 0)
    images = torch.randint(0, 255, (2, 3, 256, 256), dtype=torch.uint8)
    model.balance_features(built, images)
    features = model.encode(built, images)
    for tensor, deviation in zip((features.image_embed, *features.high_res_feats), (0.2, 0.15, 0.15)):
        assert tensor.mean((0, 2, 3)).abs().max() < 1e-3
        assert tensor.std((0, 2, 3)).square().mean().sqrt() == pytest.approx(deviation, rel=0.02)


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

# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of all shapes become features; other precisions and code paths give the same masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geo_sam2.engine import encode
from geo_sam2.engine.device import ComputePlan, choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_decoder import Features, MaskDecoder
from geo_sam2.engine.model_host import ModelHost, ModelRequest
from geo_sam2.engine.precision_guard import mask_agreement
from geo_sam2.engine.window_image import PIXEL_MEAN, PIXEL_STD, model_coordinates, model_image
from geo_sam2.errors import CancelledError, DeviceMemoryError, FeatureValueError, PromptError, WindowError
from tests.engine import upstream

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def window():
    return np.random.default_rng(3).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def fp32(tiny_model):
    return ImageEncoder(tiny_model, choose_precision(CPU, "fp32"))


@pytest.fixture(scope="module")
def exact(fp32, window):
    return fp32.encode([window])[0]


def parts(features: Features):
    return features.image_embed, features.high_res_feats_0, features.high_res_feats_1


def denormalised(image: torch.Tensor) -> np.ndarray:
    """Return (rows, cols, 3) float pixels of 0–255 of what the model sees."""
    mean, std = np.array(PIXEL_MEAN), np.array(PIXEL_STD)
    return (image[0].permute(1, 2, 0).numpy() * std + mean) * 255


def test_square_window_is_resized_as_upstream_does(tiny_model, fp32):
    small = np.random.default_rng(4).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    predictor = upstream.image_predictor_class()(upstream.random_model("tiny"))
    predictor.set_image(small)
    for expected, found in zip(upstream.predictor_features(predictor), parts(fp32.encode([small])[0])):
        assert (found - expected).abs().max() < 1e-3 * expected.std()


@pytest.mark.parametrize(
    ("height", "width"), [(1024, 1024), (900, 700), (300, 1024), (1024, 300), (5, 7), (1, 1), (1, 1024)]
)
def test_window_fills_the_square_from_its_corner(height, width):
    rng = np.random.default_rng(height * width)
    window = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    seen = denormalised(model_image(window, 1024, CPU))
    scale = 1024 / max(height, width)
    rows, cols = max(1, round(height * scale)), max(1, round(width * scale))
    assert seen.shape == (1024, 1024, 3)
    np.testing.assert_allclose(seen[:rows, :cols].mean((0, 1)), window.mean((0, 1)), atol=2.5)
    for padding in (seen[rows:], seen[:, cols:]):
        if padding.size:
            np.testing.assert_allclose(padding, np.broadcast_to(padding[0, 0], padding.shape), atol=1e-3)
            np.testing.assert_allclose(padding[0, 0], window.mean((0, 1)), atol=2.5)


def test_window_keeps_its_shape_and_place():
    window = np.zeros((900, 700, 3), dtype=np.uint8)
    window[450:, 350:] = 255  # the lower right quarter
    seen = denormalised(model_image(window, 1024, CPU))[..., 0] > 127
    assert seen[512:1024, 399:796].mean() > 0.99
    assert not seen[:511, :796].any()
    assert not seen[:, :397].any()


def test_coordinates_follow_the_window():
    grid = LogitGrid(700, 900)
    corners = np.array([[0.0, 0.0], [700.0, 900.0], [350.0, 450.0]])
    expected = corners * (1024 / 900) - 0.5
    np.testing.assert_allclose(model_coordinates(corners, grid), expected)


@pytest.mark.parametrize("point", [(-0.1, 5), (5, 900.1), (701, 5), (np.nan, 5), (5, np.inf)])
def test_coordinates_outside_the_window_are_refused(point):
    with pytest.raises(PromptError):
        model_coordinates(np.array([point], dtype=float), LogitGrid(700, 900))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1024, 1024), np.uint8),
        ((1024, 1024, 4), np.uint8),
        ((3, 1024, 1024), np.uint8),
        ((0, 5, 3), np.uint8),
        ((1025, 1024, 3), np.uint8),
        ((64, 64, 3), np.uint16),
        ((64, 64, 3), np.float32),
    ],
)
def test_window_of_the_wrong_kind_is_refused(fp32, shape, dtype):
    with pytest.raises(WindowError):
        fp32.encode([np.zeros(shape, dtype=dtype)])


def test_plain_layers_give_the_features_of_fused_ones(tiny_model, window, exact):
    plain = ImageEncoder(tiny_model, choose_precision(CPU, "fp32"), fused=False).encode([window])[0]
    for expected, found in zip(parts(exact), parts(plain)):
        assert (found - expected).abs().max() < 1e-4 * expected.std()


def test_path_of_other_devices_gives_the_features_of_the_cpus(tiny_model, window, exact, monkeypatch):
    compute = encode.Compute
    # The whole image as one band, two windows a batch, torch's own attention: what CUDA and MPS run.
    monkeypatch.setattr(encode, "Compute", lambda dtype, is_cpu, fused: compute(dtype, False, False))
    other = ImageEncoder(tiny_model, ComputePlan(CPU, "fp32"), fused=False)
    images = [model_image(picture, 1024, CPU) for picture in (np.flipud(window), window)]
    with torch.inference_mode():
        features = other._neck(other._trunk(torch.cat(images), lambda: None))
    for expected, found in zip(parts(exact), features):
        assert (found[1] - expected).abs().max() < 1e-4 * expected.std()


def test_several_windows_give_the_features_of_each(fp32, window, exact):
    first, second = fp32.encode([np.flipud(window), window])
    for expected, found, other in zip(parts(exact), parts(second), parts(first)):
        torch.testing.assert_close(found, expected)
        assert not torch.equal(found, other)


def test_bf16_gives_nearly_the_same_masks(tiny_model, window, exact):
    # Not by choose_precision, which refuses a CPU without bf16 units: it is slow there, but works.
    low = ImageEncoder(tiny_model, ComputePlan(CPU, "bf16")).encode([window])[0]
    for expected, found in zip(parts(exact), parts(low)):
        assert (found - expected).std() < 0.02 * expected.std()


def test_steps_are_offered_throughout_the_trunk(tiny_model, fp32, window):
    steps = []
    fp32.encode([window], lambda: steps.append(None))
    assert len(steps) >= len(tiny_model.module.image_encoder.trunk.blocks)


def test_encoding_is_left_at_the_next_step(fp32, window):
    steps = []

    def cancel():
        steps.append(None)
        if len(steps) == 3:
            raise CancelledError("Cancelled.")

    with pytest.raises(CancelledError):
        fp32.encode([window], cancel)
    assert len(steps) == 3


def test_features_that_are_not_numbers_are_refused(tiny_model, window):
    broken = ImageEncoder(tiny_model, choose_precision(CPU, "fp32"))
    with torch.inference_mode():
        broken._neck._fine.bias[0] = float("inf")
    with pytest.raises(FeatureValueError, match="high_res_feats_0"):
        broken.encode([window])


def test_agreement_of_features_with_themselves_is_whole(tiny_model, exact):
    decoder = MaskDecoder(tiny_model.decoder_tensors(), tiny_model.info.decoder, CPU)
    agreement = mask_agreement(decoder, exact, exact, clicks_per_side=2)
    assert set(agreement.ious) == {1.0}
    assert agreement.flips == 0
    assert agreement.is_sound


def test_agreement_notices_other_features(tiny_model, exact):
    decoder = MaskDecoder(tiny_model.decoder_tensors(), tiny_model.info.decoder, CPU)
    other = Features(*(torch.flip(part, (1,)) for part in parts(exact)))
    assert not mask_agreement(decoder, exact, other, clicks_per_side=2).is_sound


class FakeEncoder:
    """Encodes a window as its own number; fails for batches beyond a size, or always."""

    def __init__(self, plan, most):
        self.plan, self.most, self.batches = plan, most, []

    def encode(self, windows, on_step):
        self.batches.append(len(windows))
        if len(windows) > self.most:
            raise DeviceMemoryError("Too little.")
        return list(windows)


@pytest.fixture
def host(random_checkpoint):
    """Return a host that has a model loaded for this request, on a pretended GPU."""
    host = ModelHost()
    request = ModelRequest(random_checkpoint("tiny"), "cpu", "fp32")
    host.load(request)
    return host, request


def test_too_little_memory_makes_batches_smaller(host):
    host, request = host
    host._encoder = FakeEncoder(ComputePlan(CPU, "fp32"), most=2)
    assert host.encode(request, list(range(7)), lambda: None) == list(range(7))
    assert host._encoder.batches == [7, 4, 2, 2, 2, 1]
    assert host.notes[-1] == "The device has too little memory; encoding 2 windows at once."


def test_too_little_memory_for_one_window_moves_to_the_cpu(host, window, exact, monkeypatch):
    host, request = host
    monkeypatch.setattr("geo_sam2.engine.model_host.describe_device", lambda device: str(device))
    host._encoder = FakeEncoder(ComputePlan(torch.device("cuda", 0), "fp32"), most=0)
    monkeypatch.setattr(
        "geo_sam2.engine.model_host.choose_precision", lambda device: ComputePlan(device, "fp32")
    )
    features = host.encode(request, [window], lambda: None)[0]
    torch.testing.assert_close(features.image_embed, exact.image_embed)
    assert "encoding on the CPU" in host.notes[-1]


def test_too_little_memory_on_the_cpu_is_an_error(host):
    host, request = host
    host._encoder = FakeEncoder(ComputePlan(CPU, "fp32"), most=0)
    with pytest.raises(DeviceMemoryError, match="This machine"):
        host.encode(request, [1], lambda: None)


def test_precision_that_changes_masks_gives_way_to_fp32(host, window, exact):
    host, request = host

    class Wrong(FakeEncoder):
        def encode(self, windows, on_step):
            return [Features(*(torch.flip(part, (1,)) for part in parts(exact)))]

    host._encoder = Wrong(ComputePlan(CPU, "bf16", is_automatic=True), most=9)
    host._is_proved = False
    torch.testing.assert_close(host.encode(request, [window], lambda: None)[0].image_embed, exact.image_embed)
    assert host.notes == ["bf16 changes the masks of this model; encoding in fp32."]

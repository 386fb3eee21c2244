# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's own models and predictor, the reference that ours is measured against."""

from __future__ import annotations

import functools

import safetensors.torch
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from sam2.build_sam import build_sam2

from geo_sam2.runtime.model_catalogue import DEMO_FOLDER

DEMO_WEIGHTS = DEMO_FOLDER / "demo.safetensors"
_CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "base_plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}


@functools.lru_cache(maxsize=1)
def image_predictor_class():
    """Import ``SAM2ImagePredictor``; torchvision's wheel has no operators for a CPU build of torch.

    Its import only needs them to be declared; nothing here calls them.
    """
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    image_predictor_class.library = library  # the declarations go when it does
    return SAM2ImagePredictor


def build(architecture: str):
    """Build an official architecture by ``build_sam2``, as its constructors leave it."""
    return build_sam2(_CONFIGS[architecture], None, device="cpu")


@functools.cache
def random_model(architecture: str):
    """Build an official architecture by ``build_sam2`` with seeded random weights.

    Constructors leave biases and some embeddings at zero, where mistakes could hide; these
    are drawn as well.
    """
    torch.manual_seed(2026)
    model = build(architecture)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() == 0 or parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@functools.lru_cache(maxsize=1)
def demo_model():
    """Build the demo model by ``build_sam2`` from the config and weights that ship."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(DEMO_FOLDER), version_base="1.2"):
            assert compose("demo.yaml").model.image_size == 1024
            model = build_sam2("demo.yaml", None, device="cpu")
    finally:
        from hydra import initialize_config_module

        initialize_config_module("sam2", version_base="1.2")
    weights = safetensors.torch.load_file(DEMO_WEIGHTS)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    return model


def set_features(predictor, features) -> None:
    """Give a predictor features as if ``set_image`` had made them of a 1024² image."""
    predictor._features = {
        "image_embed": features.image_embed[None],
        "high_res_feats": [features.high_res_feats_0[None], features.high_res_feats_1[None]],
    }
    predictor._orig_hw = [(1024, 1024)]
    predictor._is_image_set = True


def predictor_features(predictor):
    """Return (image_embed, high_res_feats_0, high_res_feats_1) of a predictor's image, without batch."""
    feats_0, feats_1 = predictor._features["high_res_feats"]
    return predictor._features["image_embed"][0], feats_0[0], feats_1[0]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's work: its ``SAM2ImagePredictor`` on a checkpoint of tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sam2.build_sam import build_sam2

from benchmarks import inputs
from geo_sam2.engine.mask_decoder import Features
from tests.engine.upstream import image_predictor_class, set_features


def pieces(checkpoint: Path) -> dict[str, Callable[[], object]]:
    """Return what can be asked for."""
    model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", str(checkpoint), device="cpu")
    decoding, encoding = (image_predictor_class()(model) for _ in range(2))
    set_features(decoding, Features(*inputs.features()))
    image_hwc, previous = inputs.meadow(), inputs.previous_logits()
    point, label = np.array([inputs.POINT_PX], dtype=float), np.array([1])

    def predict(mask_input: np.ndarray | None) -> np.ndarray:
        logits, scores, _ = decoding.predict(
            point, label, mask_input=mask_input, multimask_output=mask_input is None, return_logits=True
        )
        return logits[scores.argmax()]

    def encode_autocast() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            encoding.set_image(image_hwc)

    return {
        "click": lambda: predict(None),
        "refine": lambda: predict(previous),
        "encode": lambda: encoding.set_image(image_hwc),
        "encode_autocast": encode_autocast,
    }

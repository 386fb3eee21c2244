# SPDX-License-Identifier: GPL-3.0-or-later
"""One tile from pixels to features, against upstream's ``set_image`` with the same weights.

The masks that the features give are compared as well: what is fast must not be wrong.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.timing import alternate, median_ms, ratio
from geo_sam2.engine.device import choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.mask_decoder import MaskDecoder
from geo_sam2.engine.precision_guard import Agreement, mask_agreement
from geo_sam2.engine.sam2_model import Sam2Model

ROUNDS = 8
CLICKS_PER_SIDE = 6


def measure(model: Sam2Model, predictor, image_hwc: np.ndarray) -> dict[str, float]:
    """Return the figures of encoding.

    Args:
        model: Ours, on the CPU.
        predictor: Upstream's, with the same weights.
        image_hwc: A window of 1024 × 1024 pixels.
    """
    exact = ImageEncoder(model, choose_precision(model.device, "fp32"))
    best = ImageEncoder(model, choose_precision(model.device, "auto"))

    def autocast() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            predictor.set_image(image_hwc)

    seconds = alternate(
        {
            "upstream": lambda: predictor.set_image(image_hwc),
            "fp32": lambda: exact.encode([image_hwc]),
            "best": lambda: best.encode([image_hwc]),
            "upstream_autocast": autocast,
        },
        ROUNDS,
        warm_up=1,
    )
    return {
        "encode_upstream_ms": median_ms(seconds["upstream"]),
        "encode_fp32_ms": median_ms(seconds["fp32"]),
        "encode_best_ms": median_ms(seconds["best"]),
        "encode_speedup_fp32": ratio(seconds["upstream"], seconds["fp32"]),
        "encode_speedup_best": ratio(seconds["upstream"], seconds["best"]),
        "encode_speedup_best_against_autocast": ratio(seconds["upstream_autocast"], seconds["best"]),
    }


def agreement(model: Sam2Model, image_hwc: np.ndarray) -> Agreement:
    """Return how well masks from the best precision agree with those from fp32."""
    decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, model.device)
    exact, best = (
        ImageEncoder(model, choose_precision(model.device, name)).encode([image_hwc])[0]
        for name in ("fp32", "auto")
    )
    return mask_agreement(decoder, exact, best, CLICKS_PER_SIDE)

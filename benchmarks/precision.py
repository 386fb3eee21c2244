# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the best precision gives the masks of fp32: what is fast must not be wrong."""

from __future__ import annotations

import numpy as np

from geo_sam2.engine.device import choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.mask_decoder import MaskDecoder
from geo_sam2.engine.precision_guard import mask_agreement
from geo_sam2.engine.sam2_model import Sam2Model

CLICKS_PER_SIDE = 6


def measure(model: Sam2Model, image_hwc: np.ndarray, suffix: str) -> dict[str, float]:
    """Compare the three masks of clicks on a lattice one by one.

    Args:
        model: The model, on the CPU.
        image_hwc: A window of 1024 × 1024 pixels.
        suffix: Put behind the names of the figures.
    """
    decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, model.device)
    exact, best = (
        ImageEncoder(model, choose_precision(model.device, name)).encode([image_hwc])[0]
        for name in ("fp32", "auto")
    )
    found = mask_agreement(decoder, exact, best, CLICKS_PER_SIDE)
    return {
        f"encode_best_mask_iou{suffix}": float(np.mean(found.ious)),
        f"encode_best_mask_iou_min{suffix}": min(found.ious),
        f"encode_best_flips{suffix}": found.flips,
        f"encode_best_masks{suffix}": len(found.ious),
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into both sides of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

POINT_PX = (600, 300)  # column and row of the pixel that is clicked
_MEADOW = Path(__file__).resolve().parents[1] / "examples" / "meadow_1024.jpg"


def meadow() -> np.ndarray:
    """Return the example image, (1024, 1024, 3) uint8."""
    return np.array(Image.open(_MEADOW).convert("RGB"))


def features() -> list[torch.Tensor]:
    """Return seeded image_embed and high_res_feats of SAM 2.1's shapes."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((256, 64, 64), (32, 256, 256), (64, 128, 128))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def previous_logits() -> np.ndarray:
    """Return seeded logits for a mask prompt, (1, 256, 256) float32 within ±32."""
    noise = np.random.default_rng(0).normal(0, 8, (1, 256, 256))
    return np.clip(noise, -32, 32).astype(np.float32)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the decoder's four masks is the answer, and how stable a mask is.

The rules are upstream's (``sam2.modeling.sam.mask_decoder`` and, for the score that
people see, ``sam2.utils.amg``). Ignorant of how the masks came about.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_decoder import RawMasks
from geo_sam2.model_info import DecoderSettings

# Distance from the threshold at which stability is reported; the default of upstream's
# SAM2AutomaticMaskGenerator (stability_score_offset).
STABILITY_OFFSET = 1.0


@dataclass(frozen=True)
class Candidates:
    """Masks that answer one prompt, as upstream would return them.

    Attributes:
        logits: (candidates, rows, cols) low-res logits: three for a first lone click, else one.
        predicted_iou: (candidates,)
    """

    logits: Tensor
    predicted_iou: Tensor

    @property
    def best(self) -> int:
        """Index of the candidate with the highest predicted IoU."""
        return int(self.predicted_iou.argmax())


def stability_score(logits: Tensor, threshold: float, offset: float = STABILITY_OFFSET) -> Tensor:
    """Return the IoU of the masks at threshold + offset and threshold - offset, over the last two axes.

    An empty mask counts as stable, as upstream's decoder has it.
    """
    inner = torch.count_nonzero(logits > threshold + offset, dim=(-2, -1))
    outer = torch.count_nonzero(logits > threshold - offset, dim=(-2, -1))
    return torch.where(outer > 0, inner / outer, torch.ones_like(inner, dtype=torch.float32))


def multimask(raw: RawMasks, index: int) -> Candidates:
    """Return the three masks of prompt ``index`` of a batch: ``multimask_output=True``."""
    return Candidates(raw.logits[index, 1:], raw.predicted_iou[index, 1:])


def single_mask(raw: RawMasks, index: int, settings: DecoderSettings) -> Candidates:
    """Return the one mask of prompt ``index`` of a batch: ``multimask_output=False``.

    That is the single mask while it is stable around threshold 0, else the best of the
    three (``dynamic_multimask_via_stability``).
    """
    chosen = 0
    stability = stability_score(raw.logits[index, 0], 0.0, settings.stability_delta)
    if stability < settings.stability_thresh:
        chosen = 1 + int(raw.predicted_iou[index, 1:].argmax())
    chosen_only = slice(chosen, chosen + 1)
    return Candidates(raw.logits[index, chosen_only], raw.predicted_iou[index, chosen_only])


def full_size_logits(logits: Tensor, grid: LogitGrid) -> Tensor:
    """Upsample low-res logits (count, rows, cols) to the window, (count, height, width).

    Upstream's ``postprocess_masks`` for a whole window; for a window with one shorter side,
    the padding is cut off.
    """
    side = grid.longer_side_px
    full = F.interpolate(logits[None], (side, side), mode="bilinear", align_corners=False)[0]
    return full[:, : grid.height_px, : grid.width_px]

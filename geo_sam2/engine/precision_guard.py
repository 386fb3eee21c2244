# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether low precision gives the masks that fp32 gives, tried on a real window.

Decides by what people see, the masks, not by the features: clicks on a lattice are decoded
on both, and the masks have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from geo_sam2.engine.mask_choice import multimask
from geo_sam2.engine.mask_decoder import Features, MaskDecoder

# Sound bf16 gives medians above 0.99 (see benchmarks); broken arithmetic gives anything.
MIN_MEDIAN_IOU = 0.95
_CLICKS_PER_SIDE = 3


@dataclass(frozen=True)
class Agreement:
    """How well masks from two sets of features agree.

    Attributes:
        ious: IoU per click and candidate of masks that are not empty in both.
        flips: Clicks for which another candidate is rated best.
    """

    ious: tuple[float, ...]
    flips: int

    @property
    def is_sound(self) -> bool:
        """Whether low precision may be used."""
        return not self.ious or sorted(self.ious)[len(self.ious) // 2] >= MIN_MEDIAN_IOU


def mask_agreement(
    decoder: MaskDecoder, exact: Features, other: Features, clicks_per_side: int = _CLICKS_PER_SIDE
) -> Agreement:
    """Compare the three masks of single clicks on a lattice, candidate by candidate.

    Args:
        decoder: The model's decoder.
        exact: Features in fp32.
        other: Features of the same window in low precision.
        clicks_per_side: Clicks along one side of the lattice.
    """
    size = decoder.settings.image_size
    ious: list[float] = []
    flips = 0
    with torch.inference_mode():
        tiles = [decoder.prepare(features) for features in (exact, other)]
        label = torch.ones((1, 1), dtype=torch.int64, device=decoder.device)
        centres = (torch.arange(clicks_per_side) + 0.5) * (size / clicks_per_side) - 0.5
        for y in centres:
            for x in centres:
                click = torch.stack([x, y]).view(1, 1, 2).to(decoder.device)
                first, second = (multimask(decoder.decode(tile, click, label), 0) for tile in tiles)
                flips += first.best != second.best
                for mask, twin in zip(first.logits > 0, second.logits > 0):
                    union = int((mask | twin).sum())
                    if union:
                        ious.append(int((mask & twin).sum()) / union)
    return Agreement(tuple(ious), flips)

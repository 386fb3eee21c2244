# SPDX-License-Identifier: GPL-3.0-or-later
"""What the trained model is asked and what it should answer: clicks, boxes, corrections, targets.

Coordinates are (x, y) pixel indices within the crop, as SAM 2 takes them: 0 is the *centre* of the first
pixel (the prompt encoder adds the half pixel).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from .pool import COLUMNS, PooledScene

#: A click means the part, the object or the group under it with these probabilities.
INTENTIONS = (0.13, 0.74, 0.13)
PART, OBJECT, GROUP = range(3)
LOW_RES_PX = 4


@dataclass
class Targets:
    """What N prompts stand on.

    Attributes:
        levels: (N, 3, h, w), the covered share of each low-res sample by part, object and group.
        intended: (N,) the level that is meant.
        click_xy: (N, 2) a pixel inside.
        box_xyxy: (N, 4) the outer edges of the intended mask, jittered.
    """

    levels: torch.Tensor
    intended: torch.Tensor
    click_xy: torch.Tensor
    box_xyxy: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """The intended masks (N, h, w)."""
        return self.levels[torch.arange(len(self.levels)), self.intended]

    def subset(self, index: torch.Tensor) -> Targets:
        """Return the targets of some prompts."""
        return Targets(self.levels[index], self.intended[index], self.click_xy[index], self.box_xyxy[index])


def sample_targets(rng: np.random.Generator, scene: PooledScene, count: int) -> Targets:
    """Return ``count`` prompts on a scene, larger objects somewhat more often, whole ones too.

    Half of the clicks lie in the middle of the object, where people click, half anywhere in it. A group
    that is the same as the object, or a part, counts as the object.
    """
    table = {name: scene.objects[:, column] for column, name in enumerate(COLUMNS)}
    weight = table["area"] ** 0.35 * np.where(table["is_cut"], 0.6, 1.0)
    chosen = rng.choice(len(scene.objects), count, p=weight / weight.sum())
    part_hw, object_hw, group_hw = scene.labels_khw
    levels = np.zeros((count, 3, *object_hw.shape), bool)
    clicks, boxes = np.zeros((count, 2), np.float32), np.zeros((count, 4), np.float32)
    intended = rng.choice(3, count, p=INTENTIONS)
    for index, position in enumerate(chosen):
        inside = object_hw == table["object_id"][position]
        if rng.random() < 0.5:
            jitter = rng.normal(0, 0.06 * np.sqrt(table["area"][position]), 2)
            row, col = np.rint(np.array([table["row"][position], table["col"][position]]) + jitter).astype(
                int
            )
            row, col = np.clip([row, col], 0, len(inside) - 1)
            if not inside[row, col]:
                row, col = table["row"][position], table["col"][position]
        else:
            flat = np.flatnonzero(inside)
            row, col = divmod(int(flat[rng.integers(len(flat))]), inside.shape[1])
        part, group = part_hw[row, col], group_hw[row, col]
        levels[index, OBJECT] = inside
        levels[index, PART] = (part_hw == part) & inside if part else inside
        levels[index, GROUP] = group_hw == group if group else inside
        clicks[index] = col, row
        boxes[index] = _jittered_box(rng, levels[index, intended[index]])
    shares = F.avg_pool2d(torch.from_numpy(levels).float(), LOW_RES_PX)
    return Targets(shares, torch.from_numpy(intended), torch.from_numpy(clicks), torch.from_numpy(boxes))


def _jittered_box(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Return the box of a mask; each edge off by about 4 % of the side, a third of the boxes exact."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], np.float32) - 0.5
    if rng.random() < 0.35:
        return box
    sides = np.tile([box[2] - box[0], box[3] - box[1]], 2)
    noise = np.clip(rng.normal(0, 0.04, 4) * sides, -20, 20)
    return np.clip(box + noise, -0.5, len(mask) - 0.5)


def first_prompt(targets: Targets, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return coordinates (N, points, 2) and labels (N, points) of a first "click" or "box"."""
    count = len(targets.click_xy)
    if kind == "click":
        return targets.click_xy[:, None], torch.ones(count, 1)
    return targets.box_xyxy.view(count, 2, 2), torch.tensor([[2.0, 3.0]]).expand(count, -1)


def correction(
    rng: torch.Generator, logits: torch.Tensor, mask: torch.Tensor, size_px: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the next click (N, 1, 2) and its label (N, 1): near the middle of the largest error.

    Args:
        rng: source of chance.
        logits: (N, h, w) of the mask to correct.
        mask: (N, h, w) covered shares of the intended mask.
        size_px: side of the crop.
    """
    found, truth = logits > 0, mask > 0.5
    errors = torch.stack([truth & ~found, found & ~truth], 1).float()
    reach = int(torch.randint(1, 5, (), generator=rng)) * 2 + 1
    # Smoothing twice makes the middle of a large error stand out; where all is right, any place inside.
    smooth = F.avg_pool2d(F.avg_pool2d(errors, reach, 1, reach // 2), reach, 1, reach // 2)
    smooth = smooth * errors + 1e-3 * torch.rand(smooth.shape, generator=rng) * errors
    none = errors.flatten(1).sum(1) == 0
    if none.any():
        smooth[none, 0] = torch.rand(smooth[none, 0].shape, generator=rng) * truth[none]
    best = smooth.flatten(1).argmax(1)
    plane = logits.shape[1] * logits.shape[2]
    row, col = (best % plane) // logits.shape[2], best % logits.shape[2]
    centre = (torch.stack([col, row], -1) + 0.5) * LOW_RES_PX - 0.5
    offset = (torch.rand(centre.shape, generator=rng) - 0.5) * (LOW_RES_PX - 1)
    coords = (centre + offset).clamp(0, size_px - 1)
    return coords[:, None], (best < plane).float()[:, None]

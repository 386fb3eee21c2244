# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses on low-res logits against the covered share of each sample.

The share is a number between 0 and 1, so that a logit of 0 is drawn to the true edge and not to the nearest
sample: what is upsampled by four later keeps the sub-sample position of the edge.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .prompts import GROUP, INTENTIONS, OBJECT, PART, Targets

#: Samples of a 256 x 256 crop; the focal loss weighs a sample the same at every size of the crop.
FOCAL_SAMPLES = 64 * 64


def mask_loss(logits: torch.Tensor, share: torch.Tensor, balance: float = 0.0) -> torch.Tensor:
    """Return the loss (N, K) of logits and shares (N, K, h, w): 5 x focal + dice.

    Focal is cross-entropy weighted by the squared distance from the share. While nothing is learned yet, an
    empty mask is its nearest minimum and has no gradient that leads out; ``balance`` (0 to 1) replaces so
    much of it by cross-entropy in which foreground and background weigh the same.
    """
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, share, reduction="none")
    focal = (entropy * (probability - share) ** 2).sum((-2, -1)) / FOCAL_SAMPLES
    overlap = 2 * (probability * share).sum((-2, -1))
    total = (probability + share).sum((-2, -1))
    loss = 5 * (1 - balance) * focal + 1 - (overlap + 1) / (total + 1)
    if balance:
        inside = (entropy * share).sum((-2, -1)) / share.sum((-2, -1)).clamp(min=1)
        outside = (entropy * (1 - share)).sum((-2, -1)) / (1 - share).sum((-2, -1)).clamp(min=1)
        loss = loss + balance * (inside + outside) / 2
    return loss


@torch.no_grad()
def actual_iou(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the IoU (N, K) of masks and truth, an edge sample counting by its share.

    The mask's own share of an edge sample is guessed from its logit, which runs through about 4 within a
    sample.
    """
    guess = (logits / 4 + 0.5).clamp(0, 1)
    overlap = torch.minimum(guess, share).sum((-2, -1))
    return overlap / torch.maximum(guess, share).sum((-2, -1)).clamp(min=1)


def click_loss(
    logits: torch.Tensor, predicted: torch.Tensor, targets: Targets, balance: float = 0.0
) -> dict[str, torch.Tensor]:
    """Return the losses (N,) of a first lone click: the three masks are part, object and group.

    A mask's predicted IoU is the IoU to be expected with what the click *means*, not with the level that
    the mask stands for: the object is meant most often, so it is rated best where the levels differ.
    """
    levels = targets.levels
    order = [OBJECT, PART, OBJECT, GROUP]
    losses = mask_loss(logits, levels[:, order], balance) * torch.tensor([0.5, 0.5, 1.0, 0.5])
    meant = torch.zeros_like(predicted)
    for level, probability in enumerate(INTENTIONS):
        meant += probability * actual_iou(logits, levels[:, level : level + 1].expand_as(logits))
    return {"mask": losses.sum(1), "iou": (predicted - meant).abs().mean(1)}


def refined_loss(
    logits: torch.Tensor, predicted: torch.Tensor, targets: Targets, balance: float = 0.0
) -> dict[str, torch.Tensor]:
    """Return the losses (N,) of any other prompt: the single mask is what was meant.

    The three others learn the same with less weight: upstream falls back on them where the single mask is
    unstable.
    """
    share = targets.mask[:, None].expand_as(logits)
    losses = mask_loss(logits, share, balance) * torch.tensor([1.0, 0.25, 0.25, 0.25])
    return {"mask": losses.sum(1), "iou": (predicted - actual_iou(logits, share)).abs().mean(1)}


def grouping_loss(embedding: torch.Tensor, labels: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Return how far pixels of one object are apart in embedding, against pixels of other objects.

    Args:
        embedding: (n, c) unit vectors of pixels of one picture.
        labels: (n,) their objects.
        temperature: of the softmax over all other pixels.
    """
    similarity = embedding @ embedding.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool)
    same = (labels[:, None] == labels[None]) & ~itself
    log_share = similarity - similarity.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    counted = same.any(1)
    per_pixel = (log_share * same).sum(1) / same.sum(1).clamp(min=1)
    return -per_pixel[counted].mean()

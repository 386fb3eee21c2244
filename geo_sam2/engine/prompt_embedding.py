# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's prompt encoder: points, boxes and mask prompts become what the mask decoder reads.

Same arithmetic as ``sam2.modeling.sam.prompt_encoder`` on the same weights. Ignorant
of windows and grids: coordinates are pixels of the model's square image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.cross_attention import DensePrompt
from geo_sam2.engine.prompt_labels import PADDING

# Mask prompts beyond this say no more; SAM 2 clamps the logits it feeds back the same way
# (sam2_video_predictor, ±32).
MASK_PROMPT_LIMIT = 32.0
_NORM_EPS = 1e-6  # of upstream's LayerNorm2d


class PromptEmbedding:
    """Prompt encoder of one model, on one device.

    Args:
        tensors: Weights, by upstream's names (``sam_prompt_encoder.…``).
        image_size: Side of the model's square image in pixels.
        device: Where to compute.
    """

    def __init__(self, tensors: Mapping[str, Tensor], image_size: int, device: torch.device) -> None:
        def weight(name: str) -> Tensor:
            return tensors[f"sam_prompt_encoder.{name}"].to(device, torch.float32)

        self.image_size = image_size
        self._device = device
        self._gaussian = weight("pe_layer.positional_encoding_gaussian_matrix")
        # Row label + 1: padding, background, foreground, first and second box corner.
        self._by_label = torch.cat(
            [weight("not_a_point_embed.weight")] + [weight(f"point_embeddings.{i}.weight") for i in range(4)]
        )
        self._no_mask_embed = weight("no_mask_embed.weight")[0]
        self._conv1, self._norm1, self._conv2, self._norm2 = (
            (weight(f"mask_downscaling.{index}.weight"), weight(f"mask_downscaling.{index}.bias"))
            for index in (0, 1, 3, 4)
        )
        self.dense_basis = weight("mask_downscaling.6.weight").flatten(1).t().contiguous()
        self._mask_constant = weight("mask_downscaling.6.bias")

    def dense_positions(self, rows: int, cols: int) -> Tensor:
        """Return the positional encoding of image_embed's samples, (rows · cols, channels), row by row."""
        y = (torch.arange(rows, device=self._device, dtype=torch.float32) + 0.5) / rows
        x = (torch.arange(cols, device=self._device, dtype=torch.float32) + 0.5) / cols
        unit_xy = torch.stack([x.expand(rows, cols), y[:, None].expand(rows, cols)], dim=-1)
        return self._encode(unit_xy).flatten(0, 1)

    def sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Embed points and box corners.

        Args:
            coords: (batch, count, 2), x then y, pixel indices of the model's image: the
                centre of the first pixel is 0, as upstream has it.
            labels: (batch, count) of ``prompt_labels``; box corners come first.

        Returns:
            Tokens (batch, count + 1, channels); the last is the padding point that
            upstream adds whenever boxes travel as points.
        """
        embedded = self._encode((coords + 0.5) / self.image_size)
        tokens = embedded + self._by_label[labels + 1]
        padding = self._by_label[0].expand(coords.shape[0], 1, -1)
        is_padding = (labels == PADDING).unsqueeze(-1)
        return torch.cat([torch.where(is_padding, padding, tokens), padding], dim=1)

    def dense(self, mask_logits: Tensor | None) -> DensePrompt:
        """Embed mask prompts.

        Args:
            mask_logits: (batch, 4 · rows, 4 · cols) logits of an earlier answer, or None.

        Returns:
            The dense prompt on ``dense_basis``; samples row by row.
        """
        if mask_logits is None:
            return DensePrompt(self._no_mask_embed)
        x = mask_logits.clamp(-MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT).unsqueeze(1)
        x = F.conv2d(x, *self._conv1, stride=2)
        x = F.gelu(_norm_few_channels(x, *self._norm1))
        x = F.conv2d(x, *self._conv2, stride=2).flatten(2).transpose(1, 2)
        x = F.gelu(F.layer_norm(x, (x.shape[-1],), *self._norm2, eps=_NORM_EPS))
        return DensePrompt(self._mask_constant, x)

    def _encode(self, unit_xy: Tensor) -> Tensor:
        """Encode positions in [0, 1] by random frequencies (arXiv:2006.10739)."""
        phase = (2 * math.pi) * ((2 * unit_xy - 1) @ self._gaussian)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


def _norm_few_channels(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Norm (batch, channels, rows, cols) over the channels; ``F.layer_norm`` is slow for rows of four."""
    centred = x - x.mean(dim=1, keepdim=True)
    scale = (centred.square().mean(dim=1, keepdim=True) + _NORM_EPS).rsqrt()
    return centred * scale * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)

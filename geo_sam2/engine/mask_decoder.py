# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's mask decoder on the features of one tile: prompts in, logits of all four masks out.

Same arithmetic as ``sam2.modeling.sam.mask_decoder`` on the same weights, fp32. What
does not depend on the prompt is computed once per tile (``PreparedTile``), and the
upscaling treats image samples as rows of a matrix: a transposed convolution of 2×2 with
stride 2 is a product per sample, so samples need no neighbours and are put into rows and
columns once, at the very end, as finished logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.cross_attention import ImageSide
from geo_sam2.engine.fused_linear import FusedLinear, has_fused_linear, products
from geo_sam2.engine.prompt_embedding import PromptEmbedding
from geo_sam2.engine.two_way_transformer import TwoWayTransformer
from geo_sam2.model_info import DecoderSettings

# In place: the upscaled image is the largest thing that a click handles.
_gelu_ = torch.ops.aten.gelu_


@dataclass(frozen=True)
class Features:
    """Features of one window, as the encoder makes them; float32 on the decoder's device.

    Attributes:
        image_embed: (channels, rows, cols), no_mem_embed added.
        high_res_feats_0: (channels / 8, 4 · rows, 4 · cols)
        high_res_feats_1: (channels / 4, 2 · rows, 2 · cols)
    """

    image_embed: Tensor
    high_res_feats_0: Tensor
    high_res_feats_1: Tensor


@dataclass(frozen=True)
class PreparedTile:
    """What decoding needs of a tile, independent of prompts.

    Attributes:
        image: What the first layer makes of image_embed.
        feats_0: high_res_feats_0 per sample, (samples, 4 · 4 · channels / 8), in the order in
            which two upscalings by 2×2 reach its pixels.
        feats_1: high_res_feats_1 per sample, (samples, 4 · channels / 4).
    """

    image: ImageSide
    feats_0: Tensor
    feats_1: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that the tile takes in memory."""
        image = self.image
        tensors = (image.samples, image.keys, image.values, image.queries, self.feats_0, self.feats_1)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True)
class RawMasks:
    """The decoder's answer to a batch of prompts: the single mask, then the three of multimask_output.

    Attributes:
        logits: (batch, 4, 4 · rows, 4 · cols) low-res logits.
        predicted_iou: (batch, 4)
    """

    logits: Tensor
    predicted_iou: Tensor


class MaskDecoder:
    """Prompt encoder and mask decoder of one model on one device.

    Args:
        tensors: Weights, by upstream's names, as a store's ``decoder.safetensors`` has them.
        settings: What the model's config says.
        device: Where to compute.
        fused: Use oneDNN's fused linear layers; None decides by device and build.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        settings: DecoderSettings,
        device: torch.device,
        *,
        fused: bool | None = None,
    ) -> None:
        if fused is None:
            fused = device.type == "cpu" and has_fused_linear()

        def weight(name: str) -> Tensor:
            return tensors[f"sam_mask_decoder.{name}"].to(device, torch.float32)

        self.settings = settings
        self.device = device
        self._fused = fused
        self._side = settings.image_size // settings.backbone_stride
        self.prompts = PromptEmbedding(tensors, settings.image_size, device)
        self._pixel_order = _pixel_order(self._side).to(device)
        positions = self.prompts.dense_positions(self._side, self._side)
        self._transformer = TwoWayTransformer(
            tensors, settings.num_heads, positions, self.prompts.dense_basis, fused=fused
        )
        first = ["obj_score_token.weight"] if settings.pred_obj_scores else []
        self._output_tokens = torch.cat(
            [weight(name) for name in (*first, "iou_token.weight", "mask_tokens.weight")]
        )
        self._iou_index = len(first)
        self._dc1 = _upscaling(weight("output_upscaling.0.weight"), weight("output_upscaling.0.bias"), fused)
        self._norm = weight("output_upscaling.1.weight"), weight("output_upscaling.1.bias")
        self._dc2 = _upscaling(weight("output_upscaling.3.weight"), weight("output_upscaling.3.bias"), fused)
        masks = range(settings.num_mask_tokens)
        self._hyper = [
            (
                torch.stack([weight(f"output_hypernetworks_mlps.{i}.layers.{j}.weight") for i in masks]),
                torch.stack([weight(f"output_hypernetworks_mlps.{i}.layers.{j}.bias") for i in masks]),
            )
            for j in range(3)
        ]
        self._iou_head = [
            (weight(f"iou_prediction_head.layers.{j}.weight"), weight(f"iou_prediction_head.layers.{j}.bias"))
            for j in range(3)
        ]

    def prepare(self, features: Features) -> PreparedTile:
        """Compute what all prompts on a tile share."""
        side = self._side
        feats_1 = features.high_res_feats_1.view(-1, side, 2, side, 2).permute(1, 3, 2, 4, 0)
        feats_0 = features.high_res_feats_0.view(-1, side, 2, 2, side, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
        return PreparedTile(
            image=self._transformer.prepare(features.image_embed.flatten(1).t().contiguous()),
            feats_0=feats_0.reshape(side * side, -1),
            feats_1=feats_1.reshape(side * side, -1),
        )

    def decode(
        self, tile: PreparedTile, coords: Tensor, labels: Tensor, mask_prompt: Tensor | None = None
    ) -> RawMasks:
        """Decode a batch of prompts that have the same number of points.

        Args:
            tile: The prepared tile.
            coords: (batch, count, 2) in pixel indices of the model's image, x then y.
            labels: (batch, count) integer labels; box corners (2, 3) come first.
            mask_prompt: (batch, 4 · rows, 4 · cols) logits, or None.
        """
        sparse = self.prompts.sparse(coords, labels)
        batch = sparse.shape[0]
        tokens = torch.cat([self._output_tokens.expand(batch, -1, -1), sparse], dim=1)
        tokens, samples = self._transformer(tile.image, self.prompts.dense(mask_prompt), tokens)

        first_mask = self._iou_index + 1
        mask_tokens = tokens[:, first_mask : first_mask + self.settings.num_mask_tokens]
        logits = self._logits(samples, tile, self._hypernetworks(mask_tokens))
        return RawMasks(logits, self._predicted_iou(tokens[:, self._iou_index]))

    def _hypernetworks(self, mask_tokens: Tensor) -> Tensor:
        """Return each mask's weights over the upscaled channels, (batch, masks, channels / 8)."""
        x = mask_tokens.transpose(0, 1)  # (masks, batch, channels): one product for the four MLPs
        for index, (weight, bias) in enumerate(self._hyper):
            x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
            if index < len(self._hyper) - 1:
                x = F.relu(x)
        return x.transpose(0, 1)

    def _predicted_iou(self, token: Tensor) -> Tensor:
        x = token
        for index, layer in enumerate(self._iou_head):
            x = F.linear(x, *layer)
            if index < len(self._iou_head) - 1:
                x = F.relu(x)
        return x.sigmoid() if self.settings.iou_prediction_use_sigmoid else x

    def _logits(self, samples: Tensor, tile: PreparedTile, hyper: Tensor) -> Tensor:
        """Upscale the samples and weigh them into masks; hyper is (batch, masks, channels / 8)."""
        batch, masks, _ = hyper.shape
        # One after the other: upscaled, each takes 8 MB.
        logits = torch.stack(
            [
                products(self._upscale(samples[index], tile), hyper[index], fused=self._fused)
                for index in range(batch)
            ]
        )
        # One gather of whole pixels, then one transposition: half the time of permuting seven axes.
        logits = logits.index_select(1, self._pixel_order)
        side = 4 * self._side
        return logits.transpose(1, 2).reshape(batch, masks, side, side)

    def _upscale(self, samples: Tensor, tile: PreparedTile) -> Tensor:
        """Upscale samples (count, channels) twice by 2×2, to (16 · count, channels / 8)."""
        x = self._dc1.add(samples, tile.feats_1).view(-1, self._norm[0].shape[0])
        x = _gelu_(F.layer_norm(x, (x.shape[-1],), *self._norm, eps=1e-6))
        x = self._dc2.add(x, tile.feats_0.view(x.shape[0], -1))
        return _gelu_(x).view(16 * samples.shape[0], -1)


def _upscaling(weight: Tensor, bias: Tensor, fused: bool) -> FusedLinear:
    """Turn a transposed convolution 2×2 with stride 2 into a product: channels → 4 pixels × channels."""
    matrix = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])
    return FusedLinear(matrix, bias.repeat(4), torch.float32, fused=fused)


def _pixel_order(side: int) -> Tensor:
    """Return where each pixel of the upscaled image, row by row, stands in the order of the samples.

    Upscaled samples come as (row, col, 2×2 of the first upscaling, 2×2 of the second).
    """
    order = torch.arange(16 * side * side).view(side, side, 2, 2, 2, 2)
    return order.permute(0, 2, 4, 1, 3, 5).reshape(-1)

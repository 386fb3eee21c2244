# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo model for training: building, balancing, and the forward pass on crops of any size.

The model sees 1024 x 1024 pixels in use. Training on pictures of that size from the start would take days
on a CPU, so most steps see crops of such a window, placed somewhere in it: positions are those in the window,
so that a click has to be found as finely as in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import MethodType
from typing import NamedTuple

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam.transformer import Attention
from torch import nn

from .starting_values import FEATURE_RMS, is_kept

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "geo_sam2" / "models" / "demo"
STRIDE_PX = 16
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

#: Parameters that a single image never uses; they are neither trained nor shipped.
MEMORY_PREFIXES = (
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "obj_ptr_",
    "no_obj_",
    "mask_downsample.",
)


class Features(NamedTuple):
    """What the decoder reads of B crops of h x w tokens.

    Attributes:
        image_embed: (B, 256, h, w), ``no_mem_embed`` added.
        high_res_feats: (B, 32, 4 h, 4 w) and (B, 64, 2 h, 2 w).
        corner_xy: (B, 2) int64, where the crops' first pixels lie in the window; multiples of STRIDE_PX.
    """

    image_embed: torch.Tensor
    high_res_feats: tuple[torch.Tensor, torch.Tensor]
    corner_xy: torch.Tensor

    def at(self, index: torch.Tensor) -> Features:
        """Return the features of the given crops, in that order, with repeats."""
        high_res_feats = tuple(feat[index] for feat in self.high_res_feats)
        return Features(self.image_embed[index], high_res_feats, self.corner_xy[index])


def build_demo_model() -> nn.Module:
    """Return an untrained ``SAM2Base`` of demo.yaml, with torch's usual random weights.

    The decoder's attentions are computed in the open: with few keys or few queries and 16 channels a head,
    the fused operation is slower forward and three times slower backward.
    """
    model = instantiate(OmegaConf.load(DEMO_FOLDER / "demo.yaml").model)
    for module in model.sam_mask_decoder.modules():
        if type(module) is Attention:
            module.forward = MethodType(_attend, module)
    return model


def _attend(self: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return what ``Attention.forward`` returns; where to look is computed in full precision."""
    with torch.autocast("cpu", enabled=False):
        q = self._separate_heads(self.q_proj(q.float()), self.num_heads)
        k = self._separate_heads(self.k_proj(k.float()), self.num_heads)
        weights = (q @ (k * k.shape[-1] ** -0.5).transpose(-1, -2)).softmax(-1)
    v = self._separate_heads(self.v_proj(v), self.num_heads)
    return self.out_proj(self._recombine_heads(weights.to(v.dtype) @ v))


@torch.no_grad()
def balance_features(model: nn.Module, images_u8: torch.Tensor) -> None:
    """Give the decoder's inputs a mean of 0 per channel, and their deviations.

    What all pixels have in common says nothing about any of them, but decides their attention. The high-res
    features begin small: at first they are noise on masks that the coarse ones make.
    """
    neck, decoder = model.image_encoder.neck, model.sam_mask_decoder
    model.no_mem_embed.zero_()
    for layers, deviation, pick in (
        ((neck.convs[0].conv, neck.convs[1].conv), FEATURE_RMS, lambda found: found.image_embed),
        ((decoder.conv_s1,), 0.15, lambda found: found.high_res_feats[1]),
        ((decoder.conv_s0,), 0.15, lambda found: found.high_res_feats[0]),
    ):
        factor = deviation / pick(encode(model, images_u8)).std((0, 2, 3)).square().mean().sqrt()
        for layer in layers:
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)
        layers[-1].bias.sub_(pick(encode(model, images_u8)).mean((0, 2, 3)))


def trained_parameters(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    """Yield the names and parameters that training changes."""
    for name, parameter in model.named_parameters():
        frozen = "trunk.pos_embed" in name and "window" not in name
        frozen |= "pred_obj_score_head" in name or is_kept(name)
        if not (name.startswith(MEMORY_PREFIXES) or frozen):
            yield name, parameter


def encode(model: nn.Module, images_u8: torch.Tensor, corner_xy: torch.Tensor | None = None) -> Features:
    """Return the features of (B, 3, H, W) uint8 pictures as SAM2ImagePredictor computes them.

    ``corner_xy`` (B, 2) places them in the window; without it they lie in its upper left corner.
    """
    backbone = model.forward_image((images_u8.float() / 255 - MEAN) / STD)["backbone_fpn"]
    image_embed = backbone[2] + model.no_mem_embed.view(1, -1, 1, 1)
    if corner_xy is None:
        corner_xy = torch.zeros(len(images_u8), 2, dtype=torch.long)
    return Features(image_embed, (backbone[0], backbone[1]), corner_xy)


def decode(
    model: nn.Module,
    features: Features,
    coords_xy: torch.Tensor,
    labels: torch.Tensor,
    mask_input: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits (N, 4, 4 h, 4 w) of all four masks and their predicted IoUs (N, 4).

    Args:
        model: the model.
        features: of the crop of each of the N prompts.
        coords_xy: (N, points, 2), pixel indices in the crop.
        labels: (N, points); 0 background, 1 foreground, 2 and 3 the corners of a box.
        mask_input: (N, 1, 4 h, 4 w) earlier logits, or None.
    """
    prompt_encoder = model.sam_prompt_encoder
    height, width = features.image_embed.shape[-2:]
    with torch.autocast("cpu", enabled=False):  # the sine of a rounded phase would be another place
        sparse, _ = prompt_encoder((coords_xy + features.corner_xy[:, None], labels), None, None)
        window_pe = prompt_encoder.get_dense_pe()[0]
    corners = (features.corner_xy // STRIDE_PX).tolist()
    image_pe = torch.stack([window_pe[:, y : y + height, x : x + width] for x, y in corners])
    if mask_input is None:
        dense = prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    else:
        dense = prompt_encoder._embed_masks(mask_input)
    return predict_masks(model.sam_mask_decoder, features, image_pe, sparse, dense)


def predict_masks(
    decoder: nn.Module,
    features: Features,
    image_pe: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``MaskDecoder.predict_masks`` returns, logits and predicted IoUs, in half its time.

    ``image_pe`` (N, 256, h, w) is that of each prompt's crop.

    The upscaling keeps its channels last: a transposed convolution whose stride is its kernel is a matrix
    product per pixel, the normalisation over channels is one fused operation, and the four logits of a
    pixel are moved to their places only at the end.
    """
    count, _, height, width = features.image_embed.shape
    tokens = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([tokens.expand(count, -1, -1), sparse], 1)
    hs, pixels = decoder.transformer(features.image_embed + dense, image_pe, tokens)

    feat_s0, feat_s1 = features.high_res_feats
    dc1, norm, act1, dc2, act2 = decoder.output_upscaling
    pixels = _upscale(pixels, dc1).view(count, height, width, 2, 2, -1).transpose(2, 3)
    pixels = pixels.reshape(count, 2 * height, 2 * width, -1) + feat_s1.permute(0, 2, 3, 1)
    pixels = act1(nn.functional.layer_norm(pixels, pixels.shape[-1:], norm.weight, norm.bias, norm.eps))
    pixels = _upscale(pixels, dc2).view(count, 2 * height, 2 * width, 2, 2, -1)
    fine = feat_s0.view(count, -1, 2 * height, 2, 2 * width, 2).permute(0, 2, 4, 3, 5, 1)
    pixels = act2(pixels + fine).flatten(1, 4)

    weights = torch.stack([mlp(hs[:, 2 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 2)
    logits = (pixels @ weights).view(count, 2 * height, 2 * width, 2, 2, -1)
    logits = logits.permute(0, 5, 1, 3, 2, 4).reshape(count, -1, 4 * height, 4 * width)
    return logits.float(), decoder.iou_prediction_head(hs[:, 1]).float()


def _upscale(pixels: torch.Tensor, convolution: nn.ConvTranspose2d) -> torch.Tensor:
    """Return (..., 2 x 2 x out) for pixels (..., in): row, column and channel of the finer pixels."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return nn.functional.linear(pixels, weight, convolution.bias.repeat(4))

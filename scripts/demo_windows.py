# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks and boxes on one window of the demo model, for the scripts that measure and show it.

Coordinates are those of the engine: window pixels, x right, y down, (0, 0) the outer corner of the first
pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
STABILITY_DELTA, STABILITY_THRESHOLD = 0.05, 0.98


@dataclass(frozen=True)
class Answer:
    """The best mask of a prompt: boolean at full size, its low-res logits (h, w), its predicted IoU."""

    mask: np.ndarray
    low_res_logits: torch.Tensor
    predicted_iou: float


def load_demo_model(weights: Path) -> nn.Module:
    """Return the model with its weights."""
    model = instantiate(OmegaConf.load(weights.with_name("demo.yaml")).model)
    decoder = model.sam_mask_decoder
    decoder.dynamic_multimask_via_stability = True
    decoder.dynamic_multimask_stability_delta = STABILITY_DELTA
    decoder.dynamic_multimask_stability_thresh = STABILITY_THRESHOLD
    model.load_state_dict({k: v.float() for k, v in load_file(weights).items()}, strict=False)
    return model.eval()


class DemoWindow:
    """One encoded window of 1024 x 1024 pixels, its features rounded to float16."""

    def __init__(self, model: nn.Module, image_hwc: np.ndarray):
        self.model = model
        self.size_px = image_hwc.shape[0]
        pixels = torch.from_numpy(np.ascontiguousarray(image_hwc)).permute(2, 0, 1)[None].float() / 255
        backbone = model.forward_image((pixels - MEAN) / STD)["backbone_fpn"]
        embed = backbone[2] + model.no_mem_embed.view(1, -1, 1, 1)
        embed, *high = (tensor.half().float() for tensor in (embed, backbone[0], backbone[1]))
        self.image_embed, self.high_res_feats = embed, high

    def decode(self, points_xy, labels, box_xyxy=None, mask_input: torch.Tensor | None = None) -> Answer:
        """Return the best mask of points (x, y), their labels and a box (x0, y0, x1, y1)."""
        model = self.model
        coords = [*np.reshape(box_xyxy, (-1, 2))] if box_xyxy is not None else []
        coords = torch.tensor(np.array([*coords, *points_xy]), dtype=torch.float32)[None] - 0.5
        marks = torch.tensor([*([2, 3] if box_xyxy is not None else []), *labels])[None]
        masks = None if mask_input is None else mask_input.clamp(-32, 32)[None, None]
        sparse, dense = model.sam_prompt_encoder((coords, marks), None, masks)
        lone = box_xyxy is None and mask_input is None and len(points_xy) == 1
        logits, predicted, _, _ = model.sam_mask_decoder(
            image_embeddings=self.image_embed,
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=lone,
            repeat_image=False,
            high_res_features=self.high_res_feats,
        )
        best = int(predicted[0].argmax())
        low = logits[0, best]
        size = (self.size_px, self.size_px)
        full = F.interpolate(low[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        return Answer((full > 0).numpy(), low, float(predicted[0, best]))

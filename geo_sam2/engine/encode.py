# SPDX-License-Identifier: GPL-3.0-or-later
"""SAM 2's image encoder: windows of pixels in, ``image_embed`` and ``high_res_feats`` out.

Features are those of upstream's ``SAM2ImagePredictor.set_image``: normalised, resized
where a window is smaller, ``no_mem_embed`` added. The trunk is ``hiera``; here are the
neck, the precision and its guard. Ignorant of stores and requests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from geo_sam2.engine.device import ComputePlan
from geo_sam2.engine.fused_linear import FusedLinear, has_fused_linear
from geo_sam2.engine.hiera import Compute, HieraTrunk
from geo_sam2.engine.mask_decoder import Features
from geo_sam2.engine.sam2_model import Sam2Model
from geo_sam2.engine.window_image import model_image
from geo_sam2.errors import CheckpointError, DeviceMemoryError, FeatureValueError


def _nothing() -> None:
    pass


class ImageEncoder:
    """The encoder of one model in one precision.

    Args:
        model: The loaded model; its weights are copied into the plan's dtype.
        plan: Device and precision; the device must be the model's.
        fused: Use oneDNN's fused linear layers; None decides by device and build.
    """

    def __init__(self, model: Sam2Model, plan: ComputePlan, *, fused: bool | None = None) -> None:
        is_cpu = plan.device.type == "cpu"
        if fused is None:
            fused = is_cpu and has_fused_linear()
        # Off the CPU, weights stay fp32 and autocast picks the precision op by op, as upstream runs.
        dtype = plan.dtype if is_cpu else torch.float32
        self.plan = plan
        self._shapes = model.info.feature_shapes
        self._image_size = model.info.decoder.image_size
        encoder = model.module.image_encoder
        with torch.inference_mode():
            self._trunk = HieraTrunk(encoder.trunk, self._image_size, Compute(dtype, is_cpu, fused))
            self._neck = _Neck(model, dtype, fused=fused)

    def encode(self, windows: Sequence[np.ndarray], on_step: Callable[[], None] = _nothing) -> list[Features]:
        """Encode windows in one batch (on a CPU one after the other: batches gain nothing there).

        Args:
            windows: Each (height, width, 3) uint8 with sides up to the model's image size.
            on_step: Called between the trunk's blocks and bands; may do other work on this
                thread, or raise to leave.

        Returns:
            Features per window, float32 on the device.

        Raises:
            WindowError: A window has the wrong dtype or shape.
            FeatureValueError: The features hold NaN or infinite values.
            DeviceMemoryError: The device ran out of memory.
        """
        if self.plan.device.type == "cpu" and len(windows) > 1:
            return [features for window in windows for features in self.encode([window], on_step)]
        images = [model_image(window, self._image_size, self.plan.device) for window in windows]
        try:
            with torch.inference_mode(), self._autocast():
                stages = self._trunk(torch.cat(images), on_step)
                image_embed, feats_0, feats_1 = self._neck(stages)
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"The device {self.plan.device} has too little memory for {len(windows)} windows at once.",
                "Use a smaller batch, or the CPU.",
            ) from error
        results = [Features(*parts) for parts in zip(image_embed, feats_0, feats_1)]
        for features in results:
            _check_finite(features)
        return results

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        device = self.plan.device.type
        if device == "cpu" or self.plan.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=self.plan.dtype)


def _check_finite(features: Features) -> None:
    for name in ("image_embed", "high_res_feats_0", "high_res_feats_1"):
        if not torch.isfinite(getattr(features, name)).all():
            raise FeatureValueError(
                f"The encoder returned values that are not numbers in {name}.",
                "Encode in fp32; if that fails too, the model file is damaged.",
            )


class _Neck:
    """SAM 2's feature pyramid, down to what the decoder takes.

    The two finest levels get no top-down features in any SAM 2 (``fpn_top_down_levels``
    is [2, 3]), so their 1×1 convolution and the decoder's (``conv_s0``, ``conv_s1``) are
    one matrix. The coarsest level serves only as top-down input of the one above (``scalp``).
    """

    def __init__(self, model: Sam2Model, dtype: torch.dtype, *, fused: bool) -> None:
        neck = model.module.image_encoder.neck
        decoder = model.module.sam_mask_decoder
        if sorted(neck.fpn_top_down_levels) != [2, 3] or neck.fpn_interp_model != "nearest":
            raise CheckpointError("The model's config has a feature pyramid that no SAM 2 has.")
        coarsest, coarse, middle, fine = (
            (conv.conv.weight.flatten(1), conv.conv.bias) for conv in neck.convs
        )
        if model.info.decoder.no_mem_embed_is_added:
            coarse = coarse[0], coarse[1] + model.module.no_mem_embed.flatten()

        def linear(weight: Tensor, bias: Tensor) -> FusedLinear:
            return FusedLinear(weight, bias, dtype, fused=fused)

        self._coarsest, self._coarse = linear(*coarsest), linear(*coarse)
        self._middle = linear(*_compose(middle, decoder.conv_s1))
        self._fine = linear(*_compose(fine, decoder.conv_s0))

    def __call__(self, stages: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return image_embed, high_res_feats_0 and high_res_feats_1, each (batch, channels, rows, cols)."""
        fine, middle, coarse, coarsest = stages
        top_down = self._coarsest(coarsest)
        top_down = top_down.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        embed = self._coarse.add(coarse.flatten(0, 2), top_down.flatten(0, 2)).view(top_down.shape)
        levels = (embed, self._fine(fine), self._middle(middle))
        image_embed, feats_0, feats_1 = (
            level.permute(0, 3, 1, 2).to(torch.float32).contiguous() for level in levels
        )
        return image_embed, feats_0, feats_1


def _compose(first: tuple[Tensor, Tensor], second: torch.nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one 1×1 convolution that does two."""
    weight = second.weight.flatten(1)
    return weight @ first[0], weight @ first[1] + second.bias

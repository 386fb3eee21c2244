# SPDX-License-Identifier: GPL-3.0-or-later
"""What a feature store and a loaded model say of themselves: plain values that cross processes as JSON.

Everything that decoding needs to know of a model besides its weights is here, so that a
store can be used without checkpoint, config or encoder. Ignorant of torch and of files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from geo_sam2.json_record import JsonRecord


@dataclass(frozen=True)
class FeatureShapes(JsonRecord):
    """Shapes of a tile's arrays, each (channels, rows, columns)."""

    image_embed: tuple[int, int, int]
    high_res_feats_0: tuple[int, int, int]
    high_res_feats_1: tuple[int, int, int]


@dataclass(frozen=True)
class DecoderSettings(JsonRecord):
    """What SAM 2's configs say about the prompt decoder.

    Attributes:
        image_size: Side of the square that the encoder saw, in pixels (1024).
        backbone_stride: Pixels per sample of image_embed (16).
        num_heads: Heads of the two-way transformer.
        num_mask_tokens: Masks of one pass: the single mask, then part, object, whole (4).
        pred_obj_scores: Whether a token predicts if there is an object at all.
        iou_prediction_use_sigmoid: Whether predicted IoU passes through a sigmoid.
        stability_delta: Distance from threshold 0 at which the single mask's stability is judged.
        stability_thresh: Stability below which the best of the three replaces the single mask.
        no_mem_embed_is_added: image_embed in the store includes no_mem_embed already.
    """

    image_size: int
    backbone_stride: int
    num_heads: int
    num_mask_tokens: int
    pred_obj_scores: bool
    iou_prediction_use_sigmoid: bool
    stability_delta: float
    stability_thresh: float
    no_mem_embed_is_added: bool


def _record(kind: type[JsonRecord]) -> Any:
    return field(metadata={"record": kind})


@dataclass(frozen=True)
class ModelInfo(JsonRecord):
    """Which model made the features.

    Attributes:
        id: ``tiny``, ``small``, ``base_plus``, ``large``, ``demo``, or architecture and digest.
        architecture: Which of the known trunks it has.
        config: Name of the config file of the ``sam2`` package.
        checkpoint_sha256: Digest of the file of weights.
        feature_shapes: Shapes of what a tile holds.
        decoder: Settings of the prompt decoder.
    """

    id: str
    architecture: str
    config: str
    checkpoint_sha256: str
    feature_shapes: FeatureShapes = _record(FeatureShapes)
    decoder: DecoderSettings = _record(DecoderSettings)

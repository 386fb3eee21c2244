# SPDX-License-Identifier: GPL-3.0-or-later
"""Our work: what the engine runs between a message and its outline, on a checkpoint of tiny."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import inputs
from benchmarks.mosaic import read_windows
from geo_sam2.engine.device import choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_choice import full_size_logits, multimask, single_mask
from geo_sam2.engine.mask_decoder import Features, MaskDecoder
from geo_sam2.engine.sam2_model import load_model
from geo_sam2.engine.window_image import model_coordinates

_GRID = LogitGrid(1024, 1024)


def pieces(checkpoint: Path) -> dict[str, Callable[[], object]]:
    """Return what can be asked for."""
    model = load_model(checkpoint, torch.device("cpu"))
    decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, model.device)
    encoders = {name: ImageEncoder(model, choose_precision(model.device, name)) for name in ("fp32", "auto")}
    features = Features(*inputs.features())
    image_hwc, previous = inputs.meadow(), inputs.previous_logits()
    point = np.array([inputs.POINT_PX]) + 0.5  # ours count from the corner of the pixel
    label = torch.ones((1, 1), dtype=torch.int64)

    @torch.inference_mode()
    def prepare():
        return decoder.prepare(features)

    tile = prepare()

    @torch.inference_mode()
    def predict(mask_input: np.ndarray | None) -> np.ndarray:
        coords = torch.from_numpy(model_coordinates(point, _GRID)).float()[None]
        mask = None if mask_input is None else torch.from_numpy(mask_input)
        raw = decoder.decode(tile, coords, label, mask)
        answer = multimask(raw, 0) if mask is None else single_mask(raw, 0, decoder.settings)
        best = answer.best
        return full_size_logits(answer.logits[best : best + 1], _GRID)[0].numpy()

    return {
        "click": lambda: predict(None),
        "refine": lambda: predict(previous),
        "prepare": prepare,
        "encode_fp32": lambda: encoders["fp32"].encode([image_hwc]),
        "encode_best": lambda: encoders["auto"].encode([image_hwc]),
    }


def window_pieces(checkpoint: Path, raster: Path) -> dict[str, Callable[[], object]]:
    """Return what can be asked for: all windows of a raster, which are in memory, encoded one by one."""
    model = load_model(checkpoint, torch.device("cpu"))
    encoder = ImageEncoder(model, choose_precision(model.device, "auto"))
    windows = read_windows(raster)

    def encode() -> None:
        for image_hwc in windows:
            encoder.encode([image_hwc])

    return {"encode": encode}

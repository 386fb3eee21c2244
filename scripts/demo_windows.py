# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks and boxes on single windows through the engine, to measure and to show the demo model.

A window takes the way of every tile: encoded, written to a feature store as float16, read back, decoded by
replaying the steps of an object. Coordinates are window pixels, x right, y down, (0, 0) the outer corner of
the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geo_sam2.engine.decode_objects import ObjectDecoder, ObjectRequest, TileReference
from geo_sam2.engine.device import choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.mask_choice import full_size_logits
from geo_sam2.engine.prompt_steps import PromptStep
from geo_sam2.engine.sam2_model import load_model
from geo_sam2.engine.tile_io import write_decoder, write_tile
from geo_sam2.feature_store import FeatureStore
from geo_sam2.source_info import SourceInfo
from geo_sam2.tile_window import TileWindow


@dataclass(frozen=True)
class Answer:
    """The mask that the engine calls best, (height, width) bool, and its predicted IoU."""

    mask: np.ndarray
    predicted_iou: float


class DemoEngine:
    """A model on the CPU in fp32 and a store for the windows that it encodes.

    Args:
        weights: The model file.
        folder: Where to make the store; must not exist.
    """

    def __init__(self, weights: Path, folder: Path) -> None:
        device = torch.device("cpu")
        model = load_model(weights, device)
        self._encoder = ImageEncoder(model, choose_precision(device, "fp32"))
        self._store = FeatureStore.create(folder, model.info, SourceInfo.of_pixels(1024, 1024))
        write_decoder(self._store, model.decoder_tensors())
        self._decoder = ObjectDecoder(self._store, device)
        self._generation = 0

    def window(self, image_hwc: np.ndarray) -> DemoWindow:
        """Encode a window of uint8 pixels; the one before it is forgotten."""
        height, width, _ = image_hwc.shape
        place = TileWindow(0, 0, 0, width, height)
        self._generation += 1
        record = write_tile(
            self._store, place, self._generation, self._encoder.encode([np.array(image_hwc)])[0]
        )
        self._decoder.forget_tiles()
        return DemoWindow(self._decoder, TileReference(place, record.file, record.crc32))


class DemoWindow:
    """One encoded window."""

    def __init__(self, decoder: ObjectDecoder, tile: TileReference) -> None:
        self._decoder = decoder
        self._tile = tile

    def decode(self, steps: Sequence[PromptStep]) -> Answer:
        """Return the best mask after some steps."""
        request = ObjectRequest(self._tile, tuple(steps))
        ((_, candidates),) = self._decoder.decode([request], between=lambda: None)
        best = slice(candidates.best, candidates.best + 1)
        logits = full_size_logits(candidates.logits[best], self._decoder.grid(self._tile.window))
        return Answer((logits[0] > 0).numpy(), float(candidates.predicted_iou[candidates.best]))


def click(x: float, y: float, label: int = 1, *, use_previous: bool = True) -> PromptStep:
    """Return the step of one click that goes on with the best mask so far."""
    return PromptStep(((float(x), float(y), label),), None, None, use_previous)


def box(x_min: float, y_min: float, x_max: float, y_max: float) -> PromptStep:
    """Return the step of one box."""
    return PromptStep((), (float(x_min), float(y_min), float(x_max), float(y_max)), None, True)

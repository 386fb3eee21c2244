# SPDX-License-Identifier: GPL-3.0-or-later
"""A store of two tiles side by side, of ponds in a meadow, encoded by the demo model."""

from __future__ import annotations

import numpy as np
import torch

from geo_sam2.engine.device import choose_precision
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.sam2_model import load_model
from geo_sam2.engine.tile_io import write_decoder, write_tile
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.source_info import SourceInfo
from tests.engine.upstream import DEMO_WEIGHTS

# Middle and radius in grid pixels; the last one lies across the seam.
PONDS = ((300, 420, 120), (660, 250, 80), (1500, 600, 150), (1024, 800, 100))


def image():
    """Return the pixels of both tiles, (1024, 2048, 3) uint8."""
    rows, cols = np.mgrid[:1024, :2048]
    is_pond = np.any([np.hypot(cols - x, rows - y) < radius for x, y, radius in PONDS], axis=0)
    colour = np.where(is_pond[..., None], (40, 70, 110), (110, 140, 80))
    noise = np.random.default_rng(0).normal(0, 6, (1024, 2048, 1))
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


def make_store(folder):
    """Return (store, its records by window)."""
    device = torch.device("cpu")
    model = load_model(DEMO_WEIGHTS, device)
    encoder = ImageEncoder(model, choose_precision(device, "fp32"))
    store = FeatureStore.create(folder, model.info, SourceInfo.of_pixels(2048, 1024))
    write_decoder(store, model.decoder_tensors())
    pixels, records = image(), {}
    for window in store.tiling:
        part = np.ascontiguousarray(pixels[:, window.xoff : window.xoff + window.width])
        tile = write_tile(store, window, 1, encoder.encode([part])[0])
        records[window] = TileRecord(window, TileState.DONE, tile.file, tile.bytes, tile.crc32, 0.5, "")
    return store, records

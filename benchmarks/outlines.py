# SPDX-License-Identifier: GPL-3.0-or-later
"""Outlines of masks that a model really makes, and of one that fills a window."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.engine_process import WINDOW, Site, clicks
from benchmarks.timing import alternate, median_ms, timed
from geo_sam2.engine.decode_objects import ObjectDecoder, ObjectRequest
from geo_sam2.engine.outlines import OutlineOptions, outline_logits
from geo_sam2.engine.prompt_steps import read_steps

MASKS = 60
ROUNDS = 5


def measure(site: Site) -> dict[str, float]:
    """Return the median over masks of a site, best of three each, and a disc over the whole window."""
    decoder = ObjectDecoder(site.store, torch.device("cpu"))
    grid = decoder.grid(WINDOW)
    objects = [
        ObjectRequest(site.reference(), read_steps([{"points": [place], "labels": [1]}]))
        for place in clicks(MASKS)
    ]
    masks = [
        candidates.logits[candidates.best].numpy()
        for _, candidates in decoder.decode(objects, lambda: None)
        if (candidates.logits[candidates.best] > 0).any()
    ]
    rows, cols = np.mgrid[:256, :256] + 0.5
    disc = (124 - np.hypot(rows - 128, cols - 128)).astype(np.float32)
    simplified = OutlineOptions(simplify_px=0.5)

    ways = {
        str(index): timed(lambda mask=mask: outline_logits(mask, grid)) for index, mask in enumerate(masks)
    }
    ways |= {
        f"{index} simplified": timed(lambda mask=mask: outline_logits(mask, grid, simplified))
        for index, mask in enumerate(masks)
    }
    ways["disc"] = timed(lambda: outline_logits(disc, grid))
    seconds = alternate(ways, ROUNDS)
    medians = {name: median_ms(times) for name, times in seconds.items()}
    plain = [medians[str(index)] for index in range(len(masks))]
    short = [medians[f"{index} simplified"] for index in range(len(masks))]
    return {
        "outline_masks": len(masks),
        "outline_ms": float(np.median(plain)),
        "outline_simplified_ms": float(np.median(short)),
        "outline_disc_ms": medians["disc"],
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""One prompt, from coordinates to the best mask's scores and full-size logits, against upstream.

Both sides get the same features, the same threads and turns. Upstream is its
``SAM2ImagePredictor.predict``; ours is what the engine runs between a message and its
outline.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.timing import alternate, median_ms, one_busy_core, ratio
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_choice import full_size_logits, multimask, single_mask
from geo_sam2.engine.mask_decoder import Features, MaskDecoder
from geo_sam2.engine.sam2_model import Sam2Model
from geo_sam2.engine.window_image import model_coordinates

GRID = LogitGrid(1024, 1024)
ROUNDS = 40


def random_features(model: Sam2Model) -> Features:
    """Return seeded features of the shapes that the model makes."""
    generator = torch.Generator().manual_seed(0)
    shapes = model.info.feature_shapes
    return Features(
        *(
            torch.randn(shape, generator=generator)
            for shape in (shapes.image_embed, shapes.high_res_feats_0, shapes.high_res_feats_1)
        )
    )


def measure(model: Sam2Model, predictor) -> dict[str, float]:
    """Return the figures of decoding.

    Args:
        model: Ours, on the CPU.
        predictor: Upstream's, with the same weights.
    """
    from tests.engine.upstream import set_features

    features = random_features(model)
    set_features(predictor, features)
    decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, model.device)
    point = np.array([[600.5, 300.5]])
    labels = np.array([1])
    previous = np.clip(np.random.default_rng(0).normal(0, 8, (1, 256, 256)), -32, 32).astype(np.float32)

    def upstream(mask_input: np.ndarray | None) -> None:
        logits, scores, _ = predictor.predict(
            point - 0.5,
            labels,
            mask_input=mask_input,
            multimask_output=mask_input is None,
            return_logits=True,
        )
        logits[scores.argmax()]

    with torch.inference_mode():
        tile = decoder.prepare(features)

    def ours(mask_input: np.ndarray | None) -> None:
        with torch.inference_mode():
            coords = torch.from_numpy(model_coordinates(point, GRID)).float()[None]
            mask = None if mask_input is None else torch.from_numpy(mask_input)
            raw = decoder.decode(tile, coords, torch.from_numpy(labels)[None], mask)
            answer = multimask(raw, 0) if mask is None else single_mask(raw, 0, decoder.settings)
            best = answer.best
            full_size_logits(answer.logits[best : best + 1], GRID).numpy()

    def prepare() -> None:
        with torch.inference_mode():
            decoder.prepare(features)

    ways = {
        "click_upstream": lambda: upstream(None),
        "click": lambda: ours(None),
        "refine_upstream": lambda: upstream(previous),
        "refine": lambda: ours(previous),
        "warm_up": prepare,
    }
    quiet = alternate(ways, ROUNDS)
    with one_busy_core():
        busy = alternate(ways, ROUNDS)
    figures = {
        "decode_click_ms": median_ms(quiet["click"]),
        "decode_click_upstream_ms": median_ms(quiet["click_upstream"]),
        "decode_refine_ms": median_ms(quiet["refine"]),
        "decode_refine_upstream_ms": median_ms(quiet["refine_upstream"]),
        "decode_prepare_ms": median_ms(quiet["warm_up"]),
    }
    for name, seconds in (("", quiet), ("_busy", busy)):
        click = ratio(seconds["click_upstream"], seconds["click"])
        refine = ratio(seconds["refine_upstream"], seconds["refine"])
        figures[f"decode_speedup_click{name}"] = click
        figures[f"decode_speedup_refine{name}"] = refine
        figures[f"decode_speedup{name}"] = min(click, refine)
    return figures

# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding and encoding against upstream, taking turns.

The figures without suffix have ours in the engine's environment and upstream in a plain
one, as users have them. ``_same_environment`` has upstream in the engine's as well, where
it gains too.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.sides import side
from benchmarks.timing import alternate, median_ms, one_busy_core, ratio

DECODE_ROUNDS = 40
ENCODE_ROUNDS = 8


def measure_decoding(checkpoint: Path) -> dict[str, float]:
    """Return the figures of one prompt, from coordinates to scores and full-size logits of the best mask."""
    figures: dict[str, float] = {}
    for suffix, kind in (("", "plain"), ("_same_environment", "engine")):
        with side("ours", "engine", checkpoint) as ours, side("upstream", kind, checkpoint) as upstream:
            ways = {
                "click_upstream": upstream("click"),
                "click": ours("click"),
                "refine_upstream": upstream("refine"),
                "refine": ours("refine"),
                "prepare": ours("prepare"),
            }
            quiet = alternate(ways, DECODE_ROUNDS)
            figures |= _decode_speedups(quiet, suffix)
            if not suffix:
                figures |= {f"decode_{name}_ms": median_ms(seconds) for name, seconds in quiet.items()}
                with one_busy_core():
                    figures |= _decode_speedups(alternate(ways, DECODE_ROUNDS), "_busy")
    return figures


def _decode_speedups(seconds: dict[str, list[float]], suffix: str) -> dict[str, float]:
    click = ratio(seconds["click_upstream"], seconds["click"])
    refine = ratio(seconds["refine_upstream"], seconds["refine"])
    return {
        f"decode_speedup_click{suffix}": click,
        f"decode_speedup_refine{suffix}": refine,
        f"decode_speedup{suffix}": min(click, refine),
    }


def measure_encoding(checkpoint: Path) -> dict[str, float]:
    """Return the figures of one tile from pixels to features."""
    figures: dict[str, float] = {}
    for suffix, kind in (("", "plain"), ("_same_environment", "engine")):
        with side("ours", "engine", checkpoint) as ours, side("upstream", kind, checkpoint) as upstream:
            ways = {
                "upstream": upstream("encode"),
                "fp32": ours("encode_fp32"),
                "upstream_autocast": upstream("encode_autocast"),
                "best": ours("encode_best"),
            }
            seconds = alternate(ways, ENCODE_ROUNDS, warm_up=1)
        figures |= {
            f"encode_speedup_fp32{suffix}": ratio(seconds["upstream"], seconds["fp32"]),
            f"encode_speedup_best{suffix}": ratio(seconds["upstream"], seconds["best"]),
            f"encode_speedup_best_against_autocast{suffix}": ratio(
                seconds["upstream_autocast"], seconds["best"]
            ),
        }
        if not suffix:
            figures |= {f"encode_{name}_ms": median_ms(times) for name, times in seconds.items()}
    return figures

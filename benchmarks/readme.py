# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of figures in the README, written from results.json and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"
_BEGIN = "<!-- figures: written by `make bench` -->"
_END = "<!-- end of figures -->"

_ROWS = (
    ("decode a click or a refinement, upstream ÷ ours, the lower of the two", "decode_speedup", "{:.2f}"),
    ("the same with one core kept busy", "decode_speedup_busy", "{:.2f}"),
    ("the same with upstream in our environment", "decode_speedup_same_environment", "{:.2f}"),
    ("encode a tile in fp32, upstream ÷ ours", "encode_speedup_fp32", "{:.2f}"),
    ("encode a tile in the best precision, upstream fp32 ÷ ours", "encode_speedup_best", "{:.2f}"),
    ("the same against upstream under autocast", "encode_speedup_best_against_autocast", "{:.2f}"),
    (
        "IoU of masks, best precision against fp32, demo model",
        "encode_best_mask_iou_demo",
        "{:.4f}",
    ),
    ("a request through the pipes over the bare call, ms", "request_overhead_ms", "{:.2f}"),
    ("outline of a mask, median, ms", "outline_ms", "{:.2f}"),
    (
        "click while encoding ÷ (click + longest block), 95th percentile",
        "click_while_encoding_ratio",
        "{:.2f}",
    ),
    ("a tile from disk ready for clicks, ms", "tile_warm_up_ms", "{:.1f}"),
    ("engine says hello, s", "engine_hello_s", "{:.2f}"),
    ("first answer of a new engine, s", "engine_start_s", "{:.2f}"),
    ("encode of a raster ÷ bare encode of its windows, throughput", "encode_pipeline_efficiency", "{:.3f}"),
    ("a 30,000 × 30,000 raster, until its first window is encoded, s", "big_raster_start_s", "{:.1f}"),
    ("memory, tiles 101 to 400 ÷ tiles 1 to 100, both processes", "encode_memory_growth", "{:.2f}"),
    ("memory, peak of both processes, demo model, MB", "encode_memory_peak_mb", "{:.0f}"),
    ("2,000 prompts over 9 tiles, at once ÷ one by one", "batch_prompts_speedup", "{:.2f}"),
    ("prompts per second, at once, demo model", "batch_prompts_per_s", "{:.0f}"),
    ("click to outline on the canvas over the bare decode, tile warm, ms", "click_overhead_ms", "{:.1f}"),
    ("click to outline on the canvas, tile on disk, ms", "click_cold_ms", "{:.0f}"),
    ("click to outline on the canvas, tile not encoded, s", "click_unencoded_s", "{:.2f}"),
    ("gaps of QGIS's event loop while hovering, 99th percentile, ms", "hover_gui_gap_ms_p99", "{:.1f}"),
    ("the same with the preview off", "hover_off_gui_gap_ms_p99", "{:.1f}"),
    ("outlines seen while hovering ÷ what the bare decode allows", "hover_efficiency", "{:.2f}"),
    ("objects 451 to 500 ÷ objects 1 to 50, time", "object_500_time_ratio", "{:.2f}"),
    ("objects 451 to 500 ÷ objects 1 to 50, memory", "object_500_memory_ratio", "{:.2f}"),
    ("open a store of 10,000 tiles, ms", "store_open_ms", "{:.2f}"),
    ("find the tile under a point in it, ms", "tile_lookup_ms", "{:.2f}"),
    ("demo model, mean IoU after one click", "demo_iou_1click", "{:.3f}"),
    ("demo model, mean IoU of a box", "demo_iou_box", "{:.3f}"),
    ("demo model, mean IoU after three clicks", "demo_iou_3clicks", "{:.3f}"),
)


def write_table(results: Mapping[str, Any]) -> None:
    """Put the table between its marks in the README; rows without a figure are left out."""
    lines = ["", "| what | figure |", "| --- | --- |"]
    lines += [
        f"| {words} (`{name}`) | {form.format(results[name])} |"
        for words, name, form in _ROWS
        if name in results
    ]
    if "machine_cpu" in results:
        lines += [
            "",
            f"On {results['machine_cores']} cores of {results['machine_cpu']} ({results['machine_units']}), "
            f"torch {results['machine_torch']}.",
        ]
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    README.write_text("\n".join([before + _BEGIN, *lines, "", _END]) + after, encoding="utf-8")

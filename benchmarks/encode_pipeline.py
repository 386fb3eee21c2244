# SPDX-License-Identifier: GPL-3.0-or-later
"""What an encode of a raster costs over the bare encode of the same windows.

An encode reads, sends through pipes, writes tile files and keeps an index; the bare one has its
windows in memory and drops the features. Each is a process of its own, and they take turns.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.mosaic import write_mosaic
from benchmarks.sides import side
from benchmarks.timing import alternate, ratio

_ROUNDS = 3


def measure(folder: Path, checkpoint: Path, columns: int = 4, rows: int = 4) -> dict[str, float]:
    """Return the throughput of an encode over that of the bare encoder, engine and model warm.

    Args:
        folder: For raster and stores.
        checkpoint: The model file.
        columns: Windows side by side.
        rows: Windows one above the other.
    """
    raster = folder / "pipeline.vrt"
    write_mosaic(raster, columns, rows)
    with (
        side("job", "qgis", checkpoint, raster) as job,
        side("windows", "engine", checkpoint, raster) as windows,
    ):
        seconds = alternate({"job": job("encode"), "bare": windows("encode")}, _ROUNDS, warm_up=1)
    return {
        "encode_pipeline_efficiency": ratio(seconds["bare"], seconds["job"]),
        "encode_pipeline_tile_s": statistics.median(seconds["job"]) / (columns * rows),
    }

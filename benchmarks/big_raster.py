# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon an encode of a part of a big raster begins: only what is needed may be read of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.mosaic import write_16_bit
from benchmarks.sides import QGIS_PYTHON, REPOSITORY, environment


def measure(folder: Path, checkpoint: Path, side_px: int = 30_000) -> dict[str, float]:
    """Return seconds from nothing, not even an engine, to the first window sent to be encoded.

    The raster has 16 bits, strips and no overviews, and nothing of it is in the system's cache.

    Args:
        folder: For raster and store.
        checkpoint: The model file.
        side_px: Of the raster; 30,000 are 1.8 GB.
    """
    raster = folder / "big.tif"
    write_16_bit(raster, side_px)
    command = [str(QGIS_PYTHON), "-m", "benchmarks.encode_side", str(checkpoint), str(raster), sys.executable]
    answer = subprocess.run(  # noqa: S603  # our own
        command, check=True, cwd=REPOSITORY, env=environment("qgis"), stdout=subprocess.PIPE, text=True
    )
    raster.unlink()
    return {"big_raster_start_s": float(answer.stdout), "big_raster_side_px": side_px}

# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of an encode of many tiles, as its users run it: ``qgis_process`` and its engine."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.mosaic import write_mosaic
from benchmarks.private_memory import children, private_bytes
from benchmarks.sides import REPOSITORY

sys.path.append(str(REPOSITORY / "scripts"))

from headless_qgis import HeadlessQgis

_INTERVAL_S = 0.25
_MB = 1e6


def measure(folder: Path, columns: int = 20, rows: int = 20) -> dict[str, float]:
    """Encode a raster with the demo model and watch both processes.

    Args:
        folder: For raster, store and profile.
        columns: Windows side by side.
        rows: Windows one above the other.

    Returns:
        The peak of private bytes after the first quarter of the tiles over that within it, and
        the peaks themselves.

    Raises:
        RuntimeError: The encode failed.
    """
    raster, store, log = folder / "mosaic.vrt", folder / "mosaic.demo.geosam2", folder / "encode.log"
    write_mosaic(raster, columns, rows)
    qgis = HeadlessQgis(folder / "profile", REPOSITORY / ".environment")
    qgis.enable_plugin()
    process = qgis.start("geo_sam2:encode", {"INPUT": raster, "MODEL": "demo", "OUTPUT": store}, log)
    samples = []
    try:
        while process.poll() is None:
            engine = sum(map(private_bytes, children(process.pid)))
            done = sum(1 for _ in (store / "tiles" / "0").glob("*.safetensors"))
            samples.append((done, private_bytes(process.pid), engine))
            time.sleep(_INTERVAL_S)
    finally:
        process.kill()
        process.wait()
    tiles = columns * rows
    if process.returncode != 0 or samples[-1][0] < tiles - 1:
        raise RuntimeError(f"The encode failed:\n{log.read_text(errors='replace')}")
    early = max(qgis + engine for done, qgis, engine in samples if 0 < done <= tiles // 4)
    late = max(qgis + engine for done, qgis, engine in samples if done > tiles // 4)
    return {
        "encode_memory_growth": late / early,
        "encode_memory_peak_mb": max(early, late) / _MB,
        "encode_memory_qgis_mb": max(qgis for _, qgis, _ in samples) / _MB,
        "encode_memory_engine_mb": max(engine for _, _, engine in samples) / _MB,
        "encode_memory_tiles": tiles,
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""Encodes as QGIS starts them, on the Python of QGIS; the engine is a process of its own.

``python -m benchmarks.encode_side CHECKPOINT RASTER ENGINE_PYTHON`` prints when the first window
of an extent of six was sent to an engine that did not run before, in seconds.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geo_sam2.encoder.encode_job import EncodeJob
from geo_sam2.encoder.encode_request import EncodeRequest, EncodeResult, ModelChoice
from geo_sam2.encoder.raster_source import RasterRequest
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.runtime.engine_command import engine_command
from geo_sam2.runtime.engine_future import EngineFuture

_WINDOW_PX = 1024


class _Silent:
    """Listens to a job and says nothing."""

    def step(self, text: str) -> None:
        """A step began."""

    def waiting(self, progress: object) -> None:
        """Another job has the store; there is none here."""

    def planned(self, plan: object) -> None:
        """The plan is made."""

    def progressed(self, progress: object) -> None:
        """Windows were settled."""


class _WatchedClient(EngineClient):
    """Notes when it was first asked to encode."""

    first_encode: float | None = None

    def request(
        self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None, **options: Any
    ) -> EngineFuture:
        """Send a request."""
        if fields["type"] == "encode" and self.first_encode is None:
            self.first_encode = time.perf_counter()
        return super().request(fields, arrays, **options)


def encode(
    engine: EngineClient, raster: Path, checkpoint: Path, folder: Path, ring_xy: np.ndarray | None = None
) -> EncodeResult:
    """Encode a raster, or the windows that a ring in grid pixels touches, into a new store."""
    request = EncodeRequest(
        raster=RasterRequest(str(raster)),
        model=ModelChoice(checkpoint, device="cpu"),
        folder=folder,
        stores_folder=folder.parent,
    )
    with EncodeJob(request, engine, _Silent(), lambda: False) as job:
        job.open()
        job.plan(ring_xy)
        return job.run()


def pieces(checkpoint: Path, raster: Path, engine_python: Path) -> dict[str, Callable[[], object]]:
    """Return what can be asked for (see ``benchmarks.sides``): one encode of all of a raster."""
    folder = Path(tempfile.mkdtemp(dir=raster.parent))
    engine = EngineClient(engine_command(engine_python), folder / "engine.log")
    store = folder / "pipeline.geosam2"

    def encode_anew() -> None:
        shutil.rmtree(store, ignore_errors=True)
        assert not encode(engine, raster, checkpoint, store).is_partial

    return {"encode": encode_anew}


def seconds_to_first_window(checkpoint: Path, raster: Path, engine_python: Path) -> float:
    """Return how long an extent of six windows, somewhere in a raster, takes to begin to be encoded."""
    left, top = 10.5 * _WINDOW_PX, 17.5 * _WINDOW_PX
    right, bottom = left + 2 * _WINDOW_PX, top + _WINDOW_PX
    ring_xy = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    with tempfile.TemporaryDirectory(dir=raster.parent) as name:
        folder = Path(name)
        started = time.perf_counter()
        with _WatchedClient(engine_command(engine_python), folder / "engine.log") as engine:
            result = encode(engine, raster, checkpoint, folder / "part.geosam2", ring_xy)
            assert result.selected == 6, result
            assert engine.first_encode is not None
            return engine.first_encode - started


if __name__ == "__main__":
    print(seconds_to_first_window(*map(Path, sys.argv[1:4])))

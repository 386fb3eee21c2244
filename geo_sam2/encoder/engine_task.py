# SPDX-License-Identifier: GPL-3.0-or-later
"""What encoding asks of the engine, and how its answer becomes rows of the index.

One task stands for the engine, the model and the store of a run. Ignorant of order and threads.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geo_sam2.encoder.progress import size_text
from geo_sam2.engine.protocol import read_field
from geo_sam2.errors import ProtocolError, StoreError
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.runtime.engine_future import EngineFuture
from geo_sam2.store_index import TileRecord, TileState
from geo_sam2.tile_window import TileWindow

# A disk filled to the last byte harms QGIS and everything else.
RESERVE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class EngineTask:
    """What every request of a run has in common.

    Attributes:
        engine: Who encodes.
        folder: The store.
        model: The ``model`` field of the requests.
        batch_size: Windows per request.
        tile_bytes: What one tile takes on disk.
    """

    engine: EngineClient
    folder: Path
    model: Mapping[str, Any]
    batch_size: int
    tile_bytes: int

    def refuse_full_disk(self, tiles: int) -> None:
        """Raise StoreError unless so many tiles have room, and some more is left."""
        free_bytes = shutil.disk_usage(self.folder).free
        if free_bytes < tiles * self.tile_bytes + RESERVE_BYTES:
            raise StoreError(
                f"The disk of {self.folder} is full: {size_text(free_bytes)} are free.",
                "Free some space and run it again: it goes on where it stopped.",
            )

    def request(
        self, items: Sequence[tuple[TileWindow, np.ndarray]], next_generation: Callable[[TileWindow], int]
    ) -> EngineFuture:
        """Ask the engine to encode windows, (height, width, 3) uint8 each; returns the future answer."""
        fields = {
            "type": "encode",
            "store": str(self.folder),
            "model": dict(self.model),
            "tiles": [
                {"window": window.to_json(), "generation": next_generation(window)} for window, _ in items
            ],
        }
        images = {f"image_{index}": pixels for index, (_, pixels) in enumerate(items)}
        return self.engine.request(fields, images)

    def done_rows(self, windows: Sequence[TileWindow], fields: Mapping[str, Any]) -> list[TileRecord]:
        """Return the rows of an answer, which names its tiles in the order of the request.

        Raises:
            ProtocolError: It does not.
        """
        tiles = read_field(fields, "tiles", list)
        if len(tiles) != len(windows):
            raise ProtocolError(f"The engine answered {len(tiles)} tiles where {len(windows)} were sent.")
        seconds = read_field(fields, "seconds", float) / len(windows)
        return [
            TileRecord(
                window,
                TileState.DONE,
                file=read_field(tile, "file", str),
                bytes=read_field(tile, "bytes", int),
                crc32=read_field(tile, "crc32", int),
                seconds=seconds,
                encoded_at=_now(),
            )
            for window, tile in zip(windows, tiles)
        ]


def _now() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

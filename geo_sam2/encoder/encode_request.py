# SPDX-License-Identifier: GPL-3.0-or-later
"""What crosses from whoever wants a raster encoded to the job that does it, and back.

Plain frozen values; ignorant of QGIS, GDAL, torch and threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geo_sam2.encoder.raster_source import RasterRequest
    from geo_sam2.store_index import TileState

MAX_BATCH_SIZE = 64  # engine.operations.MAX_WINDOWS


@dataclass(frozen=True)
class ModelChoice:
    """Which weights to encode with, and how.

    Attributes:
        checkpoint: The file of weights, absolute.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        variant: The architecture that the weights must have, such as ``tiny``; empty for any.
    """

    checkpoint: Path
    device: str = "auto"
    precision: str = "auto"
    variant: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the ``model`` field of the engine's requests."""
        return {"checkpoint": str(self.checkpoint), "device": self.device, "precision": self.precision}


@dataclass(frozen=True)
class EncodeRequest:
    """What to encode, with what, to where; the windows are selected later, on the grid (``EncodeJob.plan``).

    Attributes:
        raster: The raster and how to read it. ``bands`` and ``range`` that are None mean those of
            the store where there is one already, else ``shown_bands`` and the default stretch.
        model: The model.
        folder: The store, absolute; None for the place that follows from raster and model.
        shown_bands: Bands that the layer shows; None for the raster's first ones.
        stores_folder: Where the store goes when ``folder`` is None and it cannot lie beside the raster.
        beside_raster: Whether a store without ``folder`` may lie beside the raster at all.
        batch_size: Windows per request, 1 to 64.
        overwrite: Make the store anew where there is one; the old one is kept aside until the new is whole.
    """

    raster: RasterRequest
    model: ModelChoice
    folder: Path | None
    stores_folder: Path
    shown_bands: tuple[int, ...] | None = None
    beside_raster: bool = True
    batch_size: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class EncodePlan:
    """What a job is about to do, before the first tile.

    Attributes:
        folder: The store.
        model_id: The model's name in the manifest.
        device: The device in words, as the engine told.
        precision: The precision that it chose.
        selected: Windows that were asked for.
        to_encode: Windows of these that the store lacks.
        bytes_needed: Disk space of these at most: windows without valid pixels need none.
        bytes_free: Free space where the store lies.
        is_new: Whether the store was made by this job.
    """

    folder: Path
    model_id: str
    device: str
    precision: str
    selected: int
    to_encode: int
    bytes_needed: int
    bytes_free: int
    is_new: bool

    @property
    def fits(self) -> bool:
        """Whether the disk has room for all of it."""
        return self.bytes_needed <= self.bytes_free


@dataclass(frozen=True)
class EncodeResult:
    """What a job did.

    Attributes:
        folder: The store.
        selected: Windows that were asked for.
        encoded: Windows that this job encoded.
        empty: Windows that it found without a valid pixel.
        failed: Windows that could not be encoded, with the reason in ``problems``.
        present: Windows that were asked for and that the store had already, or that
            another job of this process encoded meanwhile.
        left: Windows that were asked for and are still missing: the job was cancelled.
        seconds: Time from the first window to the last.
        store_counts: Windows of the whole store by state.
        is_partial: The store still lacks windows that it has been asked for, by this job or earlier ones.
        is_cancelled: The job was cancelled.
        problems: A sentence per window that failed, the first few of them.
        notes: What the engine did differently than asked, a sentence each.
    """

    folder: Path
    selected: int
    encoded: int
    empty: int
    failed: int
    present: int
    left: int
    seconds: float
    store_counts: Mapping[TileState, int]
    is_partial: bool
    is_cancelled: bool
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

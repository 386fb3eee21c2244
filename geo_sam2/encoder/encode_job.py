# SPDX-License-Identifier: GPL-3.0-or-later
"""Encodes what a store lacks of a raster: opens both, plans, runs, and says what it did.

Three steps, so that whoever asks can place an extent on the grid in between::

    with EncodeJob(request, engine, listener, is_cancelled) as job:
        grid = job.open()
        plan = job.plan(ring_on(grid))
        result = job.run()

Ignorant of QGIS: runs in Processing's thread, in a script and in a test alike.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from geo_sam2.encoder.encode_request import EncodePlan, EncodeRequest, EncodeResult
from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.encoder.store_turns import TURNS, StoreTurn
from geo_sam2.encoder.tile_pipeline import EngineTask, TilePipeline
from geo_sam2.encoder.waiting import IsCancelled, answer_of, check, in_background, result_of
from geo_sam2.encoder.window_selection import selected_windows
from geo_sam2.errors import CancelledError, CheckpointError, EncodeRequestError, StoreError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.grid import PixelGrid
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.store_aside import has_store
from geo_sam2.store_opening import store_for_encoding, undo_overwriting
from geo_sam2.store_place import default_store_folder

# A row of the index with its footprint.
_ROW_BYTES = 512
_TILE_HEADER_BYTES = 512


class JobListener(Protocol):
    """Who is told how a job goes; called on the thread that runs the job."""

    def step(self, text: str) -> None:
        """Something begins that takes a while and has no count."""

    def waiting(self, progress: EncodeProgress | None) -> None:
        """Another job of this process has the store; called again and again."""

    def planned(self, plan: EncodePlan) -> None:
        """The plan is made; encoding begins now."""

    def progressed(self, progress: EncodeProgress) -> None:
        """Windows were settled."""


class EncodeJob:
    """One encoding, used once, on one thread; a context manager that lets go of raster, store and turn.

    Args:
        request: What to do.
        engine: Who encodes.
        listener: Who is told.
        is_cancelled: Asked every tenth of a second.
    """

    def __init__(
        self, request: EncodeRequest, engine: EngineClient, listener: JobListener, is_cancelled: IsCancelled
    ) -> None:
        self._request = request
        self._engine = engine
        self._listener = listener
        self._is_cancelled = is_cancelled
        self._stack = contextlib.ExitStack()
        self._source: GdalRasterSource | None = None
        self._is_finished = False

    def __enter__(self) -> EncodeJob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    # First step

    def open(self) -> PixelGrid:
        """Open the raster and load the model, both at once.

        Returns:
            The grid on which ``plan`` wants an extent.

        Raises:
            CancelledError: The user cancelled.
            RasterReadError, GridError, StretchError: The raster cannot be encoded so.
            CheckpointError, DeviceError: The model cannot be used so.
            EngineError: The engine does not start.
        """
        check(self._is_cancelled)
        self._listener.step("Loading the model")
        model = self._request.model
        loading = self._engine.request({"type": "load_model", "model": model.fields()})
        raster = self._request.raster
        try:
            self._source = self._open_source(replace(raster, bands=raster.bands or self._request.shown_bands))
            self._stack.callback(self._close_source)
        except BaseException:
            loading.cancel_request()
            raise
        loaded = answer_of(loading, self._is_cancelled).fields
        self._model_info = ModelInfo.from_json(loaded.get("model_info"), "model_info")
        self._device, self._precision = str(loaded.get("device")), str(loaded.get("precision"))
        self._notes = [str(note) for note in loaded.get("notes") or []]
        if model.variant and self._model_info.architecture != model.variant:
            raise CheckpointError(
                f"{model.checkpoint.name} holds weights of the variant {self._model_info.architecture},"
                f" not of {model.variant}.",
                "Choose that model, or another file.",
            )
        return self._source.grid

    def _open_source(self, raster: RasterRequest) -> GdalRasterSource:
        """Open the raster on another thread: a file on the network may take longer than patience lasts."""
        opening = in_background(lambda: GdalRasterSource.open(raster), "raster opener")
        return result_of(opening, self._is_cancelled)

    # Second step

    def plan(self, ring_xy: np.ndarray | None = None) -> EncodePlan:
        """Open or make the store and find out what it lacks.

        Where another job of this process encodes into the same store, it is waited for first.

        Args:
            ring_xy: Outline of the extent, (n, 2) grid pixels; None for all of the raster.

        Raises:
            CancelledError: The user cancelled.
            GridError: The extent touches no window, or there are absurdly many.
            StoreMismatchError: The store was made from another raster or model.
            StoreLockedError: Another process writes to the store.
            StoreError: The store cannot be made or written.
        """
        windows = selected_windows(self._source.grid, ring_xy)
        folder = self._folder()
        self._turn = self._take_turn(folder)
        self._listener.step("Looking at the raster")
        if not self._request.overwrite:
            self._follow_store(folder)
        info = result_of(in_background(self._source.info, "raster sampler"), self._is_cancelled)
        check(self._is_cancelled)  # nothing is on the disk yet
        is_new = self._request.overwrite or not has_store(folder)
        store = store_for_encoding(folder, self._model_info, info, overwrite=self._request.overwrite)
        self._store = store
        self._stack.push(self._undo_if_replacing)  # after the writer is left
        self._write_decoder(store)
        self._writer = self._stack.enter_context(store.writer())
        self._windows = self._writer.add_pending(windows)
        self._selected = len(windows)
        bytes_needed = len(self._windows) * (_tile_bytes(self._model_info) + _ROW_BYTES)
        plan = EncodePlan(
            folder=folder,
            model_id=self._model_info.id,
            device=self._device,
            precision=self._precision,
            selected=self._selected,
            to_encode=len(self._windows),
            bytes_needed=bytes_needed,
            bytes_free=shutil.disk_usage(folder).free,
            is_new=is_new,
        )
        self._listener.planned(plan)
        return plan

    def _folder(self) -> Path:
        """Return the folder of the store, which may not exist yet.

        Raises:
            EncodeRequestError: A file is where the folder or one above it would be.
        """
        folder = self._request.folder
        if folder is None:
            source = self._request.raster.source
            with self._open_source(replace(self._request.raster, bands=None)) as unchosen:
                default_bands = unchosen.bands
            folder = default_store_folder(
                source if source.startswith("<") else source.partition("|")[0],  # without QGIS's options
                self._model_info.id,
                self._source.bands,
                default_bands,
                self._request.stores_folder,
                None if self._request.beside_raster else lambda _: False,
                self._request.raster.factor,
            )
        for place in (folder, *folder.parents):
            if place.is_file():
                raise EncodeRequestError(
                    f"A feature store is a folder, and {place} is a file.", "Choose another OUTPUT."
                )
        return folder

    def _take_turn(self, folder: Path) -> StoreTurn:
        turn = self._stack.enter_context(TURNS.join(folder))
        if self._request.overwrite and turn.is_taken:
            raise StoreError(
                f"The store {folder} is being encoded by another run in this QGIS.",
                "Cancel that run before the store is made anew.",
            )
        turn.take(self._is_cancelled, self._listener.waiting)
        self._stack.callback(turn.give_back)
        return turn

    def _follow_store(self, folder: Path) -> None:
        """Read the raster as a store that exists did, in bands and stretch that nobody chose otherwise."""
        if not has_store(folder):
            return
        made_from = FeatureStore.open(folder).manifest.source
        asked = self._request.raster
        bands = made_from.bands if asked.bands is None else asked.bands
        is_same_place = made_from.grid.difference_to(self._source.grid) is None
        if not is_same_place or (asked.bands is not None and asked.range is not None):
            return  # what differs is told by the comparison of store and raster
        stretch = made_from.stretch if asked.range is None and bands == made_from.bands else None
        self._close_source()
        self._source = self._open_source(replace(asked, bands=bands, stretch=stretch))

    def _undo_if_replacing(self, *_: object) -> bool:
        """Bring an old store back into its place unless the new one was finished."""
        if self._request.overwrite and not self._is_finished:
            undo_overwriting(self._store.folder)
        return False

    def _close_source(self) -> None:
        """Close the raster unless a reader owns it."""
        if self._source is not None:
            self._source.close()

    def _write_decoder(self, store: FeatureStore) -> None:
        """Put the decoder's weights into a store that is new, or whose making was killed before this."""
        if store.decoder_path.is_file():
            return
        fields = {
            "type": "write_decoder",
            "store": str(store.folder),
            "model": self._request.model.fields(),
        }
        answer_of(self._engine.request(fields), self._is_cancelled)

    # Third step

    def run(self) -> EncodeResult:
        """Encode what was planned; being cancelled is a result like others.

        Raises:
            StoreError: The disk is full or cannot be written.
            EngineDiedError: The engine ended; the same job again goes on.
            RasterReadError: Several windows in a row cannot be read.
        """
        task = EngineTask(
            self._engine,
            self._store.folder,
            self._request.model.fields(),
            self._request.batch_size,
            _tile_bytes(self._model_info),
        )
        pipeline = TilePipeline(task, self._writer, self._tell, self._is_cancelled)
        started_s = time.monotonic()
        is_cancelled = False
        if self._windows:
            self._tell(EncodeProgress(0, len(self._windows), None))
            source, self._source = self._source, None
            try:
                pipeline.run(source, self._windows)
            except CancelledError:
                is_cancelled = True
        self._is_finished = not is_cancelled
        tally = pipeline.tally
        return EncodeResult(
            folder=self._store.folder,
            selected=self._selected,
            encoded=tally.encoded,
            empty=tally.empty,
            failed=tally.failed,
            present=self._selected - len(self._windows),
            left=len(self._windows) - tally.settled,
            seconds=time.monotonic() - started_s,
            store_counts=self._writer.counts(),
            is_partial=not self._writer.is_complete,
            is_cancelled=is_cancelled,
            problems=tuple(tally.problems),
            notes=tuple(dict.fromkeys((*self._notes, *tally.notes))),
        )

    def _tell(self, progress: EncodeProgress) -> None:
        self._turn.progress = progress
        self._listener.progressed(progress)


def _tile_bytes(model: ModelInfo) -> int:
    """Return what a tile file takes: float16 features and a header."""
    shapes = model.feature_shapes
    values = sum(
        math.prod(shape) for shape in (shapes.image_embed, shapes.high_res_feats_0, shapes.high_res_feats_1)
    )
    return 2 * values + _TILE_HEADER_BYTES

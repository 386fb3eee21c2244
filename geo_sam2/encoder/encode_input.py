# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into an encode: the raster, opened, and the model, loaded by the engine.

Shared by the job over a list of windows and the live encoder. Ignorant of QGIS and of writing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geo_sam2.encoder.encode_request import EncodeRequest
from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.encoder.waiting import IsCancelled, answer_of, in_background, result_of
from geo_sam2.errors import CheckpointError, EncodeRequestError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.grid import PixelGrid
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_aside import has_store
from geo_sam2.store_place import default_store_folder


class EncodeInput:
    """The raster and the model of one request; for one thread, which has to call ``close``.

    Args:
        request: What to encode with what.
        is_cancelled: Asked every tenth of a second.

    Attributes:
        model_info: What the model is. This and the following are there after ``open``.
        device: On which the model runs, in words.
        precision: In which it runs.
        notes: What the engine does differently than asked, a sentence each.
    """

    model_info: ModelInfo
    device: str
    precision: str
    notes: list[str]

    def __init__(self, request: EncodeRequest, is_cancelled: IsCancelled) -> None:
        self._request = request
        self._is_cancelled = is_cancelled
        self._source: GdalRasterSource | None = None

    @property
    def source(self) -> GdalRasterSource:
        """The open raster; to be used until it is released."""
        assert self._source is not None  # noqa: S101  # open comes first
        return self._source

    def open(self, engine: EngineClient) -> PixelGrid:
        """Open the raster and load the model, both at once.

        Returns:
            The grid of the raster.

        Raises:
            CancelledError: The user cancelled.
            RasterReadError, GridError, StretchError: The raster cannot be encoded so.
            CheckpointError, DeviceError: The model cannot be used so.
            EngineError: The engine does not start.
        """
        model = self._request.model
        loading = engine.request({"type": "load_model", "model": model.fields()})
        raster = self._request.raster
        try:
            self._source = self._opened(replace(raster, bands=raster.bands or self._request.shown_bands))
        except BaseException:
            loading.cancel_request()
            raise
        loaded = answer_of(loading, self._is_cancelled).fields
        self.model_info = ModelInfo.from_json(loaded.get("model_info"), "model_info")
        self.device, self.precision = str(loaded.get("device")), str(loaded.get("precision"))
        self.notes = [str(note) for note in loaded.get("notes") or []]
        if model.variant and self.model_info.architecture != model.variant:
            raise CheckpointError(
                f"{model.checkpoint.name} holds weights of the variant {self.model_info.architecture},"
                f" not of {model.variant}.",
                "Choose that model, or another file.",
            )
        return self.source.grid

    def close(self) -> None:
        """Close the raster unless a reader owns it."""
        if self._source is not None:
            self._source.close()

    def release(self) -> GdalRasterSource:
        """Hand the raster over to a reader, who closes it."""
        source, self._source = self.source, None
        return source

    def folder(self) -> Path:
        """Return the folder of the store, which may not exist yet.

        Raises:
            CancelledError: The user cancelled.
            EncodeRequestError: A file is where the folder or one above it would be.
        """
        request = self._request
        folder = request.folder
        if folder is None:
            source = request.raster.source
            with self._opened(replace(request.raster, bands=None)) as unchosen:
                default_bands = unchosen.bands
            folder = default_store_folder(
                source if source.startswith("<") else source.partition("|")[0],  # without QGIS's options
                self.model_info.id,
                self.source.bands,
                default_bands,
                request.stores_folder,
                None if request.beside_raster else lambda _: False,
                request.raster.factor,
            )
        for place in (folder, *folder.parents):
            if place.is_file():
                raise EncodeRequestError(
                    f"A feature store is a folder, and {place} is a file.", "Choose another OUTPUT."
                )
        return folder

    def follow_store(self, folder: Path) -> None:
        """Read the raster as a store that exists did, in bands and stretch that nobody chose otherwise."""
        if not has_store(folder):
            return
        made_from = FeatureStore.open(folder).manifest.source
        asked = self._request.raster
        bands = made_from.bands if asked.bands is None else asked.bands
        is_same_place = made_from.grid.difference_to(self.source.grid) is None
        if not is_same_place or (asked.bands is not None and asked.range is not None):
            return  # what differs is told by the comparison of store and raster
        stretch = made_from.stretch if asked.range is None and bands == made_from.bands else None
        self.close()
        self._source = self._opened(replace(asked, bands=bands, stretch=stretch))

    def info(self, known: SourceInfo | None = None) -> SourceInfo:
        """Return what a store keeps of the raster; samples it unless it is known.

        Args:
            known: What was returned for the same request before. It is believed as long as the file
                has kept its size and time and the raster is read as it was then.

        Raises:
            CancelledError: The user cancelled.
            RasterReadError, StretchError: Sampling failed.
        """
        if known is not None and self._is_as_known(known):
            return known
        return result_of(in_background(self.source.info, "raster sampler"), self._is_cancelled)

    def _is_as_known(self, known: SourceInfo) -> bool:
        source = self.source
        has_changed = bool(known.size_bytes) and known.has_file_changed(known.path_absolute)
        return not has_changed and (known.grid, known.bands, known.nodata_rule, known.stretch) == (
            source.grid,
            source.bands,
            source.nodata_rule,
            source.stretch_if_known,
        )

    def _opened(self, raster: RasterRequest) -> GdalRasterSource:
        """Open the raster on another thread: a file on the network may take longer than patience lasts."""
        opening = in_background(lambda: GdalRasterSource.open(raster), "raster opener")
        return result_of(opening, self._is_cancelled)

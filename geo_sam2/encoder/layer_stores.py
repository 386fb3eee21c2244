# SPDX-License-Identifier: GPL-3.0-or-later
"""The feature stores of a raster layer, those that are there and those that could be made.

For a thread of its own: files are opened here, perhaps on a slow network, and GDAL is asked.
Works on what was copied of the layer; ignorant of QGIS and of the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geo_sam2.encoder.encode_request import EncodeRequest, ModelChoice
from geo_sam2.encoder.ground_resolution import ground_resolution_m, resolution_text
from geo_sam2.encoder.layer_facts import LayerFacts
from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import EncodeRequestError, GeoSam2Error, StoreError
from geo_sam2.feature_store import FeatureStore, TileIndex, TileState
from geo_sam2.grid import PixelGrid
from geo_sam2.model_info import FeatureShapes, ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_manifest import INDEX_NAME, inside
from geo_sam2.store_place import stores_for
from geo_sam2.tile_file import tile_bytes

FACTORS = (1, 2, 4)
# What every SAM 2 and SAM 2.1 model makes of a window, the demo model too (sam2.1_hiera_*.yaml).
_SAM2_SHAPES = FeatureShapes((256, 64, 64), (32, 256, 256), (64, 128, 128))
# Sides of pixels are the same up to rounding.
_SAME_SIDE = 1e-6


@dataclass(frozen=True)
class FoundStore:
    """A store that was made from a layer's raster.

    Attributes:
        folder: Where it is.
        uuid: Its own.
        model: Which model made it.
        source: What it was made from: grid, bands, stretch.
        factor: How many times larger than the raster's own its pixels are; None where its grid is
            another one altogether, in another CRS or resolution.
        gsd_m: Side of its pixels on the ground; None where that is not known.
        done: Tiles that can be decoded on.
        empty: Tiles without a valid pixel.
        failed: Tiles that could not be encoded.
        total: Tiles of the whole grid.
        is_partial: Tiles that were asked for are missing.
        problem: A sentence where the index cannot be read, so that the counts are 0; else empty.
    """

    folder: Path
    uuid: str
    model: ModelInfo
    source: SourceInfo
    factor: int | None
    gsd_m: float | None
    done: int
    empty: int
    failed: int
    total: int
    is_partial: bool
    problem: str = ""

    @property
    def model_id(self) -> str:
        """The model's name."""
        return self.model.id

    @property
    def gsd_text(self) -> str:
        """Ground resolution for people."""
        return resolution_text(self.gsd_m, self.factor)


@dataclass(frozen=True)
class ResolutionOffer:
    """A store that could be made of a layer.

    Attributes:
        factor: How many times the sides of the raster's own pixels.
        grid: The encoding grid, to be shown before anything is encoded.
        gsd_m: Side of a pixel on the ground; None where that is not known.
        tiles: Windows of the whole grid.
        bytes: What they take on disk at most.
        seconds: What encoding them takes; None where this computer has not encoded with the model yet.
    """

    factor: int
    grid: PixelGrid
    gsd_m: float | None
    tiles: int
    bytes: int
    seconds: float | None

    @property
    def gsd_text(self) -> str:
        """Ground resolution for people."""
        return resolution_text(self.gsd_m, self.factor)


def find_layer_stores(facts: LayerFacts, more_folders: Iterable[Path] = ()) -> list[FoundStore]:
    """Return the stores of a raster: beside it, and in the stores folder.

    Stores whose raster has kept place, size and time cost two small files each; only for others
    the raster's pixels are sampled, once for each grid and bands.

    Args:
        facts: Copied of the layer.
        more_folders: Other folders to look into.

    Returns:
        The one with most tiles first; nothing for a raster that cannot be opened.
    """
    try:
        native = layer_grid(facts)
    except GeoSam2Error:
        return []
    found = []
    for store in stores_for(
        facts.file,
        facts.stores_folder,
        lambda source: _fingerprint(facts, native, source),
        more_folders,
    ):
        # A file beside the raster, or QGIS, may have given it another place since.
        grid = store.manifest.source.grid
        is_size_of_raster = (grid.width, grid.height) == (native.width, native.height)
        if not is_size_of_raster or grid.difference_to(native) is None:
            found.append(_found(store, native))
    return sorted(found, key=lambda one: (-one.done, one.factor or max(FACTORS) + 1, str(one.folder)))


def layer_grid(facts: LayerFacts, factor: int = 1) -> PixelGrid:
    """Return the grid on which a layer is encoded; opens the raster, reads no pixels.

    Raises:
        RasterReadError: The raster cannot be opened, or has no CRS in which pixels could be larger.
    """
    with GdalRasterSource.open(RasterRequest(facts.source, factor=factor)) as source:
        return source.grid


def offers(
    facts: LayerFacts, tile_seconds: float | None, factors: Sequence[int] = FACTORS
) -> list[ResolutionOffer]:
    """Return what could be made of a layer, the raster's own resolution first.

    Args:
        facts: Copied of the layer.
        tile_seconds: What a tile takes with the model and device in question
            (``settings.tile_seconds``); None where that is not known.
        factors: How many times larger pixels are asked for.

    Returns:
        Those that are possible: a raster without CRS has its own resolution only.

    Raises:
        RasterReadError: The raster cannot be opened.
    """
    found = []
    for factor in factors:
        try:
            grid = layer_grid(facts, factor)
        except GeoSam2Error:
            if factor == 1:
                raise
            continue
        tiles = len(Tiling(grid.width, grid.height))
        found.append(
            ResolutionOffer(
                factor=factor,
                grid=grid,
                gsd_m=ground_resolution_m(grid),
                tiles=tiles,
                bytes=tiles * tile_bytes(_SAM2_SHAPES),
                seconds=None if tile_seconds is None else tiles * tile_seconds,
            )
        )
    return found


def store_encode_request(facts: LayerFacts, store: FoundStore, model: ModelChoice) -> EncodeRequest:
    """Return the request that goes on encoding a layer into a store that was found.

    Args:
        facts: Copied of the layer.
        store: One of its stores.
        model: The model that made it (``model_file.model_of_store``); another one is refused by the job.

    Raises:
        RasterReadError: The raster cannot be opened.
        EncodeRequestError: The store lies on a grid that the raster does not give any more.
    """
    request = _request_on(facts, layer_grid(facts), store.source)
    with GdalRasterSource.open(request) as source:
        difference = store.source.grid.difference_to(source.grid)
    if difference is not None:
        raise EncodeRequestError(
            f"No more tiles can be encoded into {store.folder}: its grid has {difference}.",
            "What is encoded can be used; make a new store for the rest.",
        )
    return EncodeRequest(
        raster=request,
        model=model,
        folder=store.folder,
        stores_folder=facts.stores_folder,
        shown_bands=facts.shown_bands,
        beside_raster=facts.beside_raster,
    )


def _request_on(facts: LayerFacts, native: PixelGrid, made_from: SourceInfo) -> RasterRequest:
    """Return how the raster has to be read to come to lie on a store's grid, in its bands and stretch."""
    grid, stretch = made_from.grid, made_from.stretch
    if grid.difference_to(native) is None:
        return RasterRequest(facts.source, made_from.bands, stretch=stretch)
    is_same_crs = grid.crs_authid == native.crs_authid and (grid.crs_authid or grid.crs_wkt == native.crs_wkt)
    crs = "" if is_same_crs else grid.crs_wkt
    return RasterRequest(facts.source, made_from.bands, crs, grid.pixel_size(), stretch=stretch)


def _fingerprint(facts: LayerFacts, native: PixelGrid, made_from: SourceInfo) -> str | None:
    """Return the raster's fingerprint as a store has it; None when the raster cannot be read as it was."""
    try:
        with GdalRasterSource.open(_request_on(facts, native, made_from)) as source:
            if source.grid.difference_to(made_from.grid) is not None:
                return None
            return source.fingerprint()
    except GeoSam2Error:
        return None


def _found(store: FeatureStore, native: PixelGrid) -> FoundStore:
    grid = store.manifest.source.grid
    counts, problem = dict.fromkeys(TileState, 0), ""
    try:
        # Not the store's own property: that would rebuild a lost index, which takes its time.
        counts = TileIndex(inside(store.folder, INDEX_NAME)).counts()
    except StoreError as error:
        problem = str(error)
    return FoundStore(
        folder=store.folder,
        uuid=store.manifest.uuid,
        model=store.manifest.model,
        source=store.manifest.source,
        factor=_factor(grid, native),
        gsd_m=ground_resolution_m(grid),
        done=counts[TileState.DONE],
        empty=counts[TileState.EMPTY],
        failed=counts[TileState.FAILED],
        total=len(store.tiling),
        is_partial=bool(problem or counts[TileState.PENDING] or counts[TileState.FAILED]),
        problem=problem,
    )


def _factor(grid: PixelGrid, native: PixelGrid) -> int | None:
    """Return how many times larger the pixels of a grid are than the raster's own; None for another CRS."""
    if grid.crs_authid != native.crs_authid or grid.has_crs != native.has_crs:
        return None
    ratios = [side / own for side, own in zip(grid.pixel_size(), native.pixel_size())]
    for factor in FACTORS:
        if all(abs(ratio / factor - 1) < _SAME_SIDE for ratio in ratios):
            return factor
    return None

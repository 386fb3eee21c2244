# SPDX-License-Identifier: GPL-3.0-or-later
"""A raster as the encoder sees it: a grid, and windows of it as 0–255 red, green and blue.

Joins what the modules beside it know: opening (``raster_open``), bands (``band_choice``,
``band_vrt``), place (``placement``), samples and stretch. Knows GDAL, not QGIS: a layer comes
as its source string, its renderer's bands and a CRS in WKT.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from geo_sam2.encoder.band_choice import choose_bands, compose_rgb
from geo_sam2.encoder.band_vrt import BandVrt, make_band_vrt
from geo_sam2.encoder.gdal_calls import ask
from geo_sam2.encoder.placement import place
from geo_sam2.encoder.raster_open import open_raster
from geo_sam2.encoder.raster_samples import FIRST_ROUND, ROUNDS, PixelBlock, sample_windows
from geo_sam2.encoder.stretch import Stretch
from geo_sam2.errors import RasterGoneError, RasterReadError, WindowError
from geo_sam2.source_info import SourceInfo, fingerprint_of
from geo_sam2.tile_window import TileWindow

# Percentiles of fewer valid pixels than this are looked for in more places.
_ENOUGH_VALID_PX = 20_000


@dataclass(frozen=True)
class RasterRequest:
    """What is to be read, and how.

    Attributes:
        source: What ``QgsRasterLayer.source()`` of a GDAL layer gives, or anything GDAL opens.
        bands: Counted from 1, one to three, in the order red, green, blue; None: see ``choose_bands``.
        target_crs_wkt: WKT (or a name such as ``EPSG:32612``) of the CRS to read in; empty for
            the raster's own.
        resolution: Side of a pixel, or (along x, along y), in units of the target CRS; None for
            one like the raster's own.
        range: The values that become 0 and 255, the same for every band; None for the stretch
            sampled from the raster, which is none for uint8.
        stretch: The stretch of an existing store, used as it is; ``range`` comes before it.
        factor: How many times the sides of the raster's own pixels the sides of a pixel are, 1 or
            more; with a ``resolution`` it has to be 1.

    Raises:
        RasterReadError: The factor is impossible.
    """

    source: str
    bands: tuple[int, ...] | None = None
    target_crs_wkt: str = ""
    resolution: float | tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    stretch: Stretch | None = None
    factor: int = 1

    def __post_init__(self) -> None:
        if self.factor < 1 or (self.factor != 1 and self.resolution is not None):
            raise RasterReadError(
                f"A factor of {self.factor} to the raster's own pixels is impossible here.",
                "Give a whole number above 0, or a resolution instead.",
            )


class GdalRasterSource:
    """An open raster. For one thread at a time; a context manager that closes it.

    Attributes:
        grid: The encoding grid.
        bands: The raster's bands that are read, counted from 1; a palette is one band.
        nodata_rule: Which pixels count as invalid, in words.
    """

    def __init__(self, request: RasterRequest, name: str, bands: tuple[int, ...], vrt: BandVrt) -> None:
        """Take what ``open`` has opened."""
        placed, self.grid = place(vrt.dataset, request.target_crs_wkt, request.resolution, request.factor)
        # In this order, because attributes go in the order in which they came: the warped dataset
        # reads from the other one.
        self._pixels: Any = BandVrt(placed, vrt.value_count, vrt.nodata_rule)
        self._vrt = vrt
        self._name = name
        self._was_file = _is_file(Path(name))
        self.bands = bands
        self.nodata_rule = vrt.nodata_rule
        self._stretch: Stretch | None = request.stretch
        if request.range is not None:
            self._stretch = Stretch.from_range(request.range, vrt.value_count)
        self._samples: list[PixelBlock] | None = None

    @classmethod
    def open(cls, request: RasterRequest) -> GdalRasterSource:
        """Open a raster; reads no pixels.

        Raises:
            RasterReadError: It cannot be opened, or not in the way asked for.
            GridError: The target CRS is none.
            StretchError: The range is empty.
        """
        raster = open_raster(request.source)
        bands = choose_bands(raster.dataset, request.bands)
        return cls(request, raster.name, bands, make_band_vrt(raster, bands))

    def __enter__(self) -> GdalRasterSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; reading afterwards is an error."""
        # GDAL closes a dataset when the last reference to it goes; the warped one first.
        self._pixels = None
        self._vrt = None  # type: ignore[assignment]

    @property
    def stretch(self) -> Stretch:
        """How values become 0–255; sampled at first use, within seconds on rasters of any size.

        Raises:
            StretchError: All values are the same, or none of the sampled pixels is valid.
            RasterReadError: Sampling failed.
        """
        if self._stretch is None:
            self._stretch = self._sampled_stretch()
        return self._stretch

    @property
    def stretch_if_known(self) -> Stretch | None:
        """The stretch, as far as no sampling is needed for it."""
        return self._stretch

    def read(self, window: TileWindow) -> np.ndarray | None:
        """Read a window.

        Args:
            window: Of level 0, inside the grid.

        Returns:
            (height, width, 3) uint8, contiguous, with the mean of the valid pixels where a pixel
            is invalid; None when none is valid.

        Raises:
            WindowError: The window is none of this grid.
            RasterReadError: The file is damaged.
            RasterGoneError: The file is no longer there.
            StretchError: See ``stretch``.
        """
        block = self.read_values(window)
        if not block.valid.any():
            return None
        is_whole = bool(block.valid.all())
        # NaN and the like must not reach the conversion to bytes; what they become is replaced below.
        values = block.values if is_whole else np.where(block.valid, block.values, block.values.dtype.type(0))
        image = compose_rgb(self.stretch.apply(values))
        if not is_whole:
            image[~block.valid] = np.rint(image[block.valid].mean(axis=0))
        return image

    def read_values(self, window: TileWindow) -> PixelBlock:
        """Read a window's values as they are in the raster, warped where that was asked for.

        Raises:
            WindowError: The window is none of this grid.
            RasterReadError: The file is damaged.
            RasterGoneError: The file is no longer there.
        """
        if (
            window.level != 0
            or window.xoff + window.width > self.grid.width
            or window.yoff + window.height > self.grid.height
        ):
            raise WindowError(
                f"{window} is no window of a raster of {self.grid.width} × {self.grid.height} pixels."
            )
        try:
            return _read_block(self._pixels, window)
        except RasterReadError as error:
            if self._was_file and not _is_file(Path(self._name)):
                raise RasterGoneError(
                    f"The raster {self._name} is no longer there.",
                    "Bring it back or connect its drive again; what is encoded already stays.",
                ) from error
            raise

    def fingerprint(self) -> str:
        """Return the digest that tells the raster from others (``fingerprint_of``); samples it.

        Raises:
            RasterReadError: Sampling failed.
        """
        blocks = [part for block in self._first_samples() for part in (*block.values, block.valid)]
        return fingerprint_of(self.grid, self.bands, map(np.ascontiguousarray, blocks))

    def info(self) -> SourceInfo:
        """Return what a store keeps of its source; samples the raster.

        Raises:
            RasterReadError: Sampling failed.
            StretchError: See ``stretch``.
        """
        size_bytes, modified, path = 0, 0.0, self._name
        file = Path(self._name)
        if _is_file(file):
            facts = file.stat()
            size_bytes, modified, path = facts.st_size, facts.st_mtime, str(file.absolute())
        return SourceInfo(
            path_absolute=path,
            path_relative="",
            size_bytes=size_bytes,
            modified=modified,
            fingerprint=self.fingerprint(),
            grid=self.grid,
            bands=self.bands,
            stretch=self.stretch,
            nodata_rule=self.nodata_rule,
        )

    def _first_samples(self) -> list[PixelBlock]:
        if self._samples is None:
            self._samples = self._read_samples(FIRST_ROUND)
        return self._samples

    def _read_samples(self, count: int) -> list[PixelBlock]:
        """Read the fixed cells of the raster itself, before any warping."""
        dataset = self._vrt.dataset
        windows = sample_windows(dataset.RasterXSize, dataset.RasterYSize, count)
        return [_read_block(self._vrt, window) for window in windows]

    def _sampled_stretch(self) -> Stretch:
        """Sample, in more places as long as hardly any pixel is valid (a narrow strip, a coast)."""
        samples = self._first_samples()
        if samples[0].values.dtype == np.uint8:
            return Stretch.none()
        for round_number in range(1, ROUNDS):
            if sum(int(block.valid.sum()) for block in samples) >= _ENOUGH_VALID_PX:
                break
            more = self._read_samples(FIRST_ROUND << round_number)
            if len(more) == len(samples):
                break
            samples = more
        values = [
            np.concatenate([block.values[band][block.valid] for block in samples])
            for band in range(self._vrt.value_count)
        ]
        return Stretch.from_samples(values)


def _read_block(vrt: BandVrt, window: TileWindow) -> PixelBlock:
    """Read values and validity of a window from a dataset of values and perhaps alpha."""
    arrays = [_read_band(vrt.dataset, band, window) for band in range(1, vrt.dataset.RasterCount + 1)]
    # Bands of different types meet in the type that holds both.
    values = np.stack(arrays[: vrt.value_count])
    shape = values.shape[1:]
    valid = arrays[-1] >= 128 if vrt.has_alpha else np.ones(shape, dtype=bool)
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(axis=0)
    return PixelBlock(values, valid)


def _read_band(dataset: Any, band: int, window: TileWindow) -> np.ndarray:
    array, message = ask(
        dataset.GetRasterBand(band).ReadAsArray, window.xoff, window.yoff, window.width, window.height
    )
    if array is None:
        reason = f" ({message.strip().rstrip('.')})" if message else ""
        raise RasterReadError(
            f"The pixels at column {window.xoff}, row {window.yoff} of the raster cannot be read{reason}.",
            "The file may be damaged, incomplete or no longer there; compare it with its original.",
        )
    return np.asarray(array)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that the system refuses as a path: the text of a VRT
        return False

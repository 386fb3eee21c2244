# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bands of a dataset become red, green and blue, and whether they can.

Owns the rules of DESIGN.md §5 about the number of bands: one is repeated, two become
[first, second, first], a palette is expanded. Reads no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from osgeo import gdal

from geo_sam2.errors import RasterReadError

MAX_BANDS = 3


def choose_bands(dataset: Any, bands: Sequence[int] | None) -> tuple[int, ...]:
    """Return the bands to read, counted from 1, in the order asked for.

    Args:
        dataset: ``gdal.Dataset``.
        bands: What was asked for; None means the first three that are no alpha band, and the
            first one alone where it has a palette or where there are two.

    Raises:
        RasterReadError: There is no such band, there are more than three, or one is complex.
    """
    count = dataset.RasterCount
    chosen = _default_bands(dataset) if bands is None else tuple(int(band) for band in bands)
    if not chosen:
        raise RasterReadError("No band was chosen.", f"Choose one to three of the bands 1 to {count}.")
    if len(chosen) > MAX_BANDS:
        raise RasterReadError(
            f"{len(chosen)} bands were chosen, and SAM 2 sees three: red, green and blue.",
            "Choose one to three bands.",
        )
    for band in chosen:
        if not 1 <= band <= count:
            raise RasterReadError(
                f"The raster has no band {band}.",
                "It has one band, number 1." if count == 1 else f"Its bands are 1 to {count}.",
            )
        data_type = dataset.GetRasterBand(band).DataType
        if gdal.DataTypeIsComplex(data_type):
            raise RasterReadError(
                f"Band {band} holds complex numbers ({gdal.GetDataTypeName(data_type)}),"
                " which have no single brightness.",
                "Make a raster of their intensity or phase first, for example with the raster calculator.",
            )
    return chosen


def has_palette(dataset: Any, bands: Sequence[int]) -> bool:
    """Say whether the bands are one whose values stand for colours."""
    if len(bands) != 1:
        return False
    band = dataset.GetRasterBand(bands[0])
    table = band.GetRasterColorTable()
    return bool(
        table is not None
        and table.GetCount() > 0
        and table.GetPaletteInterpretation() == gdal.GPI_RGB
        and band.GetRasterColorInterpretation() == gdal.GCI_PaletteIndex
        and band.DataType in (gdal.GDT_Byte, gdal.GDT_UInt16)
    )


def compose_rgb(values: np.ndarray) -> np.ndarray:
    """Return (rows, columns, 3) of (bands, rows, columns) with one, two or three bands."""
    order = {1: (0, 0, 0), 2: (0, 1, 0), 3: (0, 1, 2)}[len(values)]
    return np.stack([values[band] for band in order], axis=-1)


def alpha_band(dataset: Any) -> int | None:
    """Return the number of the alpha band, or None.

    GDAL takes only bands of 8 or 16 bit for masks: of others it is not known what is opaque.
    """
    for number in range(dataset.RasterCount, 0, -1):
        band = dataset.GetRasterBand(number)
        is_alpha = band.GetRasterColorInterpretation() == gdal.GCI_AlphaBand
        if is_alpha and band.DataType in (gdal.GDT_Byte, gdal.GDT_UInt16):
            return number
    return None


def _default_bands(dataset: Any) -> tuple[int, ...]:
    numbers = range(1, dataset.RasterCount + 1)
    colours = [
        number
        for number in numbers
        if dataset.GetRasterBand(number).GetRasterColorInterpretation() != gdal.GCI_AlphaBand
    ] or list(numbers)
    if has_palette(dataset, colours[:1]):
        return (colours[0],)
    return tuple(colours[:MAX_BANDS])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Large rasters to encode: real imagery repeated, and many bytes of 16-bit noise.

Runs on the engine's Python, which has rasterio; GDAL on the other side reads the files.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.transform import from_origin

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "yellowstone_meadow.tif"
WINDOW_PX = 1024
_GSD_M = 0.1


def write_mosaic(path: Path, columns: int, rows: int) -> None:
    """Write a VRT that repeats the example raster over a whole number of windows.

    Reading it costs what reading compressed imagery costs, and it takes no room on disk.
    """
    with rasterio.open(EXAMPLE) as example:
        width, height, crs = example.width, example.height, example.crs.to_wkt()
    right, bottom = columns * WINDOW_PX, rows * WINDOW_PX
    vrt = ElementTree.Element("VRTDataset", rasterXSize=str(right), rasterYSize=str(bottom))
    ElementTree.SubElement(vrt, "SRS").text = crs
    ElementTree.SubElement(vrt, "GeoTransform").text = f"528000, {_GSD_M}, 0, 4979000, 0, -{_GSD_M}"
    for band, colour in enumerate(("Red", "Green", "Blue"), start=1):
        raster_band = ElementTree.SubElement(vrt, "VRTRasterBand", dataType="Byte", band=str(band))
        ElementTree.SubElement(raster_band, "ColorInterp").text = colour
        for y in range(0, bottom, height):
            for x in range(0, right, width):
                source = ElementTree.SubElement(raster_band, "SimpleSource")
                ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(EXAMPLE)
                ElementTree.SubElement(source, "SourceBand").text = str(band)
                size = {"xSize": str(min(width, right - x)), "ySize": str(min(height, bottom - y))}
                ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", **size)
                ElementTree.SubElement(source, "DstRect", xOff=str(x), yOff=str(y), **size)
    ElementTree.ElementTree(vrt).write(path, encoding="utf-8")


def read_windows(path: Path) -> list[np.ndarray]:
    """Return all windows of a raster row by row, each (1024, 1024, 3) uint8."""
    with rasterio.open(path) as raster:
        windows = [
            rasterio.windows.Window(x, y, WINDOW_PX, WINDOW_PX)
            for y in range(0, raster.height, WINDOW_PX)
            for x in range(0, raster.width, WINDOW_PX)
        ]
        return [np.ascontiguousarray(raster.read(window=window).transpose(1, 2, 0)) for window in windows]


def write_16_bit(path: Path, side_px: int) -> None:
    """Write a square 16-bit raster as GDAL writes by default: strips, no compression, no overviews.

    Nothing of it stays in the system's file cache, so that reading it is reading the disk.
    """
    profile = {
        "driver": "GTiff",
        "width": side_px,
        "height": side_px,
        "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32612",
        "transform": from_origin(528000, 4979000, _GSD_M, _GSD_M),
    }
    rng = np.random.default_rng(0)
    rows = 1000
    with rasterio.open(path, "w", **profile) as raster:
        for top in range(0, side_px, rows):
            block = rng.integers(200, 4000, (min(rows, side_px - top), side_px), dtype=np.uint16)
            raster.write(block, 1, window=rasterio.windows.Window(0, top, side_px, len(block)))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)

# SPDX-License-Identifier: GPL-3.0-or-later
"""A large raster is sampled, never read whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from geo_sam2.encoder.raster_samples import CELL_HEIGHT
from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.encoder.stretch import Stretch
from geo_sam2.errors import StretchError
from geo_sam2.tile_window import TileWindow
from tests.qgis.rasters import make_raster

SIDE = 30_000
PLACE = {"geotransform": (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5), "epsg": 32612}


def bytes_read():
    """Return how many bytes this process has read from files so far, from the disk or its cache."""
    status = Path("/proc/self/io").read_text()
    return int(status.split("rchar: ")[1].split()[0])


@pytest.fixture
def large(tmp_path):
    """Path of 1.8 GB of 16-bit pixels, nearly all of them a hole in the file that reads as 0."""
    path = tmp_path / "large.dat"
    with path.open("wb") as file:
        file.truncate(SIDE * SIDE * 2)
    pixels = np.memmap(path, dtype=np.uint16, mode="r+", shape=(SIDE, SIDE))
    # A ramp in the first rows and in the last, so that samples have something to see.
    pixels[:CELL_HEIGHT] = pixels[-CELL_HEIGHT:] = np.arange(SIDE, dtype=np.uint16)
    del pixels
    header = f"""ENVI
samples = {SIDE}
lines = {SIDE}
bands = 1
header offset = 0
file type = ENVI Standard
data type = 12
interleave = bsq
byte order = 0
map info = {{UTM, 1, 1, 528000, 4978000, 0.5, 0.5, 12, North, WGS-84}}
"""
    path.with_suffix(".hdr").write_text(header)
    return str(path)


def test_stretch_and_fingerprint_read_a_small_part(large):
    before = bytes_read()
    with GdalRasterSource.open(RasterRequest(large)) as source:
        told = source.info()
        assert source.read(TileWindow(0, 0, 0, 1024, 1024)) is not None
    assert told.stretch.kind == "linear"
    assert told.stretch.maximum[0] > 20_000
    # 64 cells, of which a file in rows gives whole rows: 1024 rows of 60 kB, and those of a window.
    assert bytes_read() - before < 140e6


def test_coarse_target_does_not_make_the_samples_dear(large):
    """The samples come from the raster, not from its coarse picture, whose every pixel costs thousands."""
    with GdalRasterSource.open(RasterRequest(large)) as source:
        plain = source.info()
    before = bytes_read()
    with GdalRasterSource.open(RasterRequest(large, resolution=100.0)) as source:
        coarse = source.info()
        assert (source.grid.width, source.grid.height) == (150, 150)
    assert coarse.stretch == plain.stretch
    assert bytes_read() - before < 140e6


def test_narrow_strip_of_valid_pixels_is_found(tmp_path):
    """A flight strip: none of the first cells is in it."""
    values = np.zeros((4000, 4000), dtype=np.uint16)
    values[900:960] = np.arange(1000, 5000, dtype=np.uint16)
    path = make_raster(tmp_path / "strip.tif", values, nodata=0, options=["COMPRESS=DEFLATE"], **PLACE)
    with GdalRasterSource.open(RasterRequest(path)) as source:
        told = source.info()
    assert told.stretch.minimum[0] == pytest.approx(1080, abs=120)
    assert told.stretch.maximum[0] == pytest.approx(4920, abs=120)


def test_raster_without_valid_pixel_asks_for_a_range(tmp_path):
    values = np.zeros((3000, 3000), dtype=np.uint16)
    path = make_raster(tmp_path / "empty.tif", values, nodata=0, options=["COMPRESS=DEFLATE"], **PLACE)
    with GdalRasterSource.open(RasterRequest(path)) as source:
        assert source.read(TileWindow(0, 0, 0, 1024, 1024)) is None
        with pytest.raises(StretchError, match="No valid pixel") as caught:
            source.info()
    assert "range" in caught.value.hint
    with GdalRasterSource.open(RasterRequest(path, range=(0, 100))) as source:
        assert source.info().stretch == Stretch.from_range((0, 100), 1)


def test_same_raster_gives_the_same_samples(tmp_path):
    values = np.random.default_rng(2).normal(1000, 300, (2500, 3100)).astype(np.float32)
    path = make_raster(tmp_path / "r.tif", values, **PLACE)
    told = []
    for _ in range(2):
        with GdalRasterSource.open(RasterRequest(path)) as source:
            told.append(source.info())
    assert told[0] == told[1]
    low, high = np.percentile(values, (2, 98))
    assert told[0].stretch.minimum[0] == pytest.approx(low, abs=10)
    assert told[0].stretch.maximum[0] == pytest.approx(high, abs=10)


def test_sources_of_one_file_are_read_by_several_threads_at_once(tmp_path):
    """Opened on one thread, as a job does it, and read by one each."""
    values = np.random.default_rng(8).integers(0, 9999, (3, 1500, 1500), dtype=np.uint16)
    path = make_raster(tmp_path / "r.tif", values, options=["COMPRESS=LZW", "INTERLEAVE=PIXEL"], nodata=5)
    sources = [GdalRasterSource.open(RasterRequest(path)) for _ in range(4)]

    def read(numbered):
        number, source = numbered
        offsets = np.random.default_rng(number).integers(0, 1400, (60, 2))
        with source:
            blocks = [source.read_values(TileWindow(0, int(x), int(y), 100, 100)) for x, y in offsets]
        return all(
            np.array_equal(block.values, values[:, y : y + 100, x : x + 100])
            for block, (x, y) in zip(blocks, offsets)
        )

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, enumerate(sources))) == [True] * 4

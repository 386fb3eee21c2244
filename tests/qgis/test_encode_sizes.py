# SPDX-License-Identifier: GPL-3.0-or-later
"""Which windows a raster of any size becomes, and that each gets exactly its own pixels."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.feature_store import FeatureStore
from tests.qgis.encode_runs import SIDE, arrived, encode, noise, write_raster

SIZES = [(300, 300), (1024, 1024), (1025, 1025), (1023, 3000), (5000, 300), (1, 1), (4097, 2050)]


def offsets(size):
    """Return where windows begin along an axis: whole ones from 0, the last one shifted inward."""
    if size <= SIDE:
        return [0]
    begins = list(range(0, size - SIDE, SIDE))
    return [*begins, size - SIDE]


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_windows_cover_the_raster_and_hold_its_pixels(fake_engine, tmp_path, columns, rows):
    pixels = noise(columns, rows)
    raster = write_raster(tmp_path / "noise.tif", pixels)
    results, is_ok, _ = encode(raster, BATCH_SIZE=4)
    assert is_ok
    tiles = arrived(results["OUTPUT"])
    assert set(tiles) == {(x, y) for x in offsets(columns) for y in offsets(rows)}
    assert results["TILES"] == results["TILES_ENCODED"] == len(tiles)
    for (x, y), tile in tiles.items():
        wanted = pixels[:, y : y + SIDE, x : x + SIDE].transpose(1, 2, 0)
        np.testing.assert_array_equal(tile, wanted)
    covered = np.zeros((rows, columns), int)
    for (x, y), tile in tiles.items():
        covered[y : y + tile.shape[0], x : x + tile.shape[1]] += 1
    assert covered.min() == 1
    # Only the last column and row of windows may overlap what lies before them.
    regular = np.s_[: rows // SIDE * SIDE, : columns // SIDE * SIDE]
    last_x, last_y = offsets(columns)[-1], offsets(rows)[-1]
    overlapping = np.argwhere(covered[regular] > 1)
    assert all(column >= last_x or row >= last_y for row, column in overlapping)
    store = FeatureStore.open(tmp_path / "noise.demo.geosam2")
    assert not store.is_partial


def test_an_extent_selects_windows_of_the_same_grid(fake_engine, tmp_path):
    pixels = noise(3000, 2100)
    raster = write_raster(tmp_path / "noise.tif", pixels)
    # Columns 1500–1510 and rows 1000–1030 of the raster, in its own CRS, cutting across a seam.
    extent = f"{500000 + 3000},{500000 + 3020},{5000000 - 2060},{5000000 - 2000} [EPSG:32633]"
    results, is_ok, _ = encode(raster, EXTENT=extent)
    assert is_ok
    tiles = arrived(results["OUTPUT"])
    assert set(tiles) == {(1024, 0), (1024, 1024)}
    assert results["IS_PARTIAL"] is False
    np.testing.assert_array_equal(tiles[1024, 1024], pixels[:, 1024:2048, 1024:2048].transpose(1, 2, 0))
    again, _, _ = encode(raster)
    assert (again["TILES"], again["TILES_ENCODED"]) == (9, 7)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Rasters to encode, runs of the algorithm, and what arrived in the store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from qgis.core import QgsProcessingContext, QgsProcessingFeedback, QgsProject

from geo_sam2.encoder.encode_algorithm import EncodeAlgorithm
from geo_sam2.feature_store import FeatureStore, TileState
from tests.qgis.rasters import make_raster

SIDE = 1024
# Two metres a pixel, north-up.
SQUARE = (500000.0, 2.0, 0.0, 5000000.0, 0.0, -2.0)


class Feedback(QgsProcessingFeedback):
    """Keeps what it is told; may cancel when so much is done."""

    def __init__(self, cancel_at=None):
        super().__init__(False)
        self.lines, self.warnings, self.errors, self.percents = [], [], [], []
        self._cancel_at = cancel_at

    def pushInfo(self, info):
        self.lines.append(info)

    def pushWarning(self, warning):
        self.warnings.append(warning)

    def reportError(self, error, fatalError=False):  # noqa: N802, N803
        self.errors.append(error)

    def setProgress(self, progress):
        self.percents.append(progress)
        if self._cancel_at is not None and progress >= self._cancel_at:
            self.cancel()


def encode(raster, feedback=None, **parameters):
    """Run the algorithm as ``processing.run`` would.

    Returns:
        (results, whether it went well, feedback)
    """
    feedback = feedback or Feedback()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    values = {"INPUT": str(raster) if isinstance(raster, Path) else raster, "MODEL": "demo", **parameters}
    algorithm = EncodeAlgorithm().create()
    is_ok, text = algorithm.checkParameterValues(values, context)
    if not is_ok:
        feedback.reportError(text)
        return {}, False, feedback
    results, is_ok = algorithm.run(values, context, feedback)
    return results, is_ok, feedback


def refusal(raster, **parameters):
    """Return the sentence with which a run is refused."""
    _, is_ok, feedback = encode(raster, **parameters)
    assert not is_ok
    return feedback.errors[-1]


def write_raster(path, bands, geotransform=SQUARE, crs="EPSG:32633", **extras):
    """Write a GeoTIFF as ``rasters.make_raster`` does, somewhere in UTM zone 33 unless told otherwise."""
    epsg = int(crs.partition(":")[2]) if crs else None
    if "gcps" in extras:
        geotransform = None
    return Path(make_raster(path, bands, geotransform=geotransform, epsg=epsg, **extras))


def noise(columns, rows, bands=3, seed=0):
    """Return (bands, rows, columns) uint8 in which no two places look alike."""
    return np.random.default_rng(seed).integers(0, 256, (bands, rows, columns), np.uint8)


def arrived(folder):
    """Return what the fake engine was sent: {(xoff, yoff): (rows, columns, 3) uint8}."""
    store = FeatureStore.open(Path(folder))
    tiles = {}
    for record in store.index.records({TileState.DONE}):
        tiles[record.window.xoff, record.window.yoff] = tile_pixels(store, record)
    return tiles


def tile_pixels(store, record):
    """Return the pixels that the fake engine kept in a tile."""
    content = store.tile_path(record.file).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    kept = np.frombuffer(content, np.float16, 3 * SIDE * SIDE, start).reshape(3, SIDE, SIDE)
    return kept[:, : record.window.height, : record.window.width].transpose(1, 2, 0).astype(np.uint8)


def tile_features(folder):
    """Return what is in the tiles, without the store's name: {window: (state, bytes of the arrays)}."""
    store = FeatureStore.open(Path(folder))
    features = {}
    for record in store.index.records():
        content = store.tile_path(record.file).read_bytes() if record.file else b"\0" * 8
        features[record.window] = (record.state, content[8 + int.from_bytes(content[:8], "little") :])
    return features


def mosaic(folder):
    """Return (rows, columns, 3) float of the whole grid as it arrived, NaN where no tile is."""
    grid = FeatureStore.open(Path(folder)).manifest.source.grid
    image = np.full((grid.height, grid.width, 3), np.nan)
    for (x, y), pixels in arrived(folder).items():
        image[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    return image


def encoded_windows(journal):
    """Count how often each window was encoded: {(xoff, yoff): times}."""
    if not Path(journal).exists():
        return Counter()
    lines = Path(journal).read_text().splitlines()
    return Counter(tuple(map(int, line.split()[1:])) for line in lines if line.startswith("encode"))


def counts(folder):
    """Return the number of windows by state, those with any."""
    found = FeatureStore.open(Path(folder)).index.counts()
    return {state.value: number for state, number in found.items() if number}

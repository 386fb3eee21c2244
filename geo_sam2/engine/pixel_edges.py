# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow the pixel edges of a mask thresholded at pixel centres.

Owns upstream's binary mask of a window (bilinear full-size logits above a threshold) and its
outline along pixel edges. Ignorant of windows and models.
"""

from __future__ import annotations

import numpy as np
from rasterio.features import shapes
from rasterio.transform import Affine

from geo_sam2.engine.bilinear_contour import box_above
from geo_sam2.engine.outline_rings import Outlines, offsets_of


def trace_pixels(
    values: np.ndarray, x_positions: np.ndarray, y_positions: np.ndarray, threshold: float
) -> Outlines:
    """Outline the pixels whose centre lies above a threshold on a bilinear surface.

    Pixels belong together across their sides, not their corners (4-connectivity): a ring may then
    meet another one, or touch it at single vertices, and stays valid by OGC Simple Features. With
    8-connectivity exteriors would touch themselves, which is not.

    Args:
        values: (rows, columns) finite floats.
        x_positions: (columns,) strictly increasing positions in pixels; the first and the last are
            whole numbers, the edges of the pixels' extent.
        y_positions: (rows,) the same for rows.
        threshold: A number of the dtype of ``values``; a pixel equal to it is outside.

    Returns:
        Polygons whose vertices are pixel corners, oriented as ``Outlines`` says.
    """
    for positions in (x_positions, y_positions):
        if positions[0] != np.rint(positions[0]) or positions[-1] != np.rint(positions[-1]):
            raise ValueError("Pixel outlines need positions that begin and end on pixel edges.")
    box = box_above(values, threshold)
    if box is None:
        return Outlines.empty()
    rows, columns = box
    left, x_weights = _pixel_centres(x_positions, columns)
    top, y_weights = _pixel_centres(y_positions, rows)
    mask = interpolate(values, x_weights, y_weights) > threshold
    found = shapes(mask.view(np.uint8), mask=mask, connectivity=4, transform=Affine.translation(left, top))
    polygons = [geometry["coordinates"] for geometry, _ in found]
    if not polygons:
        return Outlines.empty()
    rings = [np.array(ring, np.float64) for polygon in polygons for ring in polygon]
    return Outlines(
        np.concatenate(rings),
        offsets_of([len(ring) for ring in rings]),
        offsets_of([len(polygon) for polygon in polygons]),
    ).oriented()


def interpolate(
    values: np.ndarray,
    x_weights: tuple[np.ndarray, np.ndarray],
    y_weights: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Evaluate the bilinear surface at the crossings of columns and rows that ``weights_at`` made.

    In the dtype of ``values`` and in the order of upstream's ``interpolate(mode="bilinear")``,
    along rows first, so that float32 logits give the very same signs.
    """
    column, right = x_weights
    row, lower = y_weights
    right, lower = right.astype(values.dtype), lower.astype(values.dtype)[:, None]
    # Only the rows that are needed: a mask is mostly smaller than its window.
    first, end = int(row[0]), int(row[-1]) + 2
    part, row = values[first:end], row - first
    along = part[:, column] * (1 - right) + part[:, column + 1] * right
    return along[row] * (1 - lower) + along[row + 1] * lower


def weights_at(positions: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each place, the index of the position before it and the share of the next one."""
    before = np.clip(np.searchsorted(positions, where, side="right") - 1, 0, len(positions) - 2)
    return before, (where - positions[before]) / (positions[before + 1] - positions[before])


def _pixel_centres(positions: np.ndarray, part: slice) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Return the outer edge of the first pixel and the weights of all pixel centres in a part."""
    low, high = positions[part][[0, -1]]
    first = np.floor(low)
    centres = np.arange(first, np.ceil(high)) + 0.5
    return float(first), weights_at(positions, centres)

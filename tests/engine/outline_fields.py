# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of mask logits with known shapes, and shapely's and torch's view of outlines, for tests."""

from __future__ import annotations

import numpy as np
import shapely
import torch
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

# Largest, equal, both oblong ways, odd, and far smaller than the logits.
WINDOWS = [(1024, 1024), (700, 900), (300, 1024), (1024, 300), (1024, 1), (5, 7), (1, 1)]


def sample_centres(grid):
    """Return x and y of every low-res logit, (256, 256) each, in window pixels, by their definition."""
    centres = (np.arange(256) + 0.5) * max(grid.width_px, grid.height_px) / 256
    return np.meshgrid(centres, centres)


def disc(grid, x_px, y_px, radius_px):
    x, y = sample_centres(grid)
    return (radius_px - np.hypot(x - x_px, y - y_px)).astype(np.float32)


def ring_with_hole(grid, x_px, y_px, inner_px, outer_px):
    x, y = sample_centres(grid)
    distance = np.hypot(x - x_px, y - y_px)
    return np.minimum(outer_px - distance, distance - inner_px).astype(np.float32)


def noise(seed, blur=0.0, size=256):
    """Random logits of standard deviation 5; a blur in samples makes blobs of them."""
    field = np.random.default_rng(seed).standard_normal((size, size))
    if blur:
        field = gaussian_filter(field, blur)
    return (5.0 * field / field.std()).astype(np.float32)


def object_mask(seed, radius=35.0, blur=3.0):
    """Logits of one ragged object, as a decoder gives them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:256, :256]
    row, column = rng.uniform(60, 196, 2)
    return (radius - np.hypot(rows - row, columns - column) + 2.0 * noise(seed, blur)).astype(np.float32)


def full_size_logits(logits, grid, per_pixel=1):
    """Return upstream's logits at the pixels of the window (``SAM2Transforms.postprocess_masks``)."""
    side = max(grid.width_px, grid.height_px) * per_pixel
    full = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], (side, side), mode="bilinear", align_corners=False
    )
    return full[0, 0, : grid.height_px * per_pixel, : grid.width_px * per_pixel].numpy()


def to_shapely(outlines):
    return shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in outlines.polygons()])


def burnt(outlines, grid):
    """Return the pixels whose centre lies in the outlines: (height, width) bool."""
    if not len(outlines):
        return np.zeros((grid.height_px, grid.width_px), bool)
    return rasterize([to_shapely(outlines)], (grid.height_px, grid.width_px)).astype(bool)


def assert_sound(outlines, grid=None):
    """Check what holds of all outlines: closed, distinct vertices, area, valid, order of rings."""
    for rings in outlines.polygons():
        for index, ring in enumerate(rings):
            assert np.array_equal(ring[0], ring[-1])
            assert len(ring) >= 4
            assert (np.diff(ring, axis=0) != 0).any(axis=1).all()
            # Seen with y upwards, as on a map, exteriors run counter-clockwise.
            on_map = shapely.LinearRing(ring * (1, -1))
            assert on_map.is_ccw == (index == 0)
            assert shapely.Polygon(ring).area > 0
    shape = to_shapely(outlines)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    np.testing.assert_allclose(outlines.area_px2, [part.area for part in shape.geoms], rtol=1e-9, atol=1e-9)
    if grid is not None and len(outlines):
        assert outlines.points_xy.min() >= 0
        assert outlines.points_xy[:, 0].max() <= grid.width_px
        assert outlines.points_xy[:, 1].max() <= grid.height_px

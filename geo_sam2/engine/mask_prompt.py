# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygons as a mask prompt: the logits that SAM 2 is given for a mask that somebody drew.

Owns the exact area of polygons on each sample of the low-res logits, and what logit an area
becomes. Ignorant of steps, stores and torch.
"""

from __future__ import annotations

import numpy as np

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.ring_clip import clip_to_rectangle
from geo_sam2.errors import PromptError

# SAM 2's own rule for a mask that is given instead of found: 20 · share − 10, that is ±10 inside and
# outside, well within the ±32 of logits that are fed back, and 0 where the edge cuts a sample in half
# (sam2_base.SAM2Base._use_mask_as_output, which shrinks a mask of ±10 by averaging).
INSIDE_LOGIT = 10.0
OUTSIDE_LOGIT = -10.0


def mask_logits(outlines: Outlines, grid: LogitGrid) -> np.ndarray:
    """Return polygons as logits, (low_res, low_res) float32.

    Args:
        outlines: Polygons in pixels of the window; what lies outside of it does not count.
        grid: The window.

    Raises:
        PromptError: No polygon covers any of the window.
    """
    shares = covered_shares(outlines, grid)
    if not shares.any():
        raise PromptError(
            "The polygons of a mask prompt cover nothing of its window of"
            f" {grid.width_px} × {grid.height_px} pixels."
        )
    return (OUTSIDE_LOGIT + (INSIDE_LOGIT - OUTSIDE_LOGIT) * shares).astype(np.float32)


def covered_shares(outlines: Outlines, grid: LogitGrid) -> np.ndarray:
    """Return how much of the ground of each sample polygons cover, 0 to 1: (low_res, low_res) float64.

    Sample (row, column) stands for the square from ``column · pitch_px`` to ``(column + 1) ·
    pitch_px``, so that its centre is where ``LogitGrid`` has it, and likewise for rows. Areas are
    exact. Ground that polygons share counts once where they cover it whole. Rings may run either
    way round but should not cross themselves; parts that run against the rest of a ring that
    does are left out.

    Args:
        outlines: Polygons in pixels of the window; what lies outside of it does not count.
        grid: The window.
    """
    bounds = (0.0, 0.0, float(grid.width_px), float(grid.height_px))
    inside = clip_to_rectangle(outlines, bounds).oriented()
    samples_xy = np.clip(inside.points_xy / grid.pitch_px, 0.0, grid.low_res)
    within_ring = inside.ring_of_point[:-1] == inside.ring_of_point[1:]
    starts, ends = samples_xy[:-1][within_ring], samples_xy[1:][within_ring]
    # Exteriors run down on their left side and up on their right: the first opens, the second closes.
    sign = np.sign(ends[:, 1] - starts[:, 1])
    upper = np.where(sign[:, None] > 0, starts, ends)
    lower = np.where(sign[:, None] > 0, ends, starts)
    change = _changes_along_rows(upper[sign != 0], lower[sign != 0], sign[sign != 0], grid.low_res)
    return change.cumsum(axis=1)[:, : grid.low_res].clip(0.0, 1.0)


def _changes_along_rows(upper: np.ndarray, lower: np.ndarray, sign: np.ndarray, side: int) -> np.ndarray:
    """Return by how much the covered share changes from each sample to the next: (side, side + 2).

    Each edge opens (sign 1) or closes (−1) all the ground to its right. Cut where it passes from
    one sample to another, a piece that is ``height`` high covers ``height · (right side − mean x)`` of
    its own sample and ``height`` of all further ones of the row.

    Args:
        upper: Upper ends of edges that are not level, (n, 2) in samples.
        lower: Lower ends.
        sign: (n,)
        side: Samples along a row, and rows.
    """
    # Cut at rows …
    edge, row = _cells_between(upper[:, 1], lower[:, 1])
    slope = ((lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1]))[edge]
    top, bottom = np.maximum(upper[edge, 1], row), np.minimum(lower[edge, 1], row + 1)
    x_bounds = np.sort((upper[edge, 0], lower[edge, 0]), axis=0)
    x_top, x_bottom = (
        np.clip(upper[edge, 0] + slope * (y - upper[edge, 1]), *x_bounds) for y in (top, bottom)
    )
    height = sign[edge] * (bottom - top)
    # … then at columns.
    left, right = np.minimum(x_top, x_bottom), np.maximum(x_top, x_bottom)
    piece, column = _cells_between(left, right)
    x_left, x_right = np.maximum(left[piece], column), np.minimum(right[piece], column + 1)
    width = (right - left)[piece]
    share = np.divide(x_right - x_left, width, out=np.ones(len(piece)), where=width > 0)
    height, row = height[piece] * share, row[piece]
    beyond = 0.5 * (x_left + x_right) - column
    cells = (side + 2) * row + column
    change = np.bincount(cells, height * (1.0 - beyond), side * (side + 2))
    change += np.bincount(cells + 1, height * beyond, side * (side + 2))
    return change.reshape(side, side + 2)


def _cells_between(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which unit cells intervals lie in: indices of intervals, and of their cells, one at least."""
    first = np.floor(low).astype(np.int64)
    counts = np.maximum(np.ceil(high).astype(np.int64) - first, 1)
    interval = np.repeat(np.arange(len(low)), counts)
    before = np.cumsum(counts) - counts
    return interval, first[interval] + np.arange(len(interval)) - before[interval]

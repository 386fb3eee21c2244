# SPDX-License-Identifier: GPL-3.0-or-later
"""From low-res mask logits to polygons.

Owns what may be asked of an outline and the order in which it is done: trace, fill holes, drop
small parts, keep the largest, simplify. Where the logits lie is the business of ``logit_grid``;
ignorant of prompts, stores and torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geo_sam2.engine.bilinear_contour import trace_surface
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.outline_parts import chosen_parts
from geo_sam2.engine.outline_rings import Outlines, without_collinear_points
from geo_sam2.engine.pixel_edges import trace_pixels
from geo_sam2.engine.ring_simplify import simplify_rings
from geo_sam2.errors import FeatureValueError, OutlineOptionsError

STYLES = ("smooth", "pixel")
# Far beyond every logit of a mask decoder, and far from the ends of float32.
MAX_THRESHOLD = 1e6


@dataclass(frozen=True)
class OutlineOptions:
    """What an outline should look like.

    Attributes:
        style: "smooth" follows the logits below the size of a pixel; "pixel" follows the edges of
            the pixels of upstream's binary mask.
        threshold: Logit above which the surface is object; 0 in upstream.
        simplify_px: Largest distance by which simplification may move a smooth outline; 0 leaves it
            as traced.
        min_area_px2: Parts with less area (holes taken off, after filling) are dropped.
        max_hole_px2: Holes up to this area are filled, with whatever lies in them; 0 fills none.
        largest_only: Keep the part with the largest area alone.
    """

    style: str = "smooth"
    threshold: float = 0.0
    simplify_px: float = 0.0
    min_area_px2: float = 0.0
    max_hole_px2: float = 0.0
    largest_only: bool = False

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise OutlineOptionsError(
                f"The outline style must be one of {', '.join(STYLES)}, not {self.style!r}."
            )
        for name in ("threshold", "simplify_px", "min_area_px2", "max_hole_px2"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                raise OutlineOptionsError(f"{name} must be a finite number, not {value!r}.")
            if value < 0 and name != "threshold":
                raise OutlineOptionsError(f"{name} must not be negative, but is {value}.")
        if abs(self.threshold) > MAX_THRESHOLD:
            raise OutlineOptionsError(f"threshold must lie within ±{MAX_THRESHOLD}, but is {self.threshold}.")
        if not isinstance(self.largest_only, (bool, np.bool_)):
            raise OutlineOptionsError(f"largest_only must be true or false, not {self.largest_only!r}.")
        if self.style == "pixel" and self.simplify_px > 0:
            raise OutlineOptionsError(
                "An outline cannot both follow pixel edges and be simplified.",
                "Choose the smooth style, or a simplification of 0.",
            )


def outline_logits(logits: np.ndarray, grid: LogitGrid, options: OutlineOptions | None = None) -> Outlines:
    """Turn the low-res mask logits of a window into polygons in window pixels.

    Args:
        logits: (rows, columns) float32 as the mask decoder returns them, or the first rows and
            columns of them that cover the window (see ``LogitGrid.lattice``).
        grid: The window and how it maps to the logits.
        options: The outline's style; the defaults when left out.

    Raises:
        WindowError: The array does not fit the window.
        FeatureValueError: The logits hold NaN or infinite values.
    """
    return trace(*grid.lattice(logits), options)


def trace(
    values: np.ndarray,
    x_positions: np.ndarray,
    y_positions: np.ndarray,
    options: OutlineOptions | None = None,
) -> Outlines:
    """Turn a bilinear surface of mask logits over any lattice into polygons.

    Where the mask reaches the lattice's outer rectangle, outlines are closed along it with exact
    coordinates, and simplification leaves their points there alone: neighbouring tiles join.

    Args:
        values: (rows, columns) float32 or float64 logits.
        x_positions: (columns,) strictly increasing positions of the columns in pixels, at least two.
        y_positions: (rows,) the same for the rows.
        options: The outline's style; the defaults when left out.

    Raises:
        FeatureValueError: The logits hold NaN or infinite values.
        ValueError: Values of another dtype, or positions that do not fit them or do not increase.
    """
    options = options or OutlineOptions()
    _check_lattice(values, x_positions, y_positions)
    # Compared as upstream compares: in the precision of the logits.
    threshold = float(values.dtype.type(options.threshold))
    if options.style == "pixel":
        outlines = trace_pixels(values, x_positions, y_positions, threshold)
    else:
        outlines = without_collinear_points(trace_surface(values, x_positions, y_positions, threshold))
    outlines = chosen_parts(
        outlines,
        max_hole_px2=options.max_hole_px2,
        min_area_px2=options.min_area_px2,
        largest_only=options.largest_only,
    )
    if options.simplify_px > 0:
        x, y = outlines.points_xy.T
        on_edge = np.isin(x, x_positions[[0, -1]]) | np.isin(y, y_positions[[0, -1]])
        outlines = simplify_rings(outlines, options.simplify_px, on_edge)
    return outlines


def _check_lattice(values: np.ndarray, x_positions: np.ndarray, y_positions: np.ndarray) -> None:
    if values.dtype not in (np.float32, np.float64):
        raise ValueError(f"Values must be float32 or float64, not {values.dtype}.")
    if values.ndim != 2 or values.shape != (len(y_positions), len(x_positions)) or min(values.shape) < 2:
        raise ValueError(
            f"Values {values.shape} do not fit {len(y_positions)} rows and {len(x_positions)} columns."
        )
    for positions in (x_positions, y_positions):
        if not (np.isfinite(positions).all() and (np.diff(positions) > 0).all()):
            raise ValueError("Positions must be finite and strictly increasing.")
    if not np.isfinite(values).all():
        raise FeatureValueError("The mask logits hold NaN or infinite values.")

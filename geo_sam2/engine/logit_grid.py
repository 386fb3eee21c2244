# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the samples of a window's low-res mask logits lie, in window pixels.

Owns the half-pixel arithmetic between a window and the square that the model sees, and
the clipping of the logits at the window's edge. Ignorant of masks, thresholds and torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from geo_sam2.errors import WindowError


@dataclass(frozen=True)
class LogitGrid:
    """How a window of pixels maps to the model's square input and to its low-res logits.

    The window's longer side becomes ``image_size`` model pixels; the shorter one is scaled
    by the same factor and padded at its right or bottom. The low-res logits divide that
    square into ``low_res`` × ``low_res`` samples, each at the centre of its share
    (``align_corners=False``).

    Attributes:
        width_px: Width of the window in grid pixels.
        height_px: Height of the window in grid pixels.
        image_size: Side of the model's input in model pixels.
        low_res: Samples of the mask logits along one side of the model's input.
    """

    width_px: int
    height_px: int
    image_size: int = 1024
    low_res: int = 256

    def __post_init__(self) -> None:
        for name in ("width_px", "height_px", "image_size", "low_res"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise WindowError(f"{name} must be a whole number of at least 1, not {value!r}.")

    @property
    def longer_side_px(self) -> int:
        """The window's longer side: what the model's square input covers, in grid pixels."""
        return max(self.width_px, self.height_px)

    @property
    def model_scale(self) -> float:
        """Model pixels per grid pixel; ``x_model = x · model_scale``, corner to corner."""
        return self.image_size / self.longer_side_px

    @property
    def pitch_px(self) -> float:
        """Distance between two neighbouring logits, in grid pixels."""
        return self.longer_side_px / self.low_res

    @property
    def valid_shape(self) -> tuple[int, int]:
        """How many (rows, columns) of the logits cover the window; the last may be cut by its edge."""
        return self._covering_samples(self.height_px), self._covering_samples(self.width_px)

    def sample_positions(self, side_px: int) -> np.ndarray:
        """Return where the lattice of one axis lies: 0, the samples strictly inside, ``side_px``."""
        # A sample nearer to the edge than rounding can tell is the edge itself.
        inside = math.ceil(side_px / self.pitch_px - 0.5 - 1e-9)
        centres = (np.arange(inside) + 0.5) * self.pitch_px
        return np.concatenate(([0.0], centres, [float(side_px)]))

    def lattice(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Clip logits to the window and close them at its edges.

        At 0, and at the far edge where no sample lies beyond it, the outermost sample is
        repeated; where the far edge falls between two samples (a padded side) the value on it
        is interpolated. The bilinear surface over the lattice is therefore upstream's full-size
        logits, cropped to the window, including the clamping at the border.

        Args:
            logits: (rows, columns) float32 or float64, the whole low-res array or its first rows and
                columns, at least ``valid_shape``; a sample beyond the edge that is not there
                is taken as equal to the last one.

        Returns:
            Values (rows, columns) in the dtype of ``logits``; x positions of the columns;
            y positions of the rows, in window pixels, both strictly increasing.

        Raises:
            WindowError: The array is not two-dimensional floats of a fitting shape.
        """
        rows, columns = self.valid_shape
        if logits.ndim != 2 or logits.dtype not in (np.float32, np.float64):
            raise WindowError(
                f"Mask logits must be a two-dimensional float32 array, not {logits.dtype} {logits.shape}."
            )
        if not (rows <= logits.shape[0] <= self.low_res and columns <= logits.shape[1] <= self.low_res):
            raise WindowError(
                f"A window of {self.height_px} rows and {self.width_px} columns needs {rows} × {columns} "
                f"to {self.low_res} × {self.low_res} mask logits, not {logits.shape[0]} × {logits.shape[1]}."
            )
        x_positions = self.sample_positions(self.width_px)
        y_positions = self.sample_positions(self.height_px)
        values = self._close_rows(logits, self.height_px, len(y_positions))
        values = self._close_rows(values.T, self.width_px, len(x_positions)).T
        return np.ascontiguousarray(values), x_positions, y_positions

    def _covering_samples(self, side_px: int) -> int:
        return math.ceil(side_px / self.pitch_px - 1e-9)

    def _close_rows(self, values: np.ndarray, side_px: int, count: int) -> np.ndarray:
        inside = count - 2
        last = max(inside - 1, 0)
        beyond = min(last + 1, len(values) - 1)
        # One half-sample shorter than a sample pitch (1 × 1024 pixels): the edge lies before sample 0.
        share = min(max(side_px / self.pitch_px - 0.5 - last, 0.0), 1.0)
        far_edge = values[last] + (values[beyond] - values[last]) * values.dtype.type(share)
        return np.concatenate((values[:1], values[:inside], far_edge[None]))

# SPDX-License-Identifier: GPL-3.0-or-later
"""From a window of pixels to the square that SAM 2 sees, and prompts into the same frame.

The only place that knows how a window lies in the model's image: its longer side is scaled
to ``image_size`` (never squeezed), the rest is padded at the right or bottom. ``LogitGrid``
maps the answer back with the same numbers.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.errors import PromptError, WindowError

# Normalisation of SAM 2 (sam2.utils.transforms.SAM2Transforms), the statistics of ImageNet.
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def check_window(image_hwc: np.ndarray, image_size: int) -> None:
    """Raise WindowError unless the array is uint8 (height, width, 3) with sides from 1 to image_size."""
    if image_hwc.dtype != np.uint8:
        raise WindowError(f"A window must be of dtype uint8, not {image_hwc.dtype}.", "Stretch it to 0–255.")
    if image_hwc.ndim != 3 or image_hwc.shape[2] != 3:
        raise WindowError(
            f"A window must have the shape (height, width, 3), not {image_hwc.shape}.",
            "Repeat a single band three times.",
        )
    height, width, _ = image_hwc.shape
    if not (1 <= height <= image_size and 1 <= width <= image_size):
        raise WindowError(
            f"A window must have sides from 1 to {image_size} pixels, not {width} × {height}.",
            "Read larger windows at a coarser level.",
        )


def model_image(image_hwc: np.ndarray, image_size: int, device: torch.device) -> Tensor:
    """Return the normalised square of a window, as upstream's predictor makes it of a whole image.

    Args:
        image_hwc: (height, width, 3) uint8.
        image_size: Side of the model's image in pixels.
        device: Where to put it.

    Returns:
        (1, 3, image_size, image_size) float32. What the window does not cover has the
        window's mean colour.

    Raises:
        WindowError: The array is no such window.
    """
    check_window(image_hwc, image_size)
    height, width, _ = image_hwc.shape
    pixels = torch.from_numpy(np.ascontiguousarray(image_hwc)).to(device).permute(2, 0, 1)[None].float()
    pixels = pixels.div_(255)
    if max(height, width) != image_size:
        scale = image_size / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        # Upstream resizes with antialiasing, which changes nothing where an image grows.
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    rows, cols = pixels.shape[2:]
    if rows != image_size or cols != image_size:
        square = pixels.mean(dim=(2, 3), keepdim=True).expand(1, 3, image_size, image_size).clone()
        square[:, :, :rows, :cols] = pixels
        pixels = square
    mean = torch.tensor(PIXEL_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=device).view(1, 3, 1, 1)
    return pixels.sub_(mean).div_(std)


def model_coordinates(points_xy: np.ndarray, grid: LogitGrid) -> np.ndarray:
    """Convert window coordinates into the pixel indices that SAM 2's prompt encoder expects.

    Ours have (0, 0) at the outer corner of the first pixel; upstream's count pixel centres,
    and the prompt encoder adds 0.5 *model* pixels itself. This is the one place that knows.

    Args:
        points_xy: (…, 2) float, x right, y down, in pixels of the window.
        grid: The window.

    Raises:
        PromptError: A coordinate is NaN, infinite or outside the window.
    """
    if not np.isfinite(points_xy).all():
        raise PromptError("A prompt has coordinates that are not numbers.")
    inside = (points_xy >= 0) & (points_xy <= (grid.width_px, grid.height_px))
    if not inside.all():
        x, y = points_xy[~inside.all(axis=-1)][0]
        raise PromptError(
            f"A prompt at ({x:g}, {y:g}) lies outside its window of "
            f"{grid.width_px} × {grid.height_px} pixels."
        )
    return points_xy * grid.model_scale - 0.5

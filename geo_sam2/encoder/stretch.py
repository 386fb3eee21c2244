# SPDX-License-Identifier: GPL-3.0-or-later
"""From pixel values of any type to the 0–255 that SAM 2 sees.

Pure arithmetic on arrays of bands. Where samples come from and which pixels are valid is the
business of the raster source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geo_sam2.errors import StretchError
from geo_sam2.json_record import JsonRecord

# Of the valid pixels: what QGIS's cumulative cut takes by default as well.
DEFAULT_PERCENT = (2.0, 98.0)

NONE = "none"
LINEAR = "linear"

_GIVE_RANGE = "Give the range of values that is to become 0–255."


@dataclass(frozen=True)
class Stretch(JsonRecord):
    """How pixel values become 0–255, band by band.

    Attributes:
        kind: ``none`` for uint8 values that pass unchanged, ``linear`` else.
        minimum: Per band, the value that becomes 0; empty for ``none``.
        maximum: Per band, the value that becomes 255. Equal to the minimum in a band that is
            constant where others are not; such a band becomes 0.

    Raises:
        StretchError: The fields contradict each other.
    """

    kind: str
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in (NONE, LINEAR):
            raise StretchError(f"“{self.kind}” is no kind of stretch.")
        if len(self.minimum) != len(self.maximum) or bool(self.minimum) != (self.kind == LINEAR):
            raise StretchError(
                f"A {self.kind} stretch with {len(self.minimum)} minima and {len(self.maximum)} maxima."
            )
        if not all(low <= high for low, high in zip(self.minimum, self.maximum)):
            raise StretchError(f"A stretch from {self.minimum} to {self.maximum}.")

    @classmethod
    def none(cls) -> Stretch:
        """Return the stretch that leaves uint8 values as they are."""
        return cls(NONE, (), ())

    @classmethod
    def from_range(cls, value_range: tuple[float, float], band_count: int) -> Stretch:
        """Return the stretch of a range that somebody chose, the same for every band.

        Raises:
            StretchError: The range is empty, upside down or not finite.
        """
        low, high = float(value_range[0]), float(value_range[1])
        if not (math.isfinite(low) and math.isfinite(high)):
            raise StretchError(f"The range from {low:g} to {high:g} has no end.", "Give two numbers.")
        if low >= high:
            raise StretchError(
                f"The range from {low:g} to {high:g} is empty: its minimum must be below its maximum.",
                "Give the smaller value first.",
            )
        return cls(LINEAR, (low,) * band_count, (high,) * band_count)

    @classmethod
    def from_samples(
        cls, samples: Sequence[np.ndarray], percent: tuple[float, float] = DEFAULT_PERCENT
    ) -> Stretch:
        """Return the stretch between two percentiles of each band.

        Where the percentiles coincide but the values differ (a mask, a sparse class), minimum
        and maximum take their place.

        Args:
            samples: Per band the valid values, (n,) of any real type, finite.
            percent: Between 0 and 100.

        Raises:
            StretchError: There are no values, or all values of each band are the same.
        """
        limits = [_limits(values, percent) for values in samples]
        if all(low == high for low, high in limits):
            value = ", ".join(f"{low:g}" for low, _ in limits)
            raise StretchError(
                f"The image is constant: every pixel that was looked at has the value {value}.", _GIVE_RANGE
            )
        return cls(LINEAR, tuple(low for low, _ in limits), tuple(high for _, high in limits))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Bring values to 0–255.

        Args:
            values: (bands, rows, columns), finite; left as they are.

        Returns:
            uint8 of the same shape, values beyond the stretch clipped, else rounded.

        Raises:
            StretchError: There are other bands than the stretch has, or values other than uint8
                where it is ``none``.
        """
        if self.kind == NONE:
            if values.dtype != np.uint8:
                raise StretchError(f"Pixel values of type {values.dtype} need a stretch.", _GIVE_RANGE)
            return values
        if len(values) != len(self.minimum):
            raise StretchError(f"{len(values)} bands meet a stretch of {len(self.minimum)}.")
        stretched = np.empty(values.shape, dtype=np.uint8)
        for band, low, high, target in zip(values, self.minimum, self.maximum, stretched):
            # float32 would round the 32-bit integers and timestamps that some rasters hold.
            scaled = np.clip(band, low, high, dtype=np.float64, casting="unsafe")
            scaled -= low
            scaled *= 255.0 / (high - low) if high > low else 0.0
            np.rint(scaled, out=scaled)
            target[...] = scaled
        return stretched


def _limits(values: np.ndarray, percent: tuple[float, float]) -> tuple[float, float]:
    """Return the two percentiles of a band's valid values, or minimum and maximum where they coincide."""
    if values.size == 0:
        raise StretchError("No valid pixel was found to learn the range of values from.", _GIVE_RANGE)
    low, high = np.percentile(values.astype(np.float64, copy=False), percent)
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high)

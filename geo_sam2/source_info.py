# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store was made from: the raster, its grid and how its pixels were read.

Owns the comparison that refuses a store made from something else, and finding the raster
again from a store that was moved. Ignorant of GDAL; the raster source measures what is here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geo_sam2.encoder.stretch import NONE, Stretch
from geo_sam2.grid import UNGEOREFERENCED, PixelGrid
from geo_sam2.json_record import JsonRecord

# A stretch that was measured again may differ in the last digit between versions of NumPy.
_SAME_VALUE = 1e-6


@dataclass(frozen=True)
class SourceInfo(JsonRecord):
    """A raster as it was read.

    Attributes:
        path_absolute: What GDAL opens: a file, or a name such as ``/vsizip/…`` or a subdataset;
            empty for pixels that came from no file.
        path_relative: The file as seen from the store's folder, with ``/``; empty when it is no
            file or lies on another drive. Filled in by the store.
        size_bytes: Of the file; 0 when it is no file.
        modified: Time of the file's last change, seconds since 1970; 0 when it is no file.
        fingerprint: See ``fingerprint_of``.
        grid: The encoding grid.
        bands: Which bands, counted from 1, in the order in which they become red, green, blue.
        stretch: How values became 0–255.
        nodata_rule: Which pixels counted as invalid, in words of the raster source.
    """

    path_absolute: str
    path_relative: str
    size_bytes: int
    modified: float
    fingerprint: str
    grid: PixelGrid = field(metadata={"record": PixelGrid})
    bands: tuple[int, ...]
    stretch: Stretch = field(metadata={"record": Stretch})
    nodata_rule: str

    @classmethod
    def of_pixels(cls, width: int, height: int) -> SourceInfo:
        """Return the source of an image that is only in memory: no file, no place on the map."""
        grid = PixelGrid(width, height, UNGEOREFERENCED, "", "")
        return cls("", "", 0, 0.0, "", grid, (1, 2, 3), Stretch.none(), "none")

    def seen_from(self, folder: Path) -> SourceInfo:
        """Return the same with the path relative to a store's folder, where there is one."""
        relative = ""
        if self.path_absolute and Path(self.path_absolute).is_file():
            try:
                path = os.path.relpath(Path(self.path_absolute).resolve(), folder.resolve())
            except ValueError:  # on Windows: another drive
                return replace(self, path_relative="")
            relative = Path(path).as_posix()
        return replace(self, path_relative=relative)

    def locate(self, folder: Path) -> str | None:
        """Find the raster of the store in ``folder``: beside it first, for it may be a copy.

        Returns:
            What GDAL opens, or None when the raster is a file that is in neither place.
        """
        if self.path_relative:
            beside = folder / self.path_relative
            if beside.is_file():
                return str(beside.resolve())
        if not self.path_absolute or (self.size_bytes and not Path(self.path_absolute).is_file()):
            return None
        return self.path_absolute

    def has_file_changed(self, path: str) -> bool:
        """Say whether a file differs in size or time, so that its fingerprint has to be taken again.

        Building overviews inside a file changes both, and no pixel. What is no file counts as
        changed: nothing but its fingerprint can tell.
        """
        try:
            facts = Path(path).stat()
        except OSError:
            return True
        return (facts.st_size, facts.st_mtime) != (self.size_bytes, self.modified)

    def difference_to(self, other: SourceInfo) -> str | None:
        """Name the first difference of what would be encoded, or return None when there is none.

        Where the file lies, its size and its time make no difference.
        """
        grid = self.grid.difference_to(other.grid)
        if grid:
            return f"its grid has {grid}"
        if self.bands != other.bands:
            return f"it has bands {_listed(self.bands)} instead of {_listed(other.bands)}"
        if not _is_same_stretch(self.stretch, other.stretch):
            return f"its values are stretched {_in_words(self.stretch)} instead of {_in_words(other.stretch)}"
        if self.nodata_rule != other.nodata_rule:
            return f"its nodata rule is “{self.nodata_rule}” instead of “{other.nodata_rule}”"
        if self.fingerprint != other.fingerprint:
            return "its pixels differ"
        return None


def fingerprint_of(grid: PixelGrid, bands: Sequence[int], blocks: Iterable[Any]) -> str:
    """Return the digest that tells one raster from another without reading all of it.

    The place of the grid is left out: it is compared with tolerance, which a digest cannot.

    Args:
        grid: The encoding grid.
        bands: Bands in the order in which they are encoded.
        blocks: Pixels of fixed places, NumPy arrays or anything else with a buffer.
    """
    digest = hashlib.sha256(f"{grid.width} {grid.height} {tuple(bands)}".encode())
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _is_same_stretch(one: Stretch, other: Stretch) -> bool:
    if one.kind != other.kind or len(one.minimum) != len(other.minimum):
        return False
    return all(
        abs(low - other_low) <= _SAME_VALUE * (high - low)
        and abs(high - other_high) <= _SAME_VALUE * (high - low)
        for low, high, other_low, other_high in zip(one.minimum, one.maximum, other.minimum, other.maximum)
    )


def _listed(bands: Sequence[int]) -> str:
    return ", ".join(str(band) for band in bands)


def _in_words(stretch: Stretch) -> str:
    if stretch.kind == NONE:
        return "not at all"
    return "from " + ", ".join(f"{low:g}–{high:g}" for low, high in zip(stretch.minimum, stretch.maximum))

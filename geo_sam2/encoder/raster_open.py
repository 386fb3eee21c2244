# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a raster layer calls its source to an open GDAL dataset, or a sentence why not.

A source is whatever GDAL opens: a file, ``/vsizip/…``, ``/vsicurl/…``, a subdataset
(``NETCDF:"file":variable``), a VRT file or its text; with the ``|option:KEY=VALUE`` endings
that QGIS adds. Bands and places are the business of others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgeo import gdal

from geo_sam2.encoder.gdal_calls import ask
from geo_sam2.errors import RasterReadError

# GDAL drivers behind which a service draws pictures for a scale: there are no pixels to sample.
_SERVICE_DRIVERS = frozenset({"WMS", "WMTS", "OGCAPI"})
# What sources of QGIS's providers for services hold; GDAL would take them for file names.
_SERVICE_SOURCE = re.compile(r"(^|[& ])(type=(xyz|mbtiles)|layers=|tileMatrixSet=|url=)", re.I)
_SERVICE_TEXT = "“{name}” comes from a map service (WMS, WMTS or XYZ), and these cannot be encoded yet."
_SERVICE_HINT = "Export the part you need as a GeoTIFF (layer menu, Export, Save As) and encode that."


@dataclass(frozen=True)
class OpenRaster:
    """An open dataset, and how to open it again.

    Attributes:
        dataset: ``gdal.Dataset`` with at least one band.
        name: What GDAL opens.
        open_options: ``KEY=VALUE`` for its driver.
    """

    dataset: Any
    name: str
    open_options: tuple[str, ...]


def open_raster(source: str) -> OpenRaster:
    """Open a raster for reading.

    A container with a single subdataset opens as that one, as QGIS does it.

    Args:
        source: What ``QgsRasterLayer.source()`` of a GDAL layer gives, or anything GDAL opens.

    Raises:
        RasterReadError: It cannot be opened, is no raster, or is a map service.
    """
    # Credentials ("|credential:…") QGIS has given to GDAL itself when it loaded the layer.
    name, *endings = source.split("|") if not source.lstrip().startswith("<") else [source]
    options = tuple(ending[len("option:") :] for ending in endings if ending.startswith("option:"))
    if not name.strip():
        raise RasterReadError("No raster was given.", "Choose a raster layer or file.")
    if _is_on_disk(name):
        name = str(Path(name).absolute())  # whatever becomes of the working folder later
    elif not name.startswith(("/", "<")) and _SERVICE_SOURCE.search(name):
        raise RasterReadError(_SERVICE_TEXT.format(name=_short(name)), _SERVICE_HINT)
    dataset = _open(name, options)
    parts = dataset.GetMetadata("SUBDATASETS") or {}
    names = [parts[key] for key in sorted(parts, key=_number) if key.endswith("_NAME")]
    if dataset.RasterCount == 0 and len(names) == 1:
        return OpenRaster(_open(names[0], ()), names[0], ())
    if dataset.RasterCount == 0 and names:
        listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise RasterReadError(
            f"“{_short(name)}” holds {len(names)} rasters, and it is not clear which one is meant.",
            f"Give one of them: {listed}",
        )
    if dataset.RasterCount == 0:
        raise RasterReadError(f"“{_short(name)}” has no bands.", "Choose another raster.")
    if dataset.GetDriver().ShortName in _SERVICE_DRIVERS:
        raise RasterReadError(_SERVICE_TEXT.format(name=_short(name)), _SERVICE_HINT)
    return OpenRaster(dataset, name, options)


def _open(name: str, options: tuple[str, ...]) -> Any:
    flags = gdal.OF_READONLY | gdal.OF_VERBOSE_ERROR
    dataset, message = ask(gdal.OpenEx, name, gdal.OF_RASTER | flags, open_options=list(options))
    if dataset is not None:
        return dataset
    if ask(gdal.OpenEx, name, gdal.OF_VECTOR | flags)[0] is not None:
        raise RasterReadError(
            f"“{_short(name)}” is a vector layer, and only rasters can be encoded.",
            "Choose a raster layer, or rasterize this one first.",
        )
    # GDAL repeats the name, which is known by now.
    reason = f": {message.strip().rstrip('.')}." if message else "."
    raise RasterReadError(
        f"“{_short(name)}” cannot be opened as a raster{reason}",
        "Check that the file is there, complete and readable, and that QGIS can show it.",
    )


def _is_on_disk(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a name that the system refuses as a path: the text of a VRT
        return False


def _number(key: str) -> int:
    """Return n of ``SUBDATASET_n_NAME``: as texts, 10 would come before 2."""
    digits = re.search(r"\d+", key)
    return int(digits[0]) if digits else 0


def _short(name: str) -> str:
    """Return a name that fits a sentence: the text of a VRT would not."""
    return name if len(name) <= 200 else f"{name[:100]}…{name[-60:]}"

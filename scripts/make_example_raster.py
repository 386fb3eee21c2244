# SPDX-License-Identifier: GPL-3.0-or-later
"""Make examples/yellowstone_meadow.tif: an aerial photograph as a georeferenced, compressed GeoTIFF.

.venv/bin/python scripts/make_example_raster.py [PHOTOGRAPH.png]

The photograph is one that the PyPI package deepforest carries; without an argument the package
is downloaded. Its name gives the tile of the NEON mosaic that it was cut from: UTM zone 12 N, a
square kilometre whose south-west corner is 528000 E, 4978000 N, at 0.1 m a pixel. Where in the
tile the cut lies is not recorded; it is put into the south-west corner. Size, north and scale
are therefore true, the place is true to within a kilometre.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from osgeo import gdal, osr

ROOT = Path(__file__).resolve().parents[1]
RASTER = ROOT / "examples" / "yellowstone_meadow.tif"

PACKAGE = "deepforest==2.1.0"
PHOTOGRAPH = "deepforest/data/2019_YELL_2_528000_4978000_image_crop2.png"
PHOTOGRAPH_SHA256 = "a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767"

EPSG = 32612
TILE_CORNER = (528000.0, 4978000.0)
"""Easting and northing of the tile's south-west corner, m."""
GSD_M = 0.1

CREATION = {
    "COMPRESS": "JPEG",
    "PHOTOMETRIC": "YCBCR",
    # 2.7 MB; 90 would be 3.1, and the clone carries it for ever.
    "JPEG_QUALITY": "85",
    "TILED": "YES",
    "BLOCKXSIZE": "256",
    "BLOCKYSIZE": "256",
}
TAGS = {
    "TIFFTAG_IMAGEDESCRIPTION": "Meadow and open forest, Yellowstone, 2019, 0.1 m; place roughly",
    "TIFFTAG_COPYRIGHT": "Photograph: NEON airborne observation platform; from deepforest 2.1.0, MIT licence",
}


def geotransform(height_px: int) -> tuple[float, float, float, float, float, float]:
    """Return GDAL's six terms for a north-up raster whose lower left corner is the tile's."""
    west, south = TILE_CORNER
    return (west, GSD_M, 0.0, south + height_px * GSD_M, 0.0, -GSD_M)


def download_photograph(folder: Path) -> Path:
    """Fetch the package into a folder and take the photograph out of it; nothing is installed."""
    subprocess.run(  # noqa: S603 - pip of this interpreter, nothing from outside
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE],
        check=True,
    )
    (wheel,) = folder.glob("deepforest-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(PHOTOGRAPH, folder))


def make_raster(photograph: Path, target: Path) -> None:
    """Write the photograph as a GeoTIFF.

    Raises:
        SystemExit: It is another photograph.
    """
    if hashlib.sha256(photograph.read_bytes()).hexdigest() != PHOTOGRAPH_SHA256:
        raise SystemExit(f"{photograph} is not the photograph of {PACKAGE}.")
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(EPSG)
    # Not a file beside the photograph, where GDAL would leave statistics.
    pixels = gdal.GetDriverByName("MEM").CreateCopy("", gdal.Open(str(photograph)))
    pixels.SetGeoTransform(geotransform(pixels.RasterYSize))
    pixels.SetProjection(crs.ExportToWkt())
    pixels.SetMetadata(TAGS)
    options = [f"{name}={value}" for name, value in CREATION.items()]
    gdal.GetDriverByName("GTiff").CreateCopy(str(target), pixels, options=options)


def main() -> None:
    """Make the raster that is committed."""
    gdal.UseExceptions()
    parser = argparse.ArgumentParser(description="Make the example raster.")
    parser.add_argument("photograph", nargs="?", type=Path, help="the PNG; downloaded without it")
    parser.add_argument("--to", type=Path, default=RASTER, help="the GeoTIFF to write (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_raster(arguments.photograph or download_photograph(Path(folder)), arguments.to)
    print(f"{arguments.to}: {arguments.to.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawn scene that training never sees: its raster, its truth as polygons, where to prompt.

Ignorant of QGIS; runs on its Python for GDAL, and has the scene drawn by the engine's.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal, ogr

from tests.desktop.qgis_desktop import ROOT

_ENVIRONMENT = ROOT / ".environment"


@dataclass(frozen=True)
class SceneObject:
    """An object to be segmented; places in map units.

    Attributes:
        number: In the truth, from 1.
        kind: What it shows.
        click: In its middle.
        background: A little beside it.
        box: x_min, y_min, x_max, y_max around it.
        outline: The truth.
    """

    number: int
    kind: str
    click: tuple[float, float]
    background: tuple[float, float]
    box: tuple[float, float, float, float]
    outline: ogr.Geometry


@dataclass(frozen=True)
class HeldOutScene:
    """The scene on disk."""

    raster: Path
    truth: Path
    objects: list[SceneObject]


def make_scene(folder: Path, seed: int = 4) -> HeldOutScene:
    """Draw the scene and its truth, ``scene.tif`` and ``truth.gpkg``, into a folder.

    Args:
        folder: Made if it is not there.
        seed: Chooses scene and objects.
    """
    # The benchmarks run on the engine's Python; whoever made it has its path here.
    python = (_ENVIRONMENT / "interpreter").read_text(encoding="utf-8").strip()
    packages = _ENVIRONMENT / "test-packages"
    subprocess.run(
        [python, str(ROOT / "scripts" / "make_held_out_scene.py"), str(folder), "--seed", str(seed)],
        # Not the libraries of the QGIS that is tested: rasterio has its own.
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("LD_", "PROJ_"))},
            "PYTHONPATH": f"{ROOT}:{packages}",
        },
        check=True,
    )
    truth = folder / "truth.gpkg"
    outlines = _trace(folder / "truth.tif", truth)
    raster = gdal.Open(str(folder / "scene.tif"))
    left, width_m, _, top, _, height_m = raster.GetGeoTransform()

    def on_map(x_px: float, y_px: float) -> tuple[float, float]:
        return left + x_px * width_m, top + y_px * height_m

    objects = []
    for item in json.loads((folder / "objects.json").read_text(encoding="utf-8")):
        (x_min, y_max), (x_max, y_min) = on_map(*item["box"][:2]), on_map(*item["box"][2:])
        objects.append(
            SceneObject(
                item["number"],
                item["kind"],
                on_map(*item["click"]),
                on_map(*item["background"]),
                (x_min, y_min, x_max, y_max),
                outlines[item["number"]],
            )
        )
    return HeldOutScene(folder / "scene.tif", truth, objects)


def intersection_over_union(first: ogr.Geometry, second: ogr.Geometry) -> float:
    """Return the area that two polygons share over the area that either covers."""
    return first.Intersection(second).GetArea() / first.Union(second).GetArea()


def _trace(labels: Path, path: Path) -> dict[int, ogr.Geometry]:
    """Write the outlines of labelled pixels as a layer, and return them by label."""
    gdal.UseExceptions()
    raster = gdal.Open(str(labels))
    band = raster.GetRasterBand(1)
    target = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = target.CreateLayer("truth", raster.GetSpatialRef(), ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("number", ogr.OFTInteger))
    # The band as its own mask: 0 is no object.
    gdal.Polygonize(band, band, layer, 0)
    return {feature.GetField("number"): feature.GetGeometryRef().Clone() for feature in layer}

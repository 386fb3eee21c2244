# SPDX-License-Identifier: GPL-3.0-or-later
"""Make examples/yellowstone_meadow_prompts.geojson: clicks on clear things in the example raster.

.venv/bin/python scripts/make_example_prompts.py

The clicks were chosen by looking at the photograph. They are kept here in its pixels, where they can
be checked against it, and written as GeoJSON has them: longitude and latitude, another CRS than
the raster's, as a layer of a user's will have.
"""

from __future__ import annotations

import json
from pathlib import Path

from osgeo import gdal, osr

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RASTER = EXAMPLES / "yellowstone_meadow.tif"
PROMPTS = EXAMPLES / "yellowstone_meadow_prompts.geojson"

#: Per object: what it is, clicks on it, clicks beside it; x right, y down, in pixels of the raster.
OBJECTS = (
    ("shadow", [(1455, 1530), (1420, 1560), (1485, 1485)], [(1370, 1530), (1575, 1540)]),
    ("shadow", [(1510, 1630)], []),
    ("shadow", [(1190, 1790)], []),
    ("shadow", [(1550, 1865)], []),
    ("shadow", [(210, 1735), (175, 1750), (250, 1720)], [(120, 1775)]),
    ("shadow", [(240, 1865)], [(150, 1910)]),
    ("shadow", [(405, 1770)], [(425, 1710)]),
    ("shadow", [(950, 720)], []),
    ("shadow", [(1450, 1370)], [(1600, 1340)]),
    ("shadow", [(2240, 1420)], []),
    ("crown", [(645, 570)], []),
    ("crown", [(1350, 360)], []),
    ("crown", [(2060, 1280)], []),
    ("crown", [(955, 2140)], []),
    ("crown", [(1060, 2130)], []),
    ("dead tree", [(705, 690)], []),
    ("dead tree", [(1235, 295)], []),
    ("dead tree", [(1205, 540)], []),
    ("dead tree", [(1390, 520)], []),
    ("dead tree", [(1655, 1680)], []),
    ("dead tree", [(1740, 1605)], []),
    ("dead tree", [(885, 2320)], []),
    ("log", [(1720, 148), (1650, 147)], [(1690, 120), (1690, 170)]),
    ("meadow", [(1720, 610), (1690, 570), (1760, 640)], [(1600, 600), (1755, 530)]),
)


def main() -> None:
    """Write one feature per click, in the order of the table."""
    raster = gdal.Open(str(RASTER))
    degrees = osr.SpatialReference()
    degrees.ImportFromEPSG(4326)
    degrees.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    to_degrees = osr.CoordinateTransformation(raster.GetSpatialRef(), degrees)
    lines = []
    for number, (kind, on_it, beside_it) in enumerate(OBJECTS, start=1):
        for x_px, y_px, label in [(*xy, 1) for xy in on_it] + [(*xy, 0) for xy in beside_it]:
            x_map, y_map = gdal.ApplyGeoTransform(raster.GetGeoTransform(), x_px, y_px)
            longitude, latitude, _ = to_degrees.TransformPoint(x_map, y_map)
            feature = {
                "type": "Feature",
                "properties": {"OBJECT": number, "LABEL": label, "KIND": kind},
                # Eight decimals: a millimetre.
                "geometry": {"type": "Point", "coordinates": [round(longitude, 8), round(latitude, 8)]},
            }
            lines.append(json.dumps(feature))
    text = '{\n"type": "FeatureCollection",\n"features": [\n' + ",\n".join(lines) + "\n]\n}\n"
    PROMPTS.write_text(text, encoding="utf-8")
    print(f"{PROMPTS}: {len(lines)} clicks on {len(OBJECTS)} objects")


if __name__ == "__main__":
    gdal.UseExceptions()
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job from end to end on real imagery: encode a raster, segment clicks, draw what came out.

.venv/bin/python scripts/make_demo.py    # `make demo`

Both algorithms run in ``qgis_process``, with the demo model, on the files of ``examples``; the results
are put into ``build/demo``, in place of those of the run before. Says at the end what it made and where.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from headless_qgis import ROOT, HeadlessQgis

EXAMPLES = ROOT / "examples"
RASTER = EXAMPLES / "yellowstone_meadow.tif"
PROMPTS = EXAMPLES / "yellowstone_meadow_prompts.geojson"
FOLDER = ROOT / "build" / "demo"
PROFILE = FOLDER / "profile"
STORE = FOLDER / "yellowstone_meadow.demo.geosam2"
POLYGONS = FOLDER / "polygons.gpkg"
PICTURE = FOLDER / "demo.png"
# Two square metres: smaller parts are specks.
MIN_AREA_PX = 200


def main() -> None:
    """Encode, segment, draw, tell."""
    parser = argparse.ArgumentParser(description="Encode the example, segment clicks on it, draw them.")
    parser.add_argument("--picture", type=Path, help="another file for the picture, such as docs/demo.jpg")
    arguments = parser.parse_args()
    pictures = [PICTURE, *filter(None, [arguments.picture])]
    _clear()
    started = time.monotonic()
    qgis = HeadlessQgis(PROFILE, ROOT / ".environment")
    qgis.enable_plugin()
    qgis.run("geo_sam2:encode", {"INPUT": RASTER, "MODEL": "demo", "OUTPUT": STORE})
    encoded = time.monotonic()
    qgis.run(
        "geo_sam2:segment_prompts",
        {
            "FEATURES": STORE,
            "PROMPTS": PROMPTS,
            "OBJECT": "OBJECT",
            "LABEL": "LABEL",
            "MIN_AREA": MIN_AREA_PX,
            "OUTPUT": POLYGONS,
        },
    )
    segmented = time.monotonic()
    # Without PAM, GDAL leaves no statistics beside the raster.
    os.environ.update(qgis.environment, GDAL_PAM_ENABLED="NO")
    kinds, windows = _draw(pictures)
    print(
        f"""
{sum(kinds.values())} polygons ({", ".join(f"{count} {kind}" for kind, count in kinds.most_common())})
on {windows} windows of real imagery: encoded in {encoded - started:.0f} s, \
segmented in {segmented - encoded:.0f} s, drawn in {time.monotonic() - segmented:.0f} s.

  features  {STORE}
  polygons  {POLYGONS}
  picture   {PICTURE}"""
    )


def _clear() -> None:
    """Make the folder and take away what an earlier demo left in it, and nothing else."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for folder in (PROFILE, STORE):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (POLYGONS, PICTURE):
        file.unlink(missing_ok=True)


def _draw(pictures: list[Path]) -> tuple[Counter[str], int]:
    """Write the pictures; return polygons by kind and the number of windows."""
    from qgis.core import QgsApplication

    application = QgsApplication([], True)
    application.initQgis()
    try:
        import demo_map

        found = demo_map.polygon_layer(POLYGONS)
        grid = demo_map.grid_layer(STORE / "tiles.gpkg")
        demo_map.draw([demo_map.click_layer(PROMPTS), found, grid, demo_map.raster_layer(RASTER)], pictures)
        kinds = Counter(feature["KIND"] for feature in found.getFeatures())
        return kinds, grid.featureCount()
    finally:
        # Layers hold on to providers, which end with QGIS.
        found = grid = None
        application.exitQgis()


if __name__ == "__main__":
    sys.exit(main())

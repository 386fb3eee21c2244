# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a drawn scene that training never sees, with its truth, and places to prompt ten of its objects.

    <engine's Python> scripts/make_held_out_scene.py FOLDER [--seed 4]

Writes ``scene.tif`` (8-bit RGB in UTM), ``truth.tif`` (the number of the object that a pixel belongs
to, 1 to 10, 0 for none) and ``objects.json``. Scene and objects are drawn by lot from those that the
demo model is measured on; places are in pixels of the scene from its outer corner, x before y.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import rasterio
from demo_scenes import evaluation_scenes
from demo_scenes.canvas import Scene, SceneObject
from evaluate_demo_model import innermost_pixel
from rasterio.transform import from_origin
from scipy import ndimage

OBJECTS = 10
GSD_M = 0.2
CRS = "EPSG:32632"
LEFT_M, TOP_M = 691_200.0, 5_334_400.0
# How far outside of an object people say "not this": near enough to be about this object.
NEAR_PX, FAR_PX = 8, 14
BOX_MARGIN_PX = 3


def choose(seed: int) -> tuple[Scene, list[SceneObject]]:
    """Return a scene that has ten objects at least, and ten of them."""
    rng = np.random.default_rng(seed)
    for index in rng.permutation(evaluation_scenes.SCENES):
        scene = evaluation_scenes.evaluation_scene(int(index))
        objects = evaluation_scenes.evaluation_objects(scene, int(index))
        if len(objects) >= OBJECTS:
            return scene, [objects[number] for number in rng.permutation(len(objects))[:OBJECTS]]
    raise LookupError(f"No scene has {OBJECTS} objects.")


def prompts(mask: np.ndarray, rng: np.random.Generator) -> dict[str, list[float]]:
    """Return a click in the middle of an object, one on what is beside it, and a box around it."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    distance = ndimage.distance_transform_edt(~mask)
    beside = np.argwhere((distance >= NEAR_PX) & (distance <= FAR_PX))
    row, col = beside[rng.integers(len(beside))]
    x, y = innermost_pixel(mask)
    height, width = mask.shape
    return {
        "click": [float(x), float(y)],
        "background": [col + 0.5, row + 0.5],
        "box": [
            max(float(cols[0]) - BOX_MARGIN_PX, 0.0),
            max(float(rows[0]) - BOX_MARGIN_PX, 0.0),
            min(float(cols[-1]) + 1 + BOX_MARGIN_PX, float(width)),
            min(float(rows[-1]) + 1 + BOX_MARGIN_PX, float(height)),
        ],
    }


def write(path: Path, bands_chw: np.ndarray) -> None:
    """Write a GeoTIFF at the place of the scene."""
    count, height, width = bands_chw.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands_chw.dtype}
    place = {"crs": CRS, "transform": from_origin(LEFT_M, TOP_M, GSD_M, GSD_M)}
    with rasterio.open(path, "w", **profile, **place, compress="deflate", tiled=True) as raster:
        raster.write(bands_chw)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Write a drawn scene with its truth.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=4)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    scene, objects = choose(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    truth, described = np.zeros(scene.object_hw.shape, np.uint8), []
    for number, item in enumerate(objects, start=1):
        mask = scene.mask("object", item.object_id)
        truth[mask] = number
        described.append({"number": number, "kind": item.kind, "area_px": item.area_px, **prompts(mask, rng)})
    write(arguments.folder / "scene.tif", np.ascontiguousarray(scene.image_hwc.transpose(2, 0, 1)))
    write(arguments.folder / "truth.tif", truth[None])
    (arguments.folder / "objects.json").write_text(json.dumps(described, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw what the demo model makes of single clicks on the example photograph, for its model card.

    PYTHONPATH=. python scripts/show_demo_masks.py docs/demo_model_masks.jpg

The photograph is nothing like the drawn scenes that the model knows; the picture shows every click of the
list, the bad ones too.
"""

from __future__ import annotations

import argparse
import colorsys
import tempfile
from pathlib import Path

import numpy as np
from demo_windows import DemoEngine, click
from PIL import Image, ImageDraw
from scipy import ndimage

REPOSITORY = Path(__file__).resolve().parents[1]
PHOTOGRAPH = REPOSITORY / "examples" / "meadow_1024.jpg"
WEIGHTS = REPOSITORY / "geo_sam2" / "models" / "demo" / "demo.safetensors"
SIDE_PX = 768

#: What is clicked on, and where (x, y) in the photograph.
CLICKS = (
    ("shadow", (400, 315)),
    ("shadow", (135, 592)),
    ("shadow", (455, 430)),
    ("shadow", (490, 680)),
    ("crown", (325, 355)),
    ("crown", (610, 700)),
    ("crown", (940, 830)),
    ("crown", (580, 400)),
    ("dead tree", (605, 490)),
    ("dead tree", (690, 405)),
    ("log", (765, 300)),
    ("log", (655, 600)),
    ("meadow", (260, 720)),
)


def painted(image: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    """Return the image with each mask tinted and outlined in a colour of its own; small masks on top."""
    picture = image.astype(np.float32)
    for index, mask in sorted(enumerate(masks), key=lambda item: -int(item[1].sum())):
        colour = 255 * np.array(colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.9, 1.0), np.float32)
        picture[mask] += 0.35 * (colour - picture[mask])
        picture[mask ^ ndimage.binary_erosion(mask, iterations=2)] = colour
    return picture.astype(np.uint8)


def main() -> None:
    """Click, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="file to write")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    image = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    with tempfile.TemporaryDirectory() as folder:
        window = DemoEngine(arguments.weights, Path(folder) / "photograph.geosam2").window(image)
        answers = [window.decode([click(x + 0.5, y + 0.5)]) for _, (x, y) in CLICKS]
    picture = Image.fromarray(painted(image, [answer.mask for answer in answers]))
    draw = ImageDraw.Draw(picture)
    for (name, (x, y)), answer in zip(CLICKS, answers):
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill="white", outline="black", width=2)
        print(
            f"{name:10s} ({x:4d}, {y:4d}): {int(answer.mask.sum()):7d} px, rated {answer.predicted_iou:.2f}"
        )
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS).save(arguments.picture, quality=82)


if __name__ == "__main__":
    main()

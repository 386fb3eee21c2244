# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut meadow_1024.jpg out of the photograph that the PyPI package deepforest 2.1.0 carries.

python examples/cut_meadow.py deepforest/data/2019_YELL_2_528000_4978000_image_crop2.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

# Left, upper, right, lower in pixels of the photograph.
PLACE = (1050, 1200, 1050 + 1024, 1200 + 1024)

if __name__ == "__main__":
    photograph = Image.open(sys.argv[1]).convert("RGB")
    photograph.crop(PLACE).save(Path(__file__).with_name("meadow_1024.jpg"), quality=88)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the pictures of the dock that the documents show, in the real QGIS, on a screen of its own.

    make screenshots        # writes docs/dock_*.png

Each is what a person sees after doing just that: nothing yet, encoding, hovering, an object with its
prompts, objects saved, an engine that has died. With the demo model on the imagery in ``examples``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.desktop import processes  # noqa: E402  # of the checkout that this lies in
from tests.desktop.hands import accept, click, open_dock, pick_raster, take_tool  # noqa: E402
from tests.desktop.qgis_desktop import DesktopQgis  # noqa: E402
from tests.desktop.screen import virtual_screen  # noqa: E402

DOCS = ROOT / "docs"
RASTER = ROOT / "examples" / "yellowstone_meadow.tif"
SIZE_PX = (1280, 800)
COLOURS = 256
# In UTM metres: a part of the raster with shadows that stand alone, and where to click in it.
LEFT, BOTTOM, RIGHT, TOP = 528_100.0, 4_978_045.0, 528_180.0, 4_978_115.0
SAVED = ((528_119.0, 4_978_068.2), (528_155.0, 4_978_060.7), (528_145.0, 4_978_110.2))
FOREGROUND = ((528_145.5, 4_978_094.2), (528_142.0, 4_978_091.2))
BACKGROUND = (528_137.0, 4_978_094.2)
HOVERED = (528_151.0, 4_978_084.2)
# The dock draws itself anew a moment after something has changed.
_MOMENT_S = 0.5


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory(prefix="geo_sam2_pictures_") as name:
        folder = Path(name)
        raster = Path(shutil.copy(RASTER, folder))
        with virtual_screen(folder, SIZE_PX) as screen:
            qgis = DesktopQgis(screen, folder)
            try:
                qgis.start()
                take_all(qgis, raster)
            finally:
                qgis.end()


def take_all(qgis: DesktopQgis, raster: Path) -> None:
    """Go through the states of the dock."""
    qgis.ask("session:tidy")
    open_dock(qgis)
    keep(qgis, "empty")

    qgis.ask("session:add_raster", path=str(raster))
    pick_raster(qgis, raster.stem)
    qgis.ask("dock:show_tiles", is_on=True)
    qgis.wait_for_map()
    qgis.click_widget("encodeAllButton")
    qgis.wait_for("dock:has_settled", count=3, timeout_s=180)
    keep(qgis, "encoding")
    qgis.wait_for("dock:is_calm", timeout_s=300)

    qgis.ask("dock:show_tiles", is_on=False)
    qgis.ask("session:zoom_to", x_min=LEFT, y_min=BOTTOM, x_max=RIGHT, y_max=TOP)
    qgis.wait_for_map()
    take_tool(qgis)
    qgis.screen.move(qgis.on_map(*HOVERED))
    qgis.wait_for("dock:hover_is_shown")
    keep(qgis, "hover")

    for place in FOREGROUND:
        click(qgis, place)
    click(qgis, BACKGROUND, is_foreground=False)
    keep(qgis, "object")
    accept(qgis, 1)

    for count, place in enumerate(SAVED, start=2):
        click(qgis, place)
        accept(qgis, count)
    qgis.wait_for_map()
    keep(qgis, "saved")

    # As the system does when memory runs out, in the middle of a click.
    engines = qgis.engines
    qgis.screen.click(qgis.on_map(*HOVERED))
    for engine in engines:
        processes.kill(engine)
    qgis.wait_for("dock:has", path="notice.level", value="error")
    keep(qgis, "error")


def keep(qgis: DesktopQgis, state: str) -> None:
    """Write a picture; in 256 colours it is a third as large and looks the same."""
    time.sleep(_MOMENT_S)
    path = DOCS / f"dock_{state}.png"
    qgis.screen.picture(path)
    command = ["convert", str(path), "+dither", "-colors", str(COLOURS), "-strip", f"PNG8:{path}"]
    subprocess.run(command, check=True)  # noqa: S603  # ImageMagick
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The dock in the real QGIS on a screen of its own, as the benchmarks use it.

The harness is that of the desktop tests. The model costs what the official tiny costs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.blob_model import write_blob_tiny
from benchmarks.mosaic import WINDOW_PX, write_mosaic
from tests.desktop.hands import open_dock, pick_raster, take_tool
from tests.desktop.qgis_desktop import DesktopQgis
from tests.desktop.screen import Screen, virtual_screen

INSIDE = "benchmarks.dock_inside"
LEFT_M, TOP_M, GSD_M = 528_000.0, 4_979_000.0, 0.1
_CLICK_PATIENCE_S = 120.0


class Desk:
    """Screen and folder of a benchmark, for one QGIS after the other.

    Args:
        screen: Where QGIS is shown.
        folder: For the profile, the model and the raster.
        columns: Windows of the raster, side by side.
    """

    def __init__(self, screen: Screen, folder: Path, columns: int) -> None:
        self.screen = screen
        self.folder = folder
        self.columns = columns
        self.raster = folder / "mosaic.vrt"
        write_mosaic(self.raster, columns, 1)
        home = DesktopQgis(screen, folder).home
        self.checkpoint = write_blob_tiny(home / "models")

    @contextlib.contextmanager
    def qgis(self) -> Iterator[DesktopQgis]:
        """Start QGIS with the raster in the dock and the segment tool at hand."""
        qgis = DesktopQgis(self.screen, self.folder)
        try:
            qgis.start()
            qgis.ask("session:add_raster", path=str(self.raster))
            open_dock(qgis)
            pick_raster(qgis, "mosaic")
            take_tool(qgis)
            qgis.ask(f"{INSIDE}:watch")
            yield qgis
            tracebacks = qgis.ask("faults:tracebacks")
            assert not tracebacks, tracebacks
            qgis.leave()
        finally:
            qgis.end()

    def show_window(self, qgis: DesktopQgis, column: int) -> None:
        """Show a window of the raster, nearly all of it."""
        left, top = self.on_map(column * WINDOW_PX, 0)
        right, bottom = self.on_map((column + 1) * WINDOW_PX, WINDOW_PX)
        qgis.ask("session:zoom_to", x_min=left, y_min=bottom, x_max=right, y_max=top)
        qgis.wait_for_map()

    @staticmethod
    def on_map(x_px: float, y_px: float) -> tuple[float, float]:
        """Return the place of a pixel of the raster's grid."""
        return LEFT_M + x_px * GSD_M, TOP_M - y_px * GSD_M


def click_seconds(qgis: DesktopQgis, x_map: float, y_map: float) -> float:
    """Click on the map, clear the object again, and return how long its outline took to be seen."""
    qgis.ask(f"{INSIDE}:click", x_map=x_map, y_map=y_map)
    seconds = qgis.wait_for(f"{INSIDE}:seconds_to_outline", timeout_s=_CLICK_PATIENCE_S)
    qgis.ask(f"{INSIDE}:clear")
    qgis.wait_for("dock:is_object_closed")
    return seconds


@contextlib.contextmanager
def desk(folder: Path, columns: int) -> Iterator[Desk]:
    """Set up a screen and what lies on it."""
    with virtual_screen(folder) as screen:
        yield Desk(screen, folder, columns)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Five hundred objects in a row: whether memory and time per object grow.

With the demo model, on bright squares, each of which is an object to it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from pathlib import Path

from benchmarks.private_memory import private_bytes
from benchmarks.sides import QGIS_PYTHON, REPOSITORY, environment
from tests.desktop.hands import open_dock, pick_raster, take_tool
from tests.desktop.qgis_desktop import DesktopQgis
from tests.desktop.screen import virtual_screen

COLUMNS, ROWS = 25, 20
PART = 50
_MB = 1e6


def measure(folder: Path) -> dict[str, float]:
    """Click, accept and save 500 objects; the first and last fifty are compared."""
    raster = folder / "squares.tif"
    places = _squares(raster)
    with virtual_screen(folder) as screen:
        qgis = DesktopQgis(screen, folder)
        try:
            qgis.start()
            qgis.ask("session:add_raster", path=str(raster))
            open_dock(qgis)
            pick_raster(qgis, "squares")
            take_tool(qgis)
            seconds, memory = [], []
            for first in range(0, len(places), PART):
                qgis.ask("scripted:begin", places=places[first : first + PART])
                qgis.wait_for("scripted:is_done", timeout_s=600)
                seconds.append(qgis.ask("scripted:seconds"))
                pids = [qgis.process.pid, *qgis.engines]
                memory.append(sum(map(private_bytes, pids)))
            assert qgis.ask("dock:saved_count") == len(places)
        finally:
            qgis.end()
    return {
        "object_500_time_ratio": statistics.median(seconds[-1]) / statistics.median(seconds[0]),
        "object_500_memory_ratio": memory[-1] / memory[0],
        "object_500_ms": 1000 * statistics.median(seconds[-1]),
        "object_500_memory_mb": memory[-1] / _MB,
    }


def _squares(raster: Path) -> list[list[float]]:
    """Write the raster, on the Python that has GDAL, and return the middles of its squares."""
    code = (
        "import json, sys; from pathlib import Path; from tests.desktop.bright_squares import *;"
        f"squares = write_bright_squares(Path(sys.argv[1]), {COLUMNS}, {ROWS});"
        "print(json.dumps([square.middle for square in squares]))"
    )
    answer = subprocess.run(  # noqa: S603  # our own
        [str(QGIS_PYTHON), "-c", code, str(raster)],
        check=True,
        cwd=REPOSITORY,
        env=environment("qgis"),
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(answer.stdout)

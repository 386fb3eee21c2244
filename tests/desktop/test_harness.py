# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness itself: QGIS starts with the plugin, the mouse arrives, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.desktop import processes
from tests.desktop.qgis_desktop import ROOT, AnswerError

RASTER = ROOT / "examples" / "yellowstone_meadow.tif"

# A test that starts all there is, says so, and is killed then.
CHILD = """
import sys, time
from pathlib import Path
from tests.desktop.qgis_desktop import DesktopQgis
from tests.desktop.screen import virtual_screen
folder = Path(sys.argv[1])
with virtual_screen(folder) as screen:
    DesktopQgis(screen, folder).start()
    print("ready", flush=True)
    time.sleep(600)
"""


def test_qgis_starts_with_the_plugin_and_leaves_when_told(qgis):
    assert "geo_sam2" in qgis.ask("session:loaded_plugins")
    qgis.leave()
    assert qgis.process.returncode == 0


def test_click_arrives_where_the_map_has_the_point(qgis):
    qgis.ask("session:add_raster", path=str(RASTER))
    qgis.wait_for_map()
    qgis.ask("recorder:record_clicks")
    for x_map, y_map in ((528020.25, 4978200.75), (528150.5, 4978100.5)):
        qgis.screen.click(qgis.on_map(x_map, y_map))
    found = qgis.wait_for("recorder:clicks", count=2)
    tolerance_m = qgis.ask("recorder:pixel_m")
    for (x_map, y_map), point in zip(((528020.25, 4978200.75), (528150.5, 4978100.5)), found):
        assert point == pytest.approx((x_map, y_map), abs=tolerance_m)


def test_what_raises_inside_is_raised_outside(qgis):
    with pytest.raises(AnswerError, match="No widget “there is none” is shown"):
        qgis.ask("widgets:find", name="there is none")


def test_exception_that_nobody_caught_is_kept(start_qgis, tmp_path_factory):
    qgis = start_qgis(tmp_path_factory.mktemp("q"))
    qgis.ask("recorder:raise_in_a_slot")
    (traceback,) = qgis.wait_for("faults:tracebacks")
    assert "ZeroDivisionError" in traceback


def test_nothing_is_left_of_a_test_that_was_killed(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        started = processes.children(child.pid)
        names = {_name(pid) for pid in started}
        assert {"Xvfb", "openbox", "qgis.bin"} <= names
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        deadline = time.monotonic() + 20
        while any(map(processes.is_running, started)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [_name(pid) for pid in started if processes.is_running(pid)] == []
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _name(pid):
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()

# SPDX-License-Identifier: GPL-3.0-or-later
"""A screen for the session, a QGIS for whoever wants one, and a picture of what failed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.desktop.qgis_desktop import ROOT, DesktopQgis
from tests.desktop.screen import virtual_screen

# Pictures of failed tests, and what QGIS printed; those of the last session.
FAILURES = ROOT / "build" / "desktop-failures"


def pytest_sessionstart():
    shutil.rmtree(FAILURES, ignore_errors=True)


@pytest.fixture(scope="session")
def screen(tmp_path_factory):
    with virtual_screen(tmp_path_factory.mktemp("screen")) as screen:
        yield screen


@pytest.fixture
def start_qgis(screen):
    """Return a function that starts a QGIS in a folder; those still there after the test are ended."""
    with contextlib.ExitStack() as stack:

        def start(folder, **environment):
            qgis = DesktopQgis(screen, folder, environment)
            stack.callback(qgis.end)
            return qgis.start()

        yield start


@pytest.fixture
def qgis(start_qgis):
    """Return a QGIS in a new profile, in which no exception may have gone uncaught at the end."""
    # pytest's own folders have names that are too long for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix="geo_sam2_desktop_"))
    try:
        qgis = start_qgis(folder)
        yield qgis
        if qgis.process.poll() is None:
            assert qgis.ask("faults:tracebacks") == []
    finally:
        qgis.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep what is on the screen, and what QGIS printed, when a test fails."""
    report = yield
    if report.failed and call.when == "call" and "screen" in item.funcargs:
        name = item.name.replace("/", "_")[:100]
        item.funcargs["screen"].picture(FAILURES / f"{name}.png")
        if "qgis" in item.funcargs:
            shutil.copy(item.funcargs["qgis"].log, FAILURES / f"{name}.log")
    return report

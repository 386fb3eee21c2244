# SPDX-License-Identifier: GPL-3.0-or-later
"""Start QGIS for this folder's tests: without a screen, with a profile that ends with the session.

QGIS reads its environment when it starts, and pytest-qgis, loaded by itself, starts it before
any conftest is read. pyproject.toml therefore keeps pytest from loading it by itself, and this
file does so when the ground is laid. ``qgis_process`` and desktops started by a test inherit it.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

# Starts nothing yet: that waits for pytest to take it as a plugin, below.
import pytest_qgis.plugin

ROOT = Path(__file__).resolve().parents[2]

_session = Path(tempfile.mkdtemp(prefix="geo_sam2_qgis_"))
atexit.register(shutil.rmtree, _session, ignore_errors=True)


def _folder(name: str) -> str:
    folder = _session / name
    folder.mkdir(mode=0o700)
    return str(folder)


# GDAL's Python module and QGIS ask for these; what a user has set would change what tests see.
# QGIS_PREFIX_PATH alone stays: it says where the QGIS lies that is tested (scripts/with_qgis.sh).
for _name in [name for name in os.environ if name.startswith(("GDAL_", "OGR_", "PROJ_", "QGIS_"))]:
    if _name != "QGIS_PREFIX_PATH":
        del os.environ[_name]
os.environ.update(
    QT_QPA_PLATFORM="offscreen",
    XDG_RUNTIME_DIR=_folder("run"),
    HOME=_folder("home"),
    XDG_CONFIG_HOME=_folder("config"),
    XDG_DATA_HOME=_folder("data"),
    XDG_CACHE_HOME=_folder("cache"),
    QGIS_PLUGINPATH=str(ROOT),
    LC_ALL="C.UTF-8",
)
# The private environment that `make setup` has installed into the checkout.
os.environ.setdefault("GEO_SAM2_HOME", str(ROOT / ".environment"))

# It would keep one profile in the checkout, for all sessions and for ever.
_load_settings = pytest_qgis.plugin._load_qgis_settings
pytest_qgis.plugin._load_qgis_settings = lambda _config: _load_settings(SimpleNamespace(rootpath=_session))

pytest_plugins = ["pytestqt.plugin", "pytest_qgis.plugin"]


def pytest_report_header():
    from qgis.core import Qgis

    return f"QGIS {Qgis.QGIS_VERSION}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Let go of a test's fixtures before they are torn down; pytest itself holds them until afterwards.

    After the last test of a session that is too late: QGIS has been ended by then, and a layer
    that outlives it takes the process with it.
    """
    item.funcargs.clear()
    return (yield)


@pytest.fixture(scope="session", autouse=True)
def no_layer_outlives_qgis(qgis_app):
    """Free what tests have left in reference cycles before QGIS is ended, not after."""
    yield
    gc.collect()


@pytest.fixture
def fake_engine(tmp_path):
    """Let the algorithms of this test use a fake engine; returns the journal of what it encodes."""
    # Not at the top: these import QGIS, which must find the ground laid.
    from tests.qgis.engines import fake_engine_command, session_of

    journal = tmp_path / "journal.txt"
    with session_of(fake_engine_command(journal=journal), tmp_path / "engine.log"):
        yield journal

# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin in QGIS and in ``qgis_process``, without the engine and with the demo model."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProcessingAlgorithm, QgsProcessingProvider
from qgis.gui import QgsProcessingAlgorithmDialogBase
from qgis.PyQt import sip
from qgis.PyQt.QtCore import Qt

import geo_sam2
from geo_sam2 import classFactory, engine_session
from geo_sam2.feature_store import FeatureStore
from geo_sam2.icon_files import ICON_FOLDER
from tests.qgis.encode_runs import counts, noise, write_raster
from tests.qgis.engines import fake_engine_command, session_of

PACKAGE = Path(geo_sam2.__file__).parent


def test_provider_comes_without_a_desktop_and_goes_with_the_plugin():
    plugin = classFactory(None)
    plugin.initProcessing()
    plugin.initProcessing()  # a second call adds nothing
    registry = QgsApplication.processingRegistry()
    provider = registry.providerById("geo_sam2")
    assert "geo_sam2:encode" in [algorithm.id() for algorithm in provider.algorithms()]
    assert not provider.icon().pixmap(24, 24).toImage().isNull()
    plugin.unload()
    assert registry.providerById("geo_sam2") is None
    plugin.unload()


def test_init_gui_brings_the_provider_too(qgis_iface):
    plugin = classFactory(qgis_iface)
    plugin.initGui()
    assert QgsApplication.processingRegistry().providerById("geo_sam2") is not None
    plugin.unload()


class _OtherAlgorithm(QgsProcessingAlgorithm):
    """Somebody else's."""

    def createInstance(self):  # noqa: N802  QGIS's name
        """Return a new one."""
        return _OtherAlgorithm()

    def name(self):
        """Return the same name as one of ours has."""
        return "encode"

    def displayName(self):  # noqa: N802  QGIS's name
        """Return what the dialog shows."""
        return "Encode"

    def initAlgorithm(self, configuration=None):  # noqa: N802  QGIS's name
        """Want nothing."""


class _OtherProvider(QgsProcessingProvider):
    """QGIS's dialog wants one."""

    def id(self):
        """Return what precedes the colon."""
        return "other"

    def name(self):
        """Return the name in the toolbox."""
        return "Other"

    def loadAlgorithms(self):  # noqa: N802  QGIS's name
        """Offer the one algorithm."""
        self.addAlgorithm(_OtherAlgorithm())


class _Dialog(QgsProcessingAlgorithmDialogBase):
    """QGIS's own without its parameters; the real one wants a real desktop."""

    def __init__(self, algorithm):
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        self.setAlgorithm(algorithm)
        self.show()

    def closeEvent(self, event):  # noqa: N802  Qt's name
        """Stay, as QGIS's own does while its algorithm runs."""
        self.hide()
        event.ignore()


@pytest.fixture
def dialogs():
    """Return two open dialogs: of an algorithm of the plugin, which has gone, and of another one."""
    plugin = classFactory(None)
    plugin.initProcessing()
    registry, other = QgsApplication.processingRegistry(), _OtherProvider()
    registry.addProvider(other)
    opened = [_Dialog(registry.createAlgorithmById(name)) for name in ("geo_sam2:encode", "other:encode")]
    plugin.unload()
    yield opened
    for dialog in opened:
        sip.delete(dialog)
    registry.removeProvider(other)


def test_dialogs_of_the_algorithms_close_with_the_plugin(dialogs):
    """Run in a dialog that outlives its provider crashes QGIS."""
    assert [dialog.isVisible() for dialog in dialogs] == [False, True]


def test_dialog_of_a_run_that_ends_after_the_plugin_closes_then(dialogs, qtbot):
    """QGIS shows it again when the run fails, and that is what ending the engine does to a run."""
    ours, other = dialogs
    ours.show()
    for dialog in dialogs:
        dialog.algorithmFinished.emit(False, {})
    qtbot.waitUntil(lambda: not ours.isVisible())
    assert other.isVisible()


def test_engine_ends_with_the_plugin(tmp_path):
    plugin = classFactory(None)
    with session_of(fake_engine_command(), tmp_path / "log") as session:
        client = session.client()
        client.start().result(30)
        assert session.client() is client
        plugin.unload()
        assert client.state.value == "stopped"
        assert session.client() is not client


def test_new_environment_is_taken_when_the_engine_stands_still(tmp_path):
    commands = [fake_engine_command(seconds=number) for number in (1, 2)]
    which = iter([0, 1, 1])
    session = engine_session.EngineSession(lambda: commands[next(which)], lambda: tmp_path / "log")
    first = session.client()
    assert session.client() is not first
    session.end()


def test_nothing_but_qgis_is_needed_to_load_the_plugin():
    """Imported in a fresh Python, the whole plugin brings no library of the engine."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import geo_sam2.plugin\n"
        "found = {'torch', 'sam2', 'hydra', 'safetensors', 'contourpy', 'rasterio'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", script, str(PACKAGE.parent)], check=True, timeout=120)


def test_metadata_is_whole_and_its_icon_is_there():
    metadata = configparser.ConfigParser()  # with interpolation, as QGIS reads it
    metadata.read(PACKAGE / "metadata.txt", encoding="utf-8")
    general = dict(metadata["general"])
    for key in [
        "name",
        "description",
        "version",
        "author",
        "email",
        "about",
        "tracker",
        "repository",
        "homepage",
    ]:
        assert general[key]
    assert general["version"] == geo_sam2.__version__
    assert (general["qgisminimumversion"], general["qgismaximumversion"]) == ("3.22", "4.99")
    assert general["hasprocessingprovider"] == "yes"
    assert (PACKAGE / general["icon"]).is_file()


def test_resources_list_the_icons_that_there_are():
    listed = {item.text for item in ElementTree.parse(PACKAGE / "resources.qrc").iter("file")}  # noqa: S314
    assert listed == {f"icons/{path.name}" for path in ICON_FOLDER.glob("*.svg")}


@pytest.fixture
def qgis_process(tmp_path):
    """Return a function that runs qgis_process with the plugin enabled, in a profile of its own."""
    variables = {**os.environ, "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile")}

    def run(*arguments, **more):
        command = ["qgis_process.bin", "--json", *map(str, arguments)]
        return subprocess.run(
            command, env={**variables, **more}, capture_output=True, text=True, timeout=300, check=False
        )

    enabled = run("plugins", "enable", "geo_sam2")
    assert enabled.returncode == 0, enabled.stderr
    return run


def test_qgis_process_encodes_with_the_demo_model(qgis_process, tmp_path):
    raster = write_raster(tmp_path / "lake.tif", noise(1100, 600))
    arguments = [
        "run",
        "geo_sam2:encode",
        "--",
        f"INPUT={raster}",
        "MODEL=demo",
        "DEVICE=cpu",
        "BANDS=3",
        "BANDS=1",
    ]
    done = qgis_process(*arguments)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    folder = tmp_path / "lake.demo.b3-1.geosam2"
    assert results["OUTPUT"] == str(folder)
    assert (results["TILES"], results["TILES_ENCODED"], results["IS_PARTIAL"]) == (2, 2, False)
    assert counts(folder) == {"done": 2}
    store = FeatureStore.open(folder)
    assert store.manifest.model.id == "demo"
    assert store.decoder_path.is_file()
    again = qgis_process(*arguments)
    assert json.loads(again.stdout)["results"]["TILES_ENCODED"] == 0


def test_qgis_process_says_how_to_install_the_engine(qgis_process, tmp_path):
    raster = write_raster(tmp_path / "lake.tif", noise(40, 40))
    refused = qgis_process(
        "run", "geo_sam2:encode", "--", f"INPUT={raster}", "MODEL=demo", GEO_SAM2_HOME=str(tmp_path / "none")
    )
    assert refused.returncode == 1
    assert "The engine is not installed in" in refused.stderr
    assert "python3 -m geo_sam2.runtime" in refused.stderr
    assert not list(tmp_path.glob("*.geosam2"))

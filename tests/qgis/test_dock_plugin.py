# SPDX-License-Identifier: GPL-3.0-or-later
"""The dock in the main window: it opens when asked, asks before it closes, and leaves nothing behind."""

from __future__ import annotations

import gc
import threading

import pytest
from qgis.core import QgsProject
from qgis.gui import QgsMapCanvasItem, QgsMapToolPan, QgsMessageBar, QgsMessageViewer
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QMimeData, Qt, QUrl
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QAction,
    QApplication,
    QMainWindow,
    QMenu,
    QMessageBox,
    QPushButton,
    QTextEdit,
)

from geo_sam2 import classFactory, store_loading
from geo_sam2.errors import EngineError
from geo_sam2.ui.dock import OBJECT_NAME, dropped_store
from tests.qgis.canvases import canvas_shown
from tests.qgis.docks import HOUSE, SHED, Scene, own_home, scene_raster
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.test_dock_engine import engine_pid


class Iface:
    """What the plugin asks of QGIS's interface, over a real window and canvas."""

    def __init__(self, canvas):
        self.window = QMainWindow()
        self.window.setCentralWidget(canvas)
        self.window.show()
        self.canvas = canvas
        self.menu = QMenu(self.window)
        self.actions, self.blockers, self.docks = [], [], []
        self.bar = QgsMessageBar()

    def mainWindow(self):  # noqa: N802  QGIS's names, here and below
        return self.window

    def mapCanvas(self):  # noqa: N802
        return self.canvas

    def messageBar(self):  # noqa: N802
        return self.bar

    def pluginMenu(self):  # noqa: N802
        return self.menu

    def addToolBarIcon(self, action):  # noqa: N802
        self.actions.append(action)

    def removeToolBarIcon(self, action):  # noqa: N802
        self.actions.remove(action)

    def registerApplicationExitBlocker(self, blocker):  # noqa: N802
        self.blockers.append(blocker)

    def unregisterApplicationExitBlocker(self, blocker):  # noqa: N802
        self.blockers.remove(blocker)

    def addDockWidget(self, area, dock):  # noqa: N802
        self.window.addDockWidget(area, dock)
        self.docks.append(dock)

    def removeDockWidget(self, dock):  # noqa: N802
        self.window.removeDockWidget(dock)
        self.docks.remove(dock)


@pytest.fixture
def iface(qgis_app, fake_engine):
    with own_home(), canvas_shown() as canvas:
        iface = Iface(canvas)
        yield iface
        # The canvas is deleted by who made it.
        iface.window.takeCentralWidget()
        iface.window.close()
        iface.window.deleteLater()
        QgsProject.instance().clear()


@pytest.fixture
def plugin(iface):
    plugin = classFactory(iface)
    plugin.initGui()
    yield plugin
    plugin.unload()


class Opened(Scene):
    """A scene over the plugin's own dock."""

    def __init__(self, iface, plugin):
        self.canvas = iface.canvas
        self.dock = plugin.desktop.show_dock()
        self.controller = plugin.desktop.controller
        from tests.qgis.canvas_hand import Hand

        self.hand = Hand(iface.canvas)
        self.clicks = 0


def delete_later():
    """Let Qt delete what waits for it."""
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def test_dock_is_made_when_the_button_is_pressed_and_not_before(iface, plugin):
    assert plugin.desktop.dock is None
    assert iface.docks == []
    button = iface.actions[-1]
    assert isinstance(button, QAction)
    button.trigger()
    assert plugin.desktop.dock.isVisible()
    assert button.isChecked()
    button.trigger()
    assert not plugin.desktop.dock.isVisible()
    assert not button.isChecked()
    button.trigger()
    assert iface.docks == [plugin.desktop.dock]


def test_closed_dock_gives_the_map_tool_back_and_draws_nothing(iface, plugin, tmp_path):
    pan = QgsMapToolPan(iface.canvas)
    iface.canvas.setMapTool(pan)
    scene = Opened(iface, plugin)
    scene.pick(scene.add_raster(scene_raster(tmp_path / "scene.tif")))
    assert iface.canvas.mapTool() is scene.controller.tools.segment_tool
    scene.dock.close()
    assert iface.canvas.mapTool() is pan
    shown = [item for item in iface.canvas.scene().items() if isinstance(item, QgsMapCanvasItem)]
    assert [item for item in shown if item.isVisible() and type(item).__module__.startswith("geo_sam2")] == []
    plugin.desktop.show_dock()
    assert iface.canvas.mapTool() is scene.controller.tools.segment_tool


@pytest.fixture
def answers(monkeypatch):
    """Answer the question about unsaved objects; returns how often it was asked."""
    asked = []

    def question(*_):
        asked.append(True)
        return answers.answer

    def answers(answer):
        answers.answer = answer
        return asked

    monkeypatch.setattr(QMessageBox, "question", question)
    return answers


@pytest.mark.parametrize(
    ("answer", "is_closed", "saved"),
    [
        (QMessageBox.StandardButton.Cancel, False, 0),
        (QMessageBox.StandardButton.Discard, True, 0),
        (QMessageBox.StandardButton.Save, True, 1),
    ],
)
def test_closing_with_an_unsaved_object_asks_once(iface, plugin, tmp_path, answers, answer, is_closed, saved):
    scene = Opened(iface, plugin)
    scene.pick(scene.add_raster(scene_raster(tmp_path / "scene.tif")))
    scene.click(HOUSE)
    scene.wait_for_outline()
    asked = answers(answer)
    assert iface.blockers[0].allowExit() is is_closed
    scene.dock.close()
    assert scene.dock.isVisible() is not is_closed
    assert len(asked) == (1 if is_closed else 2)
    layer = scene.controller.saving.layer
    assert (0 if layer is None else layer.featureCount()) == saved
    scene.controller.discard()


def test_closing_without_an_object_asks_nothing(iface, plugin, answers):
    asked = answers(QMessageBox.StandardButton.Cancel)
    plugin.desktop.show_dock().close()
    assert iface.blockers[0].allowExit()
    assert asked == []


def fault(details=""):
    error = EngineError("The engine has stopped.", "Try again.")
    error.details = details
    return error


def test_failure_is_said_in_the_dock_alone_where_that_is_seen(iface, plugin):
    scene = Opened(iface, plugin)
    scene.wait(scene.dock.isUserVisible)
    scene.controller.saving.failed.emit(fault())
    assert scene.view.notice.text == "The engine has stopped."
    assert iface.bar.items() == []


@pytest.mark.parametrize("details", ["", "Traceback of it"])
def test_failure_of_a_closed_dock_is_said_in_the_message_bar_with_all_that_is_known(iface, plugin, details):
    scene = Opened(iface, plugin)
    scene.dock.close()
    scene.controller.saving.failed.emit(fault(details))
    (item,) = iface.bar.items()
    assert item.text() == "The engine has stopped."
    (button,) = [button for button in item.findChildren(QPushButton) if button.text() == "Details"]
    button.click()
    (viewer,) = iface.window.findChildren(QgsMessageViewer)
    shown = viewer.findChild(QTextEdit).toPlainText()
    assert shown == "\n\n".join(filter(None, ["The engine has stopped.", "Try again.", details]))
    viewer.close()
    plugin.desktop.show_dock()
    assert scene.view.notice.text == "The engine has stopped."


def test_esc_goes_from_the_dock_to_the_map(iface, plugin):
    scene = Opened(iface, plugin)
    combo = scene.dock.contents.startPanel.rasterCombo
    iface.window.activateWindow()
    combo.setFocus()
    scene.wait(combo.hasFocus)
    QTest.keyClick(combo, Qt.Key.Key_Escape)
    assert iface.canvas.hasFocus()


def test_encoded_store_opens_in_the_dock(iface, plugin, tmp_path):
    scene = Opened(iface, plugin)
    raster = scene.add_raster(scene_raster(tmp_path / "scene.tif"))
    scene.pick(raster)
    scene.make_object(HOUSE)
    folder = scene.controller.ground.imagery.store.folder
    scene.controller.set_raster(None)
    assert "open in the Geo-SAM2 panel" in store_loading.load_store(folder, QgsProject.instance())
    scene.wait(lambda: scene.view.imagery.store == folder)
    scene.wait(lambda: scene.view.imagery.raster_id == raster.id())


def test_folder_of_a_store_can_be_dropped(tmp_path):
    folder = tmp_path / "lake.demo.geosam2"
    folder.mkdir()
    (folder / "manifest.json").touch()
    for path in (folder, folder / "manifest.json"):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        assert dropped_store(data) == folder
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path)), QUrl("https://example.org/lake.geosam2")])
    assert dropped_store(data) is None


def our_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("geo_sam2")]


def our_objects():
    """Return live Python objects of classes of the dock, by class."""
    gc.collect()
    kinds = ("Controller", "GeoSam2Dock", "Overlay", "TileOverlay", "SegmentTool", "Prompting", "LiveEncoder")
    return sorted(type(item).__name__ for item in gc.get_objects() if type(item).__name__ in kinds)


def wait_until_gone(what):
    """Let threads end and events be delivered until nothing is left of what is counted."""
    for _ in range(100):
        delete_later()
        if not what():
            return
        QTest.qWait(50)
    assert what() == []


def test_unload_leaves_nothing(iface, fake_engine, tmp_path):
    items = len(iface.canvas.scene().items())
    plugin = classFactory(iface)
    plugin.initGui()
    scene = Opened(iface, plugin)
    scene.pick(scene.add_raster(scene_raster(tmp_path / "scene.tif")))
    scene.click(HOUSE)
    scene.wait_for_outline()
    del scene
    plugin.unload()
    del plugin
    assert iface.actions == []
    assert iface.window.findChildren(QMenu) == [iface.menu]
    assert iface.menu.actions() == []
    assert iface.blockers == []
    assert iface.docks == []
    assert iface.window.findChild(QMainWindow, OBJECT_NAME) is None
    assert iface.canvas.mapTool() is None
    assert len(iface.canvas.scene().items()) == items
    wait_until_gone(our_objects)
    wait_until_gone(our_threads)


def test_reload_with_the_engine_busy_twenty_times_leaks_nothing(iface, tmp_path):
    raster = scene_raster(tmp_path / "scene.tif", 4096, 2048, HOUSE, SHED)
    journal = tmp_path / "reload.txt"
    with session_of(fake_engine_command(journal=journal, seconds=30), tmp_path / "reload.log"):
        counts = []
        for number in range(20):
            plugin = classFactory(iface)
            plugin.initGui()
            scene = Opened(iface, plugin)
            if number == 0:
                scene.add_raster(raster)
                scene.controller.set_shown(False)
                scene.controller.set_shown(True)
            scene.wait(lambda scene=scene: scene.view.object.can_segment)
            if number == 0:
                scene.click(HOUSE)
            scene.controller.encode_all()
            scene.wait(lambda starts=number + 1: _starts(journal) == starts)
            assert len(scene.session.state.prompts) == 1  # given before the first reload
            pid = engine_pid(journal)
            del scene
            plugin.unload()
            del plugin
            assert not _is_alive(pid)
            wait_until_gone(our_objects)
            wait_until_gone(our_threads)
            counts.append((len(iface.canvas.scene().items()), len(QApplication.allWidgets())))
        assert counts[-1] == counts[0]


def _starts(journal):
    return journal.read_text().count("pid") if journal.exists() else 0


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False

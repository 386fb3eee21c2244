# SPDX-License-Identifier: GPL-3.0-or-later
"""The dock in QGIS's main window: button, menu entry, message bar, and the question at the end.

Everything is made at its first use and undone by ``remove``. Ignorant of what the dock does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import Qgis, QgsProject
from qgis.gui import QgisInterface, QgsApplicationExitBlockerInterface
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, Qt
from qgis.PyQt.QtWidgets import QAction, QMenu, QPushButton

from geo_sam2 import store_loading
from geo_sam2.icon_files import icon
from geo_sam2.ui.details import show_details
from geo_sam2.ui.dock_view import Level

if TYPE_CHECKING:
    from geo_sam2.ui.controller import Controller
    from geo_sam2.ui.dock import GeoSam2Dock

_LEVELS = {
    Level.INFO: Qgis.MessageLevel.Info,
    Level.WARNING: Qgis.MessageLevel.Warning,
    Level.ERROR: Qgis.MessageLevel.Critical,
}
_SECONDS = {Level.INFO: 5, Level.WARNING: 10, Level.ERROR: 15}


class Desktop(QObject):
    """What the plugin adds to the main window.

    Args:
        iface: QGIS's interface.
    """

    def __init__(self, iface: QgisInterface) -> None:
        super().__init__()
        self._iface = iface
        self._controller: Controller | None = None
        self._dock: GeoSam2Dock | None = None
        # Ours: removePluginMenu would leave the submenu that it takes out, one at each reload.
        self._menu = QMenu(self.tr("Geo-SAM2"), iface.mainWindow())
        self._action = QAction(icon("geo_sam2"), self.tr("Segment with Geo-SAM2"), iface.mainWindow())
        self._action.setObjectName("geo_sam2_dock")
        self._action.setToolTip(self.tr("Show or hide the Geo-SAM2 panel: clicks on imagery become polygons"))
        self._action.setCheckable(True)
        self._action.triggered.connect(self._toggle)
        self._menu.addAction(self._action)
        iface.pluginMenu().addMenu(self._menu)
        iface.addToolBarIcon(self._action)
        self._blocker = _ExitBlocker(self)
        iface.registerApplicationExitBlocker(self._blocker)
        store_loading.register_opener(self.open_store)

    @property
    def dock(self) -> GeoSam2Dock | None:
        """The dock; None before it was asked for."""
        return self._dock

    @property
    def controller(self) -> Controller | None:
        """The controller; None before the dock was asked for."""
        return self._controller

    def show_dock(self) -> GeoSam2Dock:
        """Open the dock; it is made when it is asked for the first time."""
        if self._dock is None:
            # What QGIS does not need in order to start is not loaded then.
            from geo_sam2.ui.controller import Controller
            from geo_sam2.ui.dock import GeoSam2Dock

            self._controller = Controller(self._iface.mapCanvas(), QgsProject.instance())
            self._controller.message.connect(self._show_message)
            self._dock = GeoSam2Dock(self._controller, self._iface.mainWindow())
            self._dock.opened.connect(self._follow_opened)
            self._dock.closed.connect(self._follow_closed)
            self._dock.map_wanted.connect(self._go_to_map)
            self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self._dock)
        self._dock.setUserVisible(True)
        self._follow_opened()
        return self._dock

    def open_store(self, folder: Path) -> str:
        """Show a store that was encoded just now; returns what was done, in a sentence."""
        self.show_dock()
        self._controller.open_store(folder)
        return self.tr("The store is open in the Geo-SAM2 panel: click on an object.")

    def may_leave(self) -> bool:
        """Ask whether an object that is not saved may be dropped."""
        return self._dock is None or self._dock.may_leave()

    def remove(self) -> None:
        """Take everything out of the main window."""
        store_loading.unregister_opener(self.open_store)
        self._iface.unregisterApplicationExitBlocker(self._blocker)
        if self._controller is not None:
            self._controller.message.disconnect(self._show_message)
            self._controller.close()
        if self._dock is not None and not sip.isdeleted(self._dock):
            self._iface.removeDockWidget(self._dock)
            # At once: the next load of the plugin may come before the event loop does.
            self._dock.setParent(None)
            sip.delete(self._dock)
        if self._controller is not None:
            sip.delete(self._controller)
        self._dock = self._controller = None
        self._iface.removeToolBarIcon(self._action)
        sip.delete(self._menu)
        sip.delete(self._action)

    def _toggle(self, is_on: bool) -> None:
        if is_on:
            self.show_dock()
        elif self._dock is not None and not self._dock.close():
            self._action.setChecked(True)

    def _follow_opened(self) -> None:
        self._action.setChecked(True)
        if self._controller is not None:
            self._controller.set_shown(True)

    def _follow_closed(self) -> None:
        self._action.setChecked(False)
        if self._controller is not None:
            self._controller.set_shown(False)

    def _show_message(self, text: str, hint: str, level: Level) -> None:
        """Say in the message bar what the dock would say if it could be seen."""
        if self._dock is not None and self._dock.isUserVisible():
            return
        bar = self._iface.messageBar()
        item = bar.createMessage(self.tr("Geo-SAM2"), text)
        notice = self._controller.view().notice
        details = notice.details if notice is not None and notice.text == text else ""
        if hint or details:
            # The bar cuts off what does not fit.
            button = QPushButton(self.tr("Details"), item)
            window = self._iface.mainWindow()
            button.clicked.connect(lambda: show_details(window, text, hint, details))
            item.layout().addWidget(button)
        bar.pushWidget(item, _LEVELS[level], _SECONDS[level])

    def _go_to_map(self) -> None:
        """Give the map the keyboard, also from a dock in a window of its own."""
        canvas = self._iface.mapCanvas()
        canvas.activateWindow()
        canvas.setFocus(Qt.FocusReason.OtherFocusReason)


class _ExitBlocker(QgsApplicationExitBlockerInterface):
    """Asks before QGIS ends with an object that is not saved."""

    def __init__(self, desktop: Desktop) -> None:
        super().__init__()
        self._desktop = desktop

    def allowExit(self) -> bool:
        """Say whether QGIS may end."""
        return self._desktop.may_leave()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The dock: panels on one side, the controller on the other, and the questions that need a person.

Hands every wish of a panel to the controller and every new view to the panels. Owns the file
dialogs and the one question before an unsaved object is dropped. Ignorant of how anything is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import QgsProviderRegistry
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import QMimeData, Qt, pyqtSignal
from qgis.PyQt.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QKeyEvent
from qgis.PyQt.QtWidgets import QFileDialog, QMessageBox, QWidget

from geo_sam2.icon_files import icon
from geo_sam2.store_place import SUFFIX
from geo_sam2.ui import dock_settings
from geo_sam2.ui.dock_view import DockView, Mend
from geo_sam2.ui.forms import form, show_text
from geo_sam2.ui.style_dialog import StyleDialog

if TYPE_CHECKING:
    from geo_sam2.ui.controller import Controller

_Form = form("dock")
OBJECT_NAME = "GeoSam2Dock"
MIN_WIDTH_PX = 280


class _Contents(QWidget, _Form):
    """Everything in the dock, as Designer has it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setupUi(self)


class GeoSam2Dock(QgsDockWidget):
    """The dock widget; hidden until somebody asks for it.

    Args:
        controller: Decides; outlives the dock.
        parent: QGIS's main window.

    Signals:
        map_wanted: Whoever has the keyboard in the dock wants it back on the map.
    """

    map_wanted = pyqtSignal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(OBJECT_NAME)
        self.setWindowTitle(self.tr("Geo-SAM2"))
        self.setWindowIcon(icon("geo_sam2"))
        self.setAllowedAreas(Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea)
        self.setAcceptDrops(True)
        self._controller = controller
        self._style_dialog: StyleDialog | None = None
        self.contents = _Contents(self)
        self.contents.setMinimumWidth(MIN_WIDTH_PX - 2 * self.frame_px())
        self.setWidget(self.contents)
        self._connect_start()
        self._connect_object()
        self._connect_output()
        contents = self.contents
        contents.noticeBar.mend_requested.connect(self._mend)
        contents.noticeBar.second_requested.connect(controller.decline)
        contents.shapePanel.shape_changed.connect(controller.set_shape)
        contents.displayPanel.switches_changed.connect(controller.set_switches)
        contents.displayPanel.style_requested.connect(self._show_style)
        contents.displayPanel.reset_requested.connect(self._reset)
        controller.changed.connect(self.show_view)
        self.show_view(controller.view())

    @staticmethod
    def frame_px() -> int:
        """Return what QGIS's dock areas take off the width on either side."""
        return 2

    def _connect_start(self) -> None:
        panel, controller = self.contents.startPanel, self._controller
        panel.raster_chosen.connect(controller.set_raster)
        panel.store_chosen.connect(controller.open_store)
        panel.store_open_requested.connect(self._open_store)
        panel.new_store_requested.connect(controller.new_store)
        panel.model_chosen.connect(controller.choose_model)
        panel.resolution_chosen.connect(controller.choose_resolution)
        panel.encode_view_requested.connect(controller.encode_view)
        panel.encode_all_requested.connect(controller.encode_all)
        panel.pause_toggled.connect(controller.pause)
        panel.output_chosen.connect(controller.set_output)
        panel.output_new_requested.connect(self._new_output)
        panel.output_load_requested.connect(self._load_output)

    def _connect_object(self) -> None:
        panel, controller = self.contents.objectPanel, self._controller
        panel.segment_toggled.connect(controller.set_segmenting)
        panel.reopen_toggled.connect(controller.set_reopening)
        panel.prompt_kind_chosen.connect(controller.set_prompt_kind)
        panel.candidate_chosen.connect(controller.hands.choose_candidate)
        panel.accept_requested.connect(controller.accept)
        panel.clear_requested.connect(controller.hands.clear)
        panel.undo_requested.connect(controller.hands.undo)
        panel.redo_requested.connect(controller.hands.redo)

    def _connect_output(self) -> None:
        panel, controller = self.contents.outputPanel, self._controller
        panel.undo_saved_requested.connect(controller.undo_saved)
        panel.commit_requested.connect(controller.commit)
        panel.zoom_requested.connect(controller.zoom_to_saved)
        panel.class_chosen.connect(controller.classes.choose)
        panel.class_added.connect(controller.classes.add)
        panel.class_removed.connect(controller.classes.remove)
        panel.class_renamed.connect(controller.classes.rename)
        panel.class_recoloured.connect(controller.classes.recolour)

    def show_view(self, view: DockView) -> None:
        """Draw a new view."""
        contents = self.contents
        contents.noticeBar.show_view(view.notice)
        contents.startPanel.show_view(view)
        contents.objectPanel.show_view(view.object)
        contents.outputPanel.show_view(view.output)
        contents.shapePanel.show_view(view.shape, view.imagery.pixel_m)
        contents.displayPanel.show_view(view.switches)
        show_text(contents.hintLabel, view.hint)

    # Questions

    def may_leave(self) -> bool:
        """Ask once whether an object that is not saved may be dropped; True where nothing is lost."""
        if not self._controller.has_unsaved_object:
            return True
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self,
            self.tr("Unsaved object"),
            self.tr("The object on the map is not saved. Save it?"),
            buttons.Save | buttons.Discard | buttons.Cancel,
            buttons.Save,
        )
        if answer == buttons.Save:
            return bool(self._controller.accept())
        if answer == buttons.Discard:
            self._controller.discard()
            return True
        return False

    def _open_store(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, self.tr("Folder of a feature store"), dock_settings.last_folder()
        )
        if folder:
            self._controller.open_store(Path(folder))

    def _new_output(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            self.tr("New output layer"),
            str(self._controller.proposed_output()),
            self.tr("GeoPackage (*.gpkg)"),
            options=QFileDialog.Option.DontConfirmOverwrite,  # a layer is added, nothing is replaced
        )
        if path:
            path = path if path.lower().endswith(".gpkg") else f"{path}.gpkg"
            self._controller.create_output(Path(path))

    def _load_output(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Load an output layer"),
            str(self._controller.proposed_output().parent),
            self.tr("Vector layers (*.gpkg *.shp *.geojson *.fgb *.sqlite);;All files (*)"),
        )
        if path:
            self._controller.load_output(Path(path))

    def _mend(self) -> None:
        notice = self._controller.view().notice
        questions = {
            Mend.ADD_RASTER: self._add_raster,
            Mend.NEW_OUTPUT: self._new_output,
        }
        if notice is not None and notice.mend in questions:
            questions[notice.mend]()
        else:
            self._controller.mend()

    def _add_raster(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Add an image"),
            dock_settings.last_folder(),
            QgsProviderRegistry.instance().fileRasterFilters(),
        )
        if path:
            self._controller.add_raster(Path(path))

    def _show_style(self) -> None:
        if self._style_dialog is None:
            self._style_dialog = StyleDialog(self._controller.style(), self)
            self._style_dialog.style_changed.connect(self._controller.set_style)
        self._style_dialog.show_style(self._controller.style())
        self._style_dialog.show()
        self._style_dialog.raise_()

    def _reset(self) -> None:
        self._controller.reset()
        if self._style_dialog is not None:
            self._style_dialog.show_style(self._controller.style())

    # Qt's own

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask before an unsaved object is lost."""
        if not self.may_leave():
            event.ignore()
            return
        super().closeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave the dock with Esc, where the widget that has the keyboard does not want it."""
        if event.key() == Qt.Key.Key_Escape and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            event.accept()
            self.map_wanted.emit()
        else:
            super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take the folder of a store."""
        if dropped_store(event.mimeData()) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open a store that was dropped."""
        folder = dropped_store(event.mimeData())
        if folder is not None:
            event.acceptProposedAction()
            self._controller.open_store(folder)


def dropped_store(data: QMimeData) -> Path | None:
    """Return the folder of a store that is dragged: the folder itself, or any file in it."""
    for url in data.urls():
        path = Path(url.toLocalFile())
        for folder in (path, path.parent):
            if url.isLocalFile() and folder.name.endswith(SUFFIX):
                return folder
    return None

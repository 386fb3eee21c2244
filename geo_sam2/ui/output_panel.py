# SPDX-License-Identifier: GPL-3.0-or-later
"""What has been saved, and the classes of what will be.

Shows ``OutputView``; says what the user wants by signals. Ignorant of layers.
"""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QSignalBlocker, Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import QListWidgetItem, QWidget

from geo_sam2.ui.dock_view import ClassView, OutputView
from geo_sam2.ui.forms import form, set_icon, show_text

_Form = form("output_panel")
_VISIBLE_CLASSES = 6
_SQUARE_PX = 14


class OutputPanel(QWidget, _Form):
    """Saved objects and classes."""

    undo_saved_requested = pyqtSignal()
    commit_requested = pyqtSignal()
    zoom_requested = pyqtSignal()
    class_chosen = pyqtSignal(int)  # -1 for none
    class_added = pyqtSignal()
    class_removed = pyqtSignal(int)
    class_renamed = pyqtSignal(int, str)
    class_recoloured = pyqtSignal(int, str)  # as #rrggbb

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        set_icon(self.zoomButton, QgsApplication.getThemeIcon("/mActionZoomToLayer.svg"))
        set_icon(self.commitButton, QgsApplication.getThemeIcon("/mActionSaveEdits.svg"))
        set_icon(self.addClassButton, QgsApplication.getThemeIcon("/symbologyAdd.svg"))
        set_icon(self.removeClassButton, QgsApplication.getThemeIcon("/symbologyRemove.svg"))
        self.classColourButton.setShowMenu(False)
        self.classColourButton.setColorDialogTitle(self.tr("Colour of the class"))
        self.undoSavedButton.clicked.connect(self.undo_saved_requested)
        self.commitButton.clicked.connect(self.commit_requested)
        self.zoomButton.clicked.connect(self.zoom_requested)
        self.addClassButton.clicked.connect(self.class_added)
        self.removeClassButton.clicked.connect(lambda: self.class_removed.emit(self.classList.currentRow()))
        self.classColourButton.colorChanged.connect(self._recolour)
        self.classList.currentRowChanged.connect(self.class_chosen)
        self.classList.itemChanged.connect(self._rename)
        self._shown: OutputView | None = None

    def show_view(self, view: OutputView) -> None:
        """Draw what has changed."""
        if view == self._shown:
            return
        before, self._shown = self._shown, view
        show_text(self.savedLabel, view.text or self.tr("Nothing saved yet."))
        self.undoSavedButton.setEnabled(view.can_undo)
        self.commitButton.setVisible(view.can_commit)
        self.zoomButton.setEnabled(view.can_zoom)
        if before is None or before.classes != view.classes:
            self._fill(view.classes)
        with QSignalBlocker(self.classList):
            self.classList.setCurrentRow(view.class_index)
        chosen = view.classes[view.class_index] if 0 <= view.class_index < len(view.classes) else None
        self.removeClassButton.setEnabled(chosen is not None)
        self.classColourButton.setVisible(chosen is not None)
        if chosen is not None:
            with QSignalBlocker(self.classColourButton):
                self.classColourButton.setColor(QColor(chosen.colour))

    def _fill(self, classes: tuple[ClassView, ...]) -> None:
        with QSignalBlocker(self.classList):
            self.classList.clear()
            for entry in classes:
                item = QListWidgetItem(_square(entry.colour), entry.name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                if entry.key:
                    item.setToolTip(
                        self.tr("Press {key} on the map to choose {name}; double-click to rename.").format(
                            key=entry.key, name=entry.name
                        )
                    )
                    item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{entry.name}, {entry.key}")
                self.classList.addItem(item)
        self.classList.setVisible(bool(classes))
        rows = min(len(classes), _VISIBLE_CLASSES)
        height = self.classList.sizeHintForRow(0) if classes else 0
        self.classList.setFixedHeight(rows * height + 2 * self.classList.frameWidth() + 2)
        self.classHint.setVisible(not classes)

    def _rename(self, item: QListWidgetItem) -> None:
        index, name = self.classList.row(item), item.text()
        if self._shown is not None:
            # Until it is known that the class can be called so.
            with QSignalBlocker(self.classList):
                item.setText(self._shown.classes[index].name)
        self.class_renamed.emit(index, name)

    def _recolour(self, colour: QColor) -> None:
        self.class_recoloured.emit(self.classList.currentRow(), colour.name())


def _square(colour: str) -> QIcon:
    pixmap = QPixmap(_SQUARE_PX, _SQUARE_PX)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)

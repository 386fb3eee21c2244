# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes of this project, and the one that the next object gets.

Kept in the project; a project without classes begins with those that were used last. Ignorant of
layers and widgets.
"""

from __future__ import annotations

import contextlib

from qgis.core import QgsProject, QgsSettings
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import ClassListError
from geo_sam2.segmentation.class_list import ClassList
from geo_sam2.ui.dock_view import ClassView

_SCOPE, _ENTRY = "geo_sam2", "/classes"
_SETTING = "geo_sam2/classes"


class ClassChoice(QObject):
    """A list of classes and the chosen one.

    Args:
        project: Keeps the list.

    Attributes:
        classes: The list.
        index: Of the chosen class, -1 for none.
    """

    changed = pyqtSignal()
    classes_changed = pyqtSignal()
    failed = pyqtSignal(object)  # ClassListError

    def __init__(self, project: QgsProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self.classes = ClassList()
        self.index = -1
        self.read()

    @property
    def name(self) -> str | None:
        """The chosen class; None for none."""
        return self.classes.classes[self.index].name if 0 <= self.index < len(self.classes) else None

    def read(self) -> None:
        """Take the classes of the project that is open now."""
        text, is_there = self._project.readEntry(_SCOPE, _ENTRY, "")
        if not is_there:
            text = str(QgsSettings().value(_SETTING, "") or "")
        self.classes = ClassList()
        with contextlib.suppress(ClassListError):  # edited by hand: begin anew
            self.classes = ClassList.from_text(text)
        self.index = 0 if len(self.classes) else -1
        self.classes_changed.emit()
        self.changed.emit()

    def choose(self, index: int) -> None:
        """Choose the class of the next object; -1 for none."""
        self.index = index if 0 <= index < len(self.classes) else -1
        self.changed.emit()

    def choose_by_key(self, key: int) -> None:
        """Choose the class of a number key; the key of the chosen one chooses none."""
        index = self.classes.index_of_key(key)
        if index is not None:
            self.choose(-1 if index == self.index else index)

    def choose_by_name(self, name: str | None) -> None:
        """Choose a class by its name, as a saved object has it; an unknown one is added."""
        if name and self.classes.index_of(name) is None:
            self._change(self.classes.added(name))
        self.choose(-1 if not name else self.classes.index_of(name) or 0)

    def add(self) -> None:
        """Add a class and choose it."""
        name = self.classes.free_name(self.tr("Class"))
        if self._change(self.classes.added(name)):
            self.choose(len(self.classes) - 1)

    def remove(self, index: int) -> None:
        """Remove a class from the list."""
        if 0 <= index < len(self.classes) and self._change(self.classes.without(index)):
            self.choose(min(index, len(self.classes) - 1))

    def rename(self, index: int, name: str) -> None:
        """Give a class another name."""
        try:
            self._change(self.classes.renamed(index, name))
        except ClassListError as error:
            self.failed.emit(error)
            self.classes_changed.emit()
        self.changed.emit()

    def recolour(self, index: int, colour: str) -> None:
        """Give a class another colour."""
        if 0 <= index < len(self.classes):
            self._change(self.classes.recoloured(index, colour))

    def view(self) -> tuple[ClassView, ...]:
        """Return what the dock shows."""
        return tuple(
            ClassView(item.name, item.colour, self.classes.key_of(index))
            for index, item in enumerate(self.classes.classes)
        )

    def _change(self, classes: ClassList) -> bool:
        if classes == self.classes:
            return False
        self.classes = classes
        self._project.writeEntry(_SCOPE, _ENTRY, classes.to_text())
        QgsSettings().setValue(_SETTING, classes.to_text())
        self.classes_changed.emit()
        self.changed.emit()
        return True

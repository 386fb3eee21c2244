# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that were accepted and not committed: of a QGIS that crashed, or of a layer that was removed.

Offered once, brought back or not. Ignorant of how they were written down.
"""

from __future__ import annotations

from qgis.core import QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2 import settings
from geo_sam2.errors import GeoSam2Error, OutputError
from geo_sam2.segmentation.journal import PendingJournal, discard, pending
from geo_sam2.segmentation.output_journal import restore
from geo_sam2.ui.background import Background
from geo_sam2.ui.saving import Saving


class JournalOffer(QObject):
    """What is offered.

    Args:
        project: Where the layers are, or come to be.
        saving: Brings objects into a layer.
        worker: Reads the journals.
    """

    changed = pyqtSignal()
    told = pyqtSignal(str)
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(
        self, project: QgsProject, saving: Saving, worker: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._project = project
        self._saving = saving
        self._worker = worker
        self._offered: list[PendingJournal] = []
        self._turn = 0

    def look(self) -> None:
        """Look for journals that were left behind."""
        self._turn += 1
        home, turn = settings.home(), self._turn

        def take(found: list[PendingJournal]) -> None:
            if turn == self._turn:
                self._offered = found
                self.changed.emit()

        self._worker.run(lambda: pending(home), take, self.failed.emit)

    def text(self) -> str:
        """Return what is offered, in a sentence; empty for nothing."""
        if not self._offered:
            return ""
        journal = self._offered[0]
        count, name = len(journal.objects), journal.layer.name
        if count == 1:
            return self.tr("1 object accepted into “{name}” was not written to it.").format(name=name)
        return self.tr("{count} objects accepted into “{name}” were not written to it.").format(
            count=count, name=name
        )

    def answer(self, is_wanted: bool) -> None:
        """Bring the offered objects back, or forget them."""
        if not self._offered:
            return
        journal = self._offered.pop(0)
        try:
            if is_wanted:
                self._restore(journal)
            else:
                discard(journal)
        except GeoSam2Error as error:
            self._offered.insert(0, journal)
            self.failed.emit(error)
        self.look()  # what is being read just now may have this one still
        self.changed.emit()

    def _restore(self, journal: PendingJournal) -> None:
        self._saving.set_layer(self._layer_of(journal))
        report = restore(journal, self._saving.output)
        if report.errors:
            raise report.errors[0]
        discard(journal)
        text = self.tr("1 object is back.") if report.restored == 1 else self.tr("{count} objects are back.")
        if report.already:
            text += " " + self.tr("{already} were there already.").format(already=report.already)
        self.told.emit(text.format(count=report.restored))

    def _layer_of(self, journal: PendingJournal) -> QgsVectorLayer:
        """Return the layer that the objects were meant for: in the project, from its file, or the chosen one.

        Raises:
            OutputError: There is none of these.
        """
        source = journal.layer.source
        for layer in self._project.mapLayers().values():
            if isinstance(layer, QgsVectorLayer) and (
                layer.source() == source if source else layer.id() == journal.layer.layer_id
            ):
                return layer
        if source and journal.layer.provider != "memory":
            layer = QgsVectorLayer(source, journal.layer.name, journal.layer.provider)
            if layer.isValid():
                self._project.addMapLayer(layer)
                return layer
        if self._saving.layer is not None:
            return self._saving.layer
        raise OutputError(
            self.tr("The layer “{name}” cannot be opened.").format(name=journal.layer.name),
            self.tr("Choose another output layer, and restore again."),
        )

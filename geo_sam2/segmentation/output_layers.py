# SPDX-License-Identifier: GPL-3.0-or-later
"""The output layers of a session, each with its journal.

A layer is followed from the first time that it is chosen, also while another one is, for its edits
may be committed, discarded or lost at any time. Main thread.
"""

from __future__ import annotations

import functools
from pathlib import Path

from qgis.core import QgsProject, QgsVectorLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.segmentation.output_journal import OutputJournal
from geo_sam2.segmentation.output_layer import OutputLayer


class OutputLayers(QObject):
    """Makes one ``OutputLayer`` a layer and keeps it.

    Args:
        project: Of the layers.
        home: The user's data directory, where journals are.

    Signals:
        journal_failed: A ``JournalError``, see ``OutputJournal.failed``.
        objects_left: A layer went with its edits; what of them was accepted here is in a journal
            that is offered from now on.
    """

    journal_failed = pyqtSignal(object)
    objects_left = pyqtSignal()

    def __init__(self, project: QgsProject, home: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self._home = home
        self._outputs: dict[str, tuple[OutputLayer, OutputJournal]] = {}

    def of(self, layer: QgsVectorLayer) -> OutputLayer:
        """Return the output layer of a layer, the same one each time."""
        known = self._outputs.get(layer.id())
        if known is not None and known[0].layer is not None:
            return known[0]
        output = OutputLayer(layer, self._project, self)
        journal = OutputJournal(output, self._home)
        journal.failed.connect(self.journal_failed)
        # After the journal, which hears of it first and lets the file go.
        output.removed.connect(functools.partial(self._forget, layer.id()))
        self._outputs[layer.id()] = output, journal
        return output

    @property
    def uncommitted(self) -> int:
        """How many accepted objects of all layers are in edit buffers only."""
        return sum(output.uncommitted for output, _ in self._outputs.values())

    def close(self) -> None:
        """Let go of all layers; what is in their edit buffers stays there and in the journals."""
        for output, journal in self._outputs.values():
            output.close()
            journal.close()
            output.deleteLater()
        self._outputs.clear()

    def _forget(self, layer_id: str) -> None:
        # Not deleted here, in the middle of its own signal; a controller may hold it and ask what happened.
        self._outputs.pop(layer_id, None)
        self.objects_left.emit()

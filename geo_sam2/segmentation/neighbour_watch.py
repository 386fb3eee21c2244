# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices when a shape may have to be cut otherwise: the project's choice or a neighbour has changed.

Follows the project's avoid-overlap settings and the edits of all layers that they name. What other
programs do to their sources is heard of only as far as the layers' providers tell. Ignorant of
shapes. Main thread.
"""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProject, QgsVectorLayer
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.segmentation.overlap_avoidance import avoided_layers


class NeighbourWatch(QObject):
    """Follows what objects of one output layer must not overlap.

    Args:
        project: Says how overlap is avoided.

    Signals:
        changed: Something to be cut against may be otherwise now; may come many times in one go.
    """

    changed = pyqtSignal()

    def __init__(self, project: QgsProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self._layer: QgsVectorLayer | None = None
        self._followed: list[QgsVectorLayer] = []
        self._settings = (project.avoidIntersectionsModeChanged, project.avoidIntersectionsLayersChanged)
        for signal in self._settings:
            signal.connect(self._follow_settings)

    def set_layer(self, layer: QgsVectorLayer | None) -> None:
        """Watch for another output layer, or for none."""
        self._layer = layer
        self._follow()

    def close(self) -> None:
        """Watch no longer."""
        self.set_layer(None)
        for signal in self._settings:
            signal.disconnect(self._follow_settings)

    def _follow_settings(self) -> None:
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        for layer in self._followed:
            for signal in () if sip.isdeleted(layer) else _signals(layer):
                signal.disconnect(self._note)
        layer = self._layer
        has_layer = layer is not None and not sip.isdeleted(layer)
        self._followed = avoided_layers(layer, self._project) if has_layer else []
        for layer in self._followed:
            for signal in _signals(layer):
                signal.connect(self._note)

    def _note(self, *_: object) -> None:
        self.changed.emit()


def _signals(layer: QgsVectorLayer) -> tuple[Any, ...]:
    return (
        layer.undoStack().indexChanged,
        layer.afterCommitChanges,
        layer.afterRollBack,  # the stack is emptied before the buffer
        layer.dataChanged,
        layer.crsChanged,
        layer.willBeDeleted,
    )

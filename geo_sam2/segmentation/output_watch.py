# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows what becomes of accepted objects in a layer, whoever edits it.

Owns the connections to the layer and its undo stack: undo and redo in QGIS, features deleted by hand,
commit, rollback, removal. Edits nothing itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from qgis.core import QgsGeometry, QgsVectorLayer
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from geo_sam2.segmentation.accepted_features import AcceptedFeatures
from geo_sam2.segmentation.saved_steps import SavedStep, SavedSteps


class OutputWatch(QObject):
    """What of the accepted objects is in one layer's edit buffer; its signals are ``OutputLayer``'s.

    Args:
        layer: The layer; it may go away at any time.

    Attributes:
        is_session_ours: The editing session was begun for an object, not by the user's wish.
    """

    changed = pyqtSignal()
    object_lost = pyqtSignal(int)
    object_back = pyqtSignal(int)
    committed = pyqtSignal()
    rolled_back = pyqtSignal()
    removed = pyqtSignal()

    def __init__(self, layer: QgsVectorLayer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.is_session_ours = False
        self._layer: QgsVectorLayer | None = layer
        self._steps = SavedSteps()
        self._accepted = AcceptedFeatures()
        self._written: dict[int, QgsGeometry] = {}  # by number, of features that were changed
        # Between what comes before and after a commit, a rollback or a command of our own, features and
        # commands come and go that say nothing of objects.
        self._is_busy = False
        self._connections = (
            (layer.undoStack().indexChanged, self._follow_stack),
            (layer.featureDeleted, self._lose),
            (layer.featureAdded, self._find_again),
            (layer.beforeCommitChanges, self._begin_commit),
            (layer.beforeRollBack, self._begin_rollback),
            (layer.afterCommitChanges, self._end_commit),
            (layer.afterRollBack, self._end_rollback),
            (layer.editingStarted, self.changed),
            (layer.editingStopped, self._end_session),
            (layer.nameChanged, self.changed),
            (layer.willBeDeleted, self._remove),
        )
        for signal, slot in self._connections:
            signal.connect(slot)

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer, or None once it is gone or let go of."""
        if self._layer is not None and sip.isdeleted(self._layer):
            self._layer = None
        return self._layer

    @property
    def uncommitted(self) -> int:
        """How many accepted objects are in the edit buffer only."""
        return len(self._accepted)

    @property
    def can_undo(self) -> bool:
        """Whether the last command on the layer's stack is an accepted object."""
        layer = self.layer
        if layer is None or layer.isEditCommandActive():
            return False
        step = self._steps.top(layer.undoStack().index())
        return step is not None and self._is_in_effect(layer, step)

    @contextlib.contextmanager
    def own_command(self) -> Iterator[None]:
        """Take what happens meanwhile for the making of an object; ``note`` it afterwards."""
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    def note(
        self, number: int, fids: tuple[int, ...], replaced: int | None, written: QgsGeometry
    ) -> int | None:
        """Follow an object whose command was just pushed.

        Args:
            number: Of the object, growing.
            fids: The features that it made or changed.
            replaced: The feature that it changed; None for a new object.
            written: The new geometry of that feature.

        Returns:
            The number of the object that the changed feature showed before, if it is not yet
            committed either.
        """
        layer = self.layer
        if layer is None:
            return None
        before = None if replaced is None else self._accepted.newest_of(replaced)
        self._steps.add(SavedStep(number, layer.undoStack().index(), fids, replaced))
        self._accepted.add(number, fids)
        if replaced is not None:
            self._written[number] = QgsGeometry(written)
        return before

    def close(self) -> None:
        """Follow the layer no longer."""
        if self.layer is not None:
            for signal, slot in self._connections:
                signal.disconnect(slot)
            self._layer = None

    def _follow_stack(self, index: int) -> None:
        layer = self.layer
        if layer is None or self._is_busy:
            return
        undone, redone = self._steps.follow(
            index, layer.undoStack().count(), lambda step: self._is_in_effect(layer, step)
        )
        # New features say themselves that they went or came; one that was changed does not.
        for step in undone:
            if step.replaced is not None and self._accepted.withdraw(step.number):
                self.object_lost.emit(step.number)
        for step in redone:
            if step.replaced is not None:
                self._accepted.add(step.number, step.fids)
                self.object_back.emit(step.number)
        self.changed.emit()

    def _is_in_effect(self, layer: QgsVectorLayer, step: SavedStep) -> bool:
        """Whether the layer holds what a command did; ids of new features are never given twice."""
        buffer = layer.editBuffer()
        if buffer is None:
            return False
        if step.replaced is None:
            return all(buffer.isFeatureAdded(fid) for fid in step.fids)
        return bool(layer.getGeometry(step.replaced).equals(self._written[step.number]))

    def _lose(self, fid: int) -> None:
        for number in () if self._is_busy else self._accepted.lose(fid):
            self.object_lost.emit(number)

    def _find_again(self, fid: int) -> None:
        for number in () if self._is_busy else self._accepted.find(fid):
            self.object_back.emit(number)

    def _begin_commit(self, *_: object) -> None:
        self._is_busy = True
        # A commit that fails does not say that it is over.
        QTimer.singleShot(0, self._check_failed_commit)

    def _check_failed_commit(self) -> None:
        layer = self.layer
        if not self._is_busy or layer is None:
            return
        self._is_busy = False
        buffer = layer.editBuffer()
        if buffer is not None:
            # What the provider took before it failed is safe: it is in the buffer no more.
            left = {*buffer.addedFeatures(), *buffer.changedGeometries()}
            for number in self._accepted.keep(left):
                self.object_lost.emit(number)
        self.changed.emit()

    def _begin_rollback(self) -> None:
        self._is_busy = True

    def _forget(self) -> None:
        self._is_busy = False
        self._steps.clear()
        self._accepted.clear()
        self._written.clear()

    def _end_commit(self) -> None:
        self._forget()
        self.committed.emit()
        self.changed.emit()

    def _end_rollback(self) -> None:
        self._forget()
        self.rolled_back.emit()
        self.changed.emit()

    def _end_session(self) -> None:
        self.is_session_ours = False
        self.changed.emit()

    def _remove(self) -> None:
        self._layer = None
        self.removed.emit()
        self.changed.emit()

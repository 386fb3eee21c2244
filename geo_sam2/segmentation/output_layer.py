# SPDX-License-Identifier: GPL-3.0-or-later
"""The layer that accepted objects are saved into, whoever made it and wherever it lies.

Owns the way into its edit buffer and back: one undoable command an object, a session begun where
there is none, and undo from the layer's own stack. Never commits a session that the user began.
Ignorant of prompts, of the journal and of what is shown; what others do to the layer is followed by
``OutputWatch``. Main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import OutputError
from geo_sam2.segmentation.crs_change import CrsChange
from geo_sam2.segmentation.output_choice import why_not_output
from geo_sam2.segmentation.output_feature import FeatureMaker, SavedObject
from geo_sam2.segmentation.output_fields import is_null
from geo_sam2.segmentation.output_parts import parts_beside
from geo_sam2.segmentation.output_watch import OutputWatch
from geo_sam2.segmentation.overlap_avoidance import cut_against


@dataclass(frozen=True, eq=False)
class SaveReport:
    """What came of an object that was accepted.

    Attributes:
        number: Of the object within this layer and session; see ``OutputLayer.object_lost``.
        fids: The features in the layer; not yet final until the edits are committed.
        geometry: What was saved, in the CRS of the layer.
        notes: A sentence for each value that was left out and was not named before.
    """

    number: int
    fids: tuple[int, ...]
    geometry: QgsGeometry
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class AcceptedObject:
    """An object that is in the layer's edit buffer now.

    Attributes:
        number: Of the object.
        saved: As it lies in the layer: geometry and CRS are the layer's.
        replaced: Id of the feature that it took the place of; None for a new one.
        supersedes: Number of the accepted object whose feature that is, not yet committed either.
    """

    number: int
    saved: SavedObject
    replaced: int | None = None
    supersedes: int | None = None


class OutputLayer(QObject):
    """One polygon layer as a place for objects.

    Args:
        layer: The layer; it may go away at any time.
        project: Says how overlap is avoided, which transformations to choose and how to measure.

    Signals:
        changed: What can be saved or undone may be otherwise now.
        object_accepted: An ``AcceptedObject`` went into the edit buffer.
        object_lost: The number of one that is there no longer: undone, or deleted by hand.
        object_back: The number of one that was lost and is there again.
        committed: The layer's edits are in its source now.
        rolled_back: The layer's edits were discarded.
        removed: The layer is gone, with what was not committed.
    """

    changed = pyqtSignal()
    object_accepted = pyqtSignal(object)
    object_lost = pyqtSignal(int)
    object_back = pyqtSignal(int)
    committed = pyqtSignal()
    rolled_back = pyqtSignal()
    removed = pyqtSignal()

    def __init__(self, layer: QgsVectorLayer, project: QgsProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.layer_id = layer.id()
        self.name = layer.name()
        self._project = project
        self._features = FeatureMaker(layer, project)
        self._number = 0
        self._watch = OutputWatch(layer, self)
        self._watch.object_lost.connect(self.object_lost)
        self._watch.object_back.connect(self.object_back)
        self._watch.committed.connect(self.committed)
        self._watch.rolled_back.connect(self.rolled_back)
        self._watch.removed.connect(self.removed)
        self._watch.changed.connect(self._note_change)

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer, or None once it is gone."""
        return self._watch.layer

    @property
    def crs(self) -> QgsCoordinateReferenceSystem:
        """Its CRS; invalid once it is gone."""
        return QgsCoordinateReferenceSystem() if self.layer is None else self.layer.crs()

    @property
    def transform_context(self) -> QgsCoordinateTransformContext:
        """Which transformations the project chooses where there are several."""
        return self._project.transformContext()

    def problem(self) -> str | None:
        """Return why nothing can be saved, in a sentence; None if it can."""
        layer = self.layer
        if layer is None:
            return self.tr("The output layer “{name}” was removed.").format(name=self.name)
        reason = why_not_output(layer)
        if reason is None and layer.isEditCommandActive():
            reason = self.tr("The layer “{name}” is being edited by another tool just now.").format(
                name=layer.name()
            )
        return reason

    def placed(
        self, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem, replacing: int | None = None
    ) -> QgsGeometry:
        """Return what ``save`` or ``replace`` would put into the layer, to be shown: in the layer's CRS.

        Moved exactly, valid, and cut where the project avoids overlap. What comes out, given again,
        comes out as it is.

        Args:
            geometry: A polygon or multi-polygon.
            crs: Of the geometry.
            replacing: The feature whose place the object will take; it is not cut against that.

        Raises:
            OutputError: The layer is gone, the object has no place in its CRS, or it cannot be cut.
        """
        return self._cut(self._moved(geometry, crs), replacing)

    def would_cut(
        self, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem, replacing: int | None = None
    ) -> bool:
        """Whether ``save`` or ``replace`` would make a shape smaller, because of what lies there now.

        False for what ``placed`` returned, unless its neighbours or the project's choice have changed since.

        Args:
            geometry: As for ``placed``.
            crs: Of the geometry.
            replacing: As for ``placed``.

        Raises:
            OutputError: As by ``placed``.
        """
        moved = self._moved(geometry, crs)
        return self._cut(moved, replacing) is not moved

    def save(self, saved: SavedObject) -> SaveReport:
        """Put a new object into the layer's edit buffer, as one command that can be undone.

        Raises:
            OutputError: Nothing was saved, and nothing is left of the attempt.
        """
        layer = self._editable_layer()
        placed = self._not_empty(self.placed(saved.geometry, saved.crs))
        features, notes = self._features.features(saved, placed)

        def add() -> tuple[int, ...]:
            return tuple(self._added(layer, feature) for feature in features)

        fids = self._run(layer, self.tr("Add object"), add)
        return self._report(saved, placed, fids, None, notes, placed)

    def replace(self, fid: int, saved: SavedObject) -> SaveReport:
        """Let an object take the place of a saved feature, as one command that can be undone.

        Attributes that the object says nothing of stay. In a layer of single parts the other parts
        of the old object go, and those of the new one come.

        Args:
            fid: Of the feature, as it is in the layer now.
            saved: The object; without a class the feature keeps its own.

        Raises:
            OutputError: Nothing was changed, and nothing is left of the attempt.
        """
        layer = self._editable_layer()
        feature = self.feature(fid)
        if feature is None:
            raise OutputError(
                self.tr("The feature that was re-opened is no longer in the layer “{name}”.").format(
                    name=layer.name()
                ),
                self.tr("Clear the object, or save it as a new one."),
            )
        placed = self._not_empty(self.placed(saved.geometry, saved.crs, fid))
        attributes, geometry, more, notes = self._features.changes(saved, placed, feature)
        beside = parts_beside(layer, feature, placed)

        def change() -> tuple[int, ...]:
            for other in beside:
                self._must(layer.deleteFeature(other))
            self._must(layer.changeGeometry(fid, geometry))
            for index, value in attributes.items():
                if not _is_same(value, feature.attribute(index)):
                    self._must(layer.changeAttributeValue(fid, index, value, feature.attribute(index)))
            return (fid, *(self._added(layer, part) for part in more))

        fids = self._run(layer, self.tr("Change object"), change)
        return self._report(saved, placed, fids, fid, notes, geometry)

    def feature(self, fid: int) -> QgsFeature | None:
        """Return a feature as it is in the layer now, edits included; None if it is not there."""
        layer = self.layer
        if layer is None:
            return None
        feature = layer.getFeature(fid)
        return feature if feature.isValid() else None

    @property
    def can_undo(self) -> bool:
        """Whether the last edit of the layer is an object that was accepted here."""
        return self._watch.can_undo

    def undo_last(self) -> bool:
        """Take back the object accepted last, by the layer's own stack, whichever layer is active.

        Returns:
            False, and nothing happens, where the layer's last edit is not ours.
        """
        if not self.can_undo:
            return False
        layer = self._usable_layer()
        layer.undoStack().undo()
        layer.triggerRepaint()
        return True

    @property
    def uncommitted(self) -> int:
        """How many accepted objects are in the edit buffer only."""
        return self._watch.uncommitted

    @property
    def is_session_ours(self) -> bool:
        """Whether the layer is being edited because an object was accepted here, not by the user's wish."""
        return self._watch.is_session_ours

    def commit(self) -> bool:
        """Commit the edits, and end the session, if it was begun here.

        Returns:
            Whether there is nothing left to commit of a session that was begun here; False, and
            nothing happens, for one that the user began.

        Raises:
            OutputError: The provider refuses; everything stays in the edit buffer.
        """
        layer = self.layer
        if layer is None or not self.is_session_ours:
            return False
        if not layer.commitChanges():
            raise OutputError(
                self.tr("The edits of the layer “{name}” cannot be saved: {reason}").format(
                    name=layer.name(), reason=" ".join(layer.commitErrors())
                ),
                self.tr("They stay in the layer's edit buffer; mend the cause and save them again."),
            )
        return True

    def end_empty_session(self) -> None:
        """End a session that was begun here and holds nothing; for when another layer is chosen."""
        layer = self.layer
        if layer is not None and self.is_session_ours and layer.isEditable() and not layer.isModified():
            layer.rollBack()

    def close(self) -> None:
        """Let go of the layer; what is in its edit buffer stays there, an empty session is ended."""
        self.end_empty_session()
        self._watch.close()

    # Into the edit buffer

    def _moved(self, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> QgsGeometry:
        return CrsChange(crs, self._usable_layer().crs(), self.transform_context)(geometry)

    def _cut(self, moved: QgsGeometry, replacing: int | None) -> QgsGeometry:
        """Return what of a shape in the layer's CRS may be saved; the same object where that is all of it."""
        layer = self._usable_layer()
        ignored: tuple[int, ...] = ()
        feature = None if replacing is None else self.feature(replacing)
        if feature is not None:
            ignored = (feature.id(), *parts_beside(layer, feature, moved))
        return cut_against(moved, layer, self._project, ignored)

    def _usable_layer(self) -> QgsVectorLayer:
        layer = self.layer
        if layer is None:
            raise OutputError(self.problem() or "", self.tr("Choose another output layer."))
        return layer

    def _editable_layer(self) -> QgsVectorLayer:
        problem = self.problem()
        if problem is not None:
            raise OutputError(problem, self.tr("Choose another output layer, or make a new one."))
        return self._usable_layer()

    def _not_empty(self, placed: QgsGeometry) -> QgsGeometry:
        if placed.isEmpty():
            raise OutputError(
                self.tr("Nothing of the object is left to be saved."),
                self.tr("Where the project avoids overlap, it lies on other features entirely."),
            )
        return placed

    def _run(self, layer: QgsVectorLayer, text: str, edit: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """Do something as one command of the layer's edit buffer, or leave no trace of it."""
        is_begun = not layer.isEditable()
        if is_begun and not layer.startEditing():
            raise OutputError(
                self.tr("The layer “{name}” cannot be edited now.").format(name=layer.name()),
                self.tr("Another program may have it open; choose another output layer."),
            )
        try:
            with self._watch.own_command():
                layer.beginEditCommand(text)
                try:
                    fids = edit()
                except BaseException:
                    layer.destroyEditCommand()
                    raise
                layer.endEditCommand()
        except BaseException:
            if is_begun:
                layer.rollBack()
            raise
        if is_begun:
            self._watch.is_session_ours = True
        layer.triggerRepaint()
        return fids

    def _added(self, layer: QgsVectorLayer, feature: QgsFeature) -> int:
        self._must(layer.addFeature(feature))
        return int(feature.id())

    def _must(self, is_done: bool) -> None:
        if not is_done:
            raise OutputError(
                self.tr("The layer “{name}” does not take the object.").format(name=self.name),
                self.tr("QGIS's log says why; choose another output layer, or make a new one."),
            )

    def _report(
        self,
        saved: SavedObject,
        placed: QgsGeometry,
        fids: tuple[int, ...],
        replaced: int | None,
        notes: list[str],
        written: QgsGeometry,
    ) -> SaveReport:
        layer = self._usable_layer()
        self._number += 1
        supersedes = self._watch.note(self._number, fids, replaced, written)
        as_saved = replace(saved, geometry=placed, crs=layer.crs())
        self.object_accepted.emit(AcceptedObject(self._number, as_saved, replaced, supersedes))
        self.changed.emit()
        return SaveReport(self._number, fids, placed, tuple(notes))

    def _note_change(self) -> None:
        if self.layer is not None:
            self.name = self.layer.name()
        self.changed.emit()


def _is_same(value: Any, other: Any) -> bool:
    return is_null(value) and is_null(other) or value == other

# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is on the screen to a feature in the output layer, and back for corrections.

Nothing is saved that is not on the screen. Joins prompts, imagery, classes and the output; ignorant
of how either of them works. Main thread.
"""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsProject
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import GeoSam2Error, OutputError
from geo_sam2.segmentation.object_reopening import ReopenedObject, feature_at, reopened
from geo_sam2.segmentation.object_state import ObjectState
from geo_sam2.segmentation.output_feature import SavedObject
from geo_sam2.segmentation.prompt_text import write_prompts
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.class_choice import ClassChoice
from geo_sam2.ui.imagery import Imagery
from geo_sam2.ui.prompting import Prompting
from geo_sam2.ui.saving import Saving
from geo_sam2.ui.shown_object import ShownObject


class ObjectSaving(QObject):
    """Accepts objects, and opens saved ones again.

    Args:
        project: Says how to get from the canvas to the layer.
        imagery: Knows the store that objects were made with.
        prompting: The object being made.
        saving: The output layer.
        classes: The class of the next object.
    """

    acted = pyqtSignal()  # something is about to be saved or opened
    told = pyqtSignal(str)  # an ordinary outcome, in a sentence
    saved = pyqtSignal()
    failed = pyqtSignal(object)  # GeoSam2Error
    reopened = pyqtSignal()

    def __init__(
        self,
        project: QgsProject,
        imagery: Imagery,
        prompting: Prompting,
        saving: Saving,
        classes: ClassChoice,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._project = project
        self._imagery = imagery
        self._prompting = prompting
        self._saving = saving
        self._classes = classes
        self._awaited: ReopenedObject | None = None  # until its store is open
        self._before: tuple[ShapeOptions, int] | None = None  # shape and class before a correction
        self._last_state = ObjectState()
        self._cleared_state = ObjectState()
        prompting.changed.connect(self._follow_object)

    # Save

    @property
    def has_unsaved(self) -> bool:
        """Whether something would be lost: prompts that were given and not saved."""
        session = self._prompting.session
        is_unchanged = self._saving.replacing is not None and not session.can_undo
        return session.is_open and not is_unchanged

    def accept(self) -> bool:
        """Save what is on the screen; says whether that was done."""
        self.acted.emit()
        if self._prompting.can_accept:
            return self._save(self._prompting.shown)
        if self._prompting.session.is_open:
            self.told.emit(self.tr("Not saved: the outline of all prompts is not on the map yet."))
        else:
            self.told.emit(self.tr("There is nothing to save: click on an object first."))
        return False

    def accept_double_click(self) -> bool:
        """Save what was on the screen before the first press of a double-click, which is no prompt."""
        self.acted.emit()
        before = self._prompting.take_back_press()
        if before is not None:
            return self._save(before)
        self._prompting.again()
        self.told.emit(self.tr("A double-click saves the outline on the map; there was none yet."))
        return False

    def _save(self, shown: ShownObject) -> bool:
        store = self._imagery.store
        if store is None:
            return False
        saving = self._saving
        try:
            if saving.layer is None:
                self._make_layer(store.crs)
            if saving.would_cut(shown.geometry, shown.crs):
                self._prompting.place_again()
                self.told.emit(self.tr("Not saved: what lies around it has changed, so look at it again."))
                return False
            manifest = store.store.manifest
            report = saving.save(
                SavedObject.of_result(
                    shown.result,
                    shown.geometry,
                    shown.crs,
                    class_name=self._classes.name,
                    model=manifest.model.id,
                    store_id=manifest.uuid,
                    prompts=write_prompts(shown.state),
                    outline=shown.shape.to_text(),
                )
            )
        except GeoSam2Error as error:
            self.failed.emit(error)
            return False
        self._prompting.finish()
        for note in report.notes:
            self.told.emit(note)
        self.saved.emit()
        return True

    def _make_layer(self, crs: QgsCoordinateReferenceSystem) -> None:
        """Make the layer that the first object goes into, beside the raster."""
        facts = self._imagery.facts
        raster = facts.file if facts is not None else ""
        layer = self._saving.create(self._saving.proposed_path(raster), crs, self._classes.classes)
        path = Path(layer.source().partition("|")[0])
        text = self.tr("Saved into the new layer {name} in {folder}.")
        self.told.emit(text.format(name=path.name, folder=path.parent))

    # Correct

    def reopen_at(self, point: QgsPointXY, crs: QgsCoordinateReferenceSystem) -> None:
        """Open the saved polygon at a place again."""
        self.acted.emit()
        layer = self._saving.layer
        if layer is None:
            error = OutputError(
                self.tr("There is no output layer to re-open objects from."),
                self.tr("Choose the layer with the saved objects first."),
            )
            self.failed.emit(error)
            return
        if self.has_unsaved:
            self.told.emit(self.tr("Save or clear the object that is open first."))
            return
        fid = feature_at(layer, point, crs, self._project)
        if fid is None:
            self.told.emit(self.tr("There is no polygon of the output layer here."))
            return
        try:
            item = reopened(layer, fid)
            self._find_store(item)
        except GeoSam2Error as error:
            self.failed.emit(error)

    def _find_store(self, item: ReopenedObject) -> None:
        """Open an object on its store, after opening that if need be.

        Raises:
            OutputError: The store is not known.
        """
        store = self._imagery.store
        if store is not None and item.store_id in ("", store.store.manifest.uuid):
            self._open(item)
            return
        folder = self._imagery.folder_of(item.store_id)
        if folder is None:
            raise OutputError(
                self.tr("The feature store that this polygon was made with is not at hand."),
                self.tr("Choose its image, or open the folder of that store, and click again."),
            )
        self._awaited = item
        self._imagery.open_store(folder)

    def follow_store(self) -> None:
        """Open the object that waits for its store, now that another store is open."""
        item, store = self._awaited, self._imagery.store
        if item is not None and store is not None and store.store.manifest.uuid == item.store_id:
            self._awaited = None
            self._open(item)

    def _open(self, item: ReopenedObject) -> None:
        self._prompting.finish()  # ends a correction before this one
        before = (self._prompting.shape, self._classes.index)
        if item.class_name:
            self._classes.choose_by_name(item.class_name)
        self._prompting.set_shape(item.shape)
        self._prompting.restore(item.state)
        self._saving.correct(item.fid)
        self._before = before
        self._last_state = self._prompting.session.state
        self.reopened.emit()

    def _follow_object(self) -> None:
        """End a correction when its object was saved or another one is begun."""
        session = self._prompting.session
        state = session.state
        if self._before is not None:
            was_cleared = not self._last_state.prompts
            is_other = was_cleared and session.is_open and state != self._cleared_state
            if is_other or not (session.is_open or session.can_undo):
                self._end_correction()
            elif self._last_state.prompts and not session.is_open:
                self._cleared_state = self._last_state
        self._last_state = state

    def _end_correction(self) -> None:
        shape, class_index = self._before
        self._before = None
        self._saving.correct(None)
        self._classes.choose(class_index)
        self._prompting.set_shape(shape)

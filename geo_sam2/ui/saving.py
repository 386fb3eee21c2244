# SPDX-License-Identifier: GPL-3.0-or-later
"""Where accepted objects go: the chosen layer, or one that is made for the first of them.

Owns the choice of the output layer and of the feature that is being corrected. A layer that was
chosen once is followed to the end (``OutputLayers``). Ignorant of prompts and of how an object came
about. Main thread.
"""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from geo_sam2 import settings
from geo_sam2.errors import GeoSam2Error, OutputError
from geo_sam2.segmentation.class_list import ClassList
from geo_sam2.segmentation.class_renderer import show_classes
from geo_sam2.segmentation.neighbour_watch import NeighbourWatch
from geo_sam2.segmentation.output_choice import why_not_output
from geo_sam2.segmentation.output_creation import create_output, default_output_path
from geo_sam2.segmentation.output_feature import SavedObject
from geo_sam2.segmentation.output_layer import OutputLayer, SaveReport
from geo_sam2.segmentation.output_layers import OutputLayers


class Saving(QObject):
    """The output layer and what becomes of it.

    Args:
        project: New layers are added to it; it says how overlap is avoided.

    Attributes:
        output: The layer; None without one.
        replacing: Id of the feature that accepting updates; None for a new object.
    """

    changed = pyqtSignal()
    place_changed = pyqtSignal()  # the same shape may lie otherwise in the output now
    output_changed = pyqtSignal()
    objects_left = pyqtSignal()  # a layer went with its edits; its journal may hold objects
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(self, project: QgsProject, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self._outputs = OutputLayers(project, settings.home(), self)
        self._outputs.journal_failed.connect(self.failed)
        self._outputs.objects_left.connect(self.objects_left)
        self._neighbours = NeighbourWatch(project, self)
        self._neighbours.changed.connect(self._place_soon)
        self.output: OutputLayer | None = None
        self.replacing: int | None = None
        # Once for all edits of one go, and after an object that was accepted is no longer open.
        self._place_timer = QTimer(self)
        self._place_timer.setSingleShot(True)
        self._place_timer.timeout.connect(self.place_changed)

    @property
    def layer(self) -> QgsVectorLayer | None:
        """The layer; None without one, also once it has gone."""
        return None if self.output is None else self.output.layer

    def set_layer(self, layer: QgsVectorLayer | None) -> None:
        """Save into another layer; what is in the edit buffer of the old one stays there."""
        if layer is self.layer and (layer is not None or self.output is None):
            return
        self._let_go()
        if layer is not None:
            self.output = self._outputs.of(layer)
            self.output.changed.connect(self._follow_output)
            self.output.removed.connect(self._layer_gone)
            self._neighbours.set_layer(layer)
        self.output_changed.emit()
        self.place_changed.emit()
        self.changed.emit()

    def create(self, path: Path, crs: QgsCoordinateReferenceSystem, classes: ClassList) -> QgsVectorLayer:
        """Make a new layer, add it to the project and save into it from now on.

        Raises:
            OutputError: It cannot be made.
        """
        layer = create_output(path, crs, classes)
        self._project.addMapLayer(layer)
        self.set_layer(layer)
        return layer

    def load(self, path: Path) -> None:
        """Load a layer from a file and save into it from now on.

        Raises:
            OutputError: It holds no polygons.
        """
        layer = QgsVectorLayer(str(path), path.stem, "ogr")
        if not layer.isValid():
            raise OutputError(
                self.tr("{path} cannot be opened as a vector layer.").format(path=path),
                self.tr("Choose another file."),
            )
        problem = why_not_output(layer)
        if problem is not None:
            raise OutputError(problem, self.tr("Choose another file, or make a new layer."))
        self._project.addMapLayer(layer)
        self.set_layer(layer)

    def proposed_path(self, raster: str) -> Path:
        """Return where a new layer would go by default."""
        fallback = Path(self._project.homePath() or Path.home())
        return default_output_path(raster, fallback)

    def place(
        self, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem
    ) -> tuple[QgsGeometry, QgsCoordinateReferenceSystem]:
        """Return a shape as it would lie in the output, and in which CRS that is.

        Raises:
            OutputError: It has no place there.
        """
        if self.output is None or self.output.problem() is not None:
            return geometry, crs
        return self.output.placed(geometry, crs, self.replacing), self.output.crs

    def would_cut(self, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> bool:
        """Whether saving a shape would save less than it: the project avoids overlap with what is there now.

        Raises:
            OutputError: It has no place there.
        """
        return self.output is not None and self.output.would_cut(geometry, crs, self.replacing)

    def save(self, saved: SavedObject) -> SaveReport:
        """Save an object into the output, or in the place of the feature that was re-opened.

        Raises:
            OutputError: Nothing was saved.
        """
        if self.output is None:
            raise OutputError(self.tr("There is no output layer."), self.tr("Choose one, or make a new one."))
        if self.replacing is None:
            return self.output.save(saved)
        report = self.output.replace(self.replacing, saved)
        self.replacing = None
        return report

    def correct(self, fid: int | None) -> None:
        """Let the next object take the place of a feature; None for a new one."""
        self.replacing = fid
        self.changed.emit()

    def undo(self) -> None:
        """Take back the object accepted last."""
        if self.output is None or not self.output.undo_last():
            self.failed.emit(
                OutputError(
                    self.tr("There is no object to take back: the last edit of the layer is another one."),
                    self.tr("Undo that edit first, in QGIS."),
                )
            )

    def commit(self) -> None:
        """Write the edits to the layer's source, where the session was begun here."""
        if self.output is None:
            return
        try:
            self.output.commit()
        except GeoSam2Error as error:
            self.failed.emit(error)
        self.changed.emit()

    def show_classes(self, classes: ClassList) -> None:
        """Bring the colours of the layer up to date, if it was made here."""
        if self.layer is not None and show_classes(self.layer, classes):
            self.layer.triggerRepaint()
            self.layer.emitStyleChanged()

    def extent(self) -> QgsRectangle | None:
        """Return the extent of the features, edits included, in the CRS of the layer; None without any."""
        layer = self.layer
        if layer is None:
            return None
        # Not the layer's own extent: it forgets what is in the edit buffer until it is asked twice.
        extent = QgsRectangle()
        if layer.dataProvider().featureCount():
            extent.combineExtentWith(layer.dataProvider().extent())
        buffer = layer.editBuffer()
        if buffer is not None:
            added = [feature.geometry() for feature in buffer.addedFeatures().values()]
            for geometry in (*added, *buffer.changedGeometries().values()):
                extent.combineExtentWith(geometry.boundingBox())
        return None if extent.isNull() else extent

    def text(self) -> str:
        """Return a line about what was saved."""
        if self.layer is None:
            return ""
        count = max(0, self.layer.featureCount())
        text = self.tr("1 object") if count == 1 else self.tr("{count} objects").format(count=count)
        if self.output.uncommitted:
            return self.tr("{objects}, {number} not committed").format(
                objects=text, number=self.output.uncommitted
            )
        return text

    def close(self) -> None:
        """Let go of all layers that were chosen."""
        self._let_go()
        self._place_timer.stop()
        self._neighbours.close()
        self._outputs.close()

    def _let_go(self) -> None:
        self.replacing = None
        self._neighbours.set_layer(None)
        output, self.output = self.output, None
        if output is not None:
            output.changed.disconnect(self._follow_output)
            output.removed.disconnect(self._layer_gone)
            output.end_empty_session()

    def _follow_output(self) -> None:
        self._place_soon()
        self.changed.emit()

    def _place_soon(self) -> None:
        self._place_timer.start(0)

    def _layer_gone(self) -> None:
        name = "" if self.output is None else self.output.name
        self._let_go()
        self.failed.emit(
            OutputError(
                self.tr("The output layer “{name}” was removed.").format(name=name),
                self.tr("Choose another one; the object on the map is kept."),
            )
        )
        self.output_changed.emit()
        self.place_changed.emit()
        self.changed.emit()

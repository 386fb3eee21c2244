# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock's wishes and the hand's clicks set off: joins the parts, each of which knows one subject.

Imagery and encoding lie on one side (``GroundWork``), prompts and preview in the middle, saving on the
other. Owns which part hears of what. Main thread; no call waits for anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qgis.core import QgsPointXY, QgsProject, QgsRasterLayer, QgsRectangle, QgsVectorLayer
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from geo_sam2 import engine_session
from geo_sam2.errors import GeoSam2Error
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui import dock_settings
from geo_sam2.ui.canvas_zoom import zoom_to
from geo_sam2.ui.dock_state import DockState
from geo_sam2.ui.dock_view import DockView, SwitchesView
from geo_sam2.ui.layer_choice import output_of, raster_to_begin_with
from geo_sam2.ui.mending import Mending
from geo_sam2.ui.overlay_style import OverlayStyle
from geo_sam2.ui.part_links import PartLinks
from geo_sam2.ui.parts import Parts
from geo_sam2.ui.prompt_cursor import PromptKind

# While an answer is awaited, so that the dock says when the engine has started.
_BUSY_UPDATE_MS = 500


class Controller(QObject):
    """The dock's other half.

    Args:
        canvas: The map.
        project: The project that is open.
        engine: Returns the client of the engine; nothing is started before it is needed.
        parent: Of the object.

    Signals:
        changed: A ``DockView`` to draw.
        message: Text, hint and ``Level`` for the message bar.
    """

    changed = pyqtSignal(object)
    message = pyqtSignal(str, str, object)

    def __init__(
        self,
        canvas: QgsMapCanvas,
        project: QgsProject | None = None,
        engine: Callable[[], EngineClient] = engine_session.client,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._project = project or QgsProject.instance()
        parts = self._parts = Parts(canvas, self._project, engine, self)
        self.ground, self.tools, self.classes = parts.ground, parts.tools, parts.classes
        self.prompting, self.preview, self.hands = parts.prompting, parts.preview, parts.hands
        self.saving, self.objects, self.journal = parts.saving, parts.objects, parts.journal
        self._state = DockState(parts, self)
        self._links = PartLinks(parts, self._state, self)
        self._links.changed.connect(self._update)
        self._links.message.connect(self.message)
        self._mending = Mending(parts, self._state, self._links)
        self._switches = dock_settings.read_switches()
        self._is_shown = self._is_closed = False
        self._update_timer = QTimer(self)
        self._update_timer.setSingleShot(True)
        self._update_timer.timeout.connect(self._tell_view)
        self.prompting.set_shape(dock_settings.read_shape())
        self.set_style(OverlayStyle.read())
        self.set_switches(self._switches)

    # The dock

    def view(self) -> DockView:
        """Return what the dock shows now."""
        return self._state.view(self._switches)

    def set_shown(self, is_shown: bool) -> None:
        """Take note that the dock was opened or closed; closed, it leaves nothing on the map."""
        if is_shown == self._is_shown:
            return
        self._is_shown = is_shown
        self.set_switches(self._switches)
        if not is_shown:
            self.tools.release()
            self.preview.hide()
            self._parts.overlay.clear()
        else:
            self.prompting.show()
            self.journal.look()
            self._mending.look_for_engine()
            self._begin()
        self._update()

    def set_switches(self, switches: SwitchesView) -> None:
        """Switch preview, tiles and boundary on or off."""
        self._switches = switches
        dock_settings.write_switches(switches)
        self.preview.set_on(switches.preview)
        is_shown = self._is_shown
        self.ground.set_visible(tiles=switches.tiles and is_shown, boundary=switches.boundary and is_shown)
        self._update()

    def style(self) -> OverlayStyle:
        """Return how things are drawn on the map."""
        return self._parts.overlay.style

    def set_style(self, style: OverlayStyle) -> None:
        """Draw things on the map in another style, from now on."""
        style.write()
        self._parts.overlay.set_style(style)
        self.ground.tiles.set_style(style)
        self.tools.segment_tool.update_cursor()

    def reset(self) -> None:
        """Set shape, switches and style back to their defaults."""
        dock_settings.forget()
        self.set_style(OverlayStyle.reset())
        self.set_switches(SwitchesView())
        self.set_shape(ShapeOptions())

    def mend(self) -> None:
        """Do what the button of the notice says."""
        self._mending.mend()

    def decline(self) -> None:
        """Do what the other button of the notice says."""
        self._mending.decline()

    # Imagery

    def set_raster(self, layer: QgsRasterLayer | None) -> None:
        """Work on a raster layer, or on none."""
        if layer is self.ground.imagery.layer:
            return
        self._state.forget_error()
        self.ground.imagery.set_layer(layer)
        if layer is not None:
            self._choose_output()
            self.set_segmenting(True)

    def add_raster(self, path: Path) -> None:
        """Add a raster to the project and work on it."""
        dock_settings.remember_folder(str(path.parent))
        layer = QgsRasterLayer(str(path), path.stem)
        if not layer.isValid():
            self._links.fail(GeoSam2Error(self.tr("{path} cannot be opened as an image.").format(path=path)))
            return
        self._project.addMapLayer(layer)
        self.set_raster(layer)

    def open_store(self, folder: Path) -> None:
        """Open a store and work on it."""
        self._state.forget_error()
        dock_settings.remember_folder(str(folder.parent))
        self.ground.imagery.open_store(folder)
        self.set_segmenting(True)

    def new_store(self) -> None:
        """Leave the open store, to choose model and resolution of another one."""
        self.ground.imagery.new_store()

    def make_store(self, model_id: str, factor: int) -> None:
        """Begin a new store of the raster with what the view shows."""
        self.new_store()
        self.choose_model(model_id)
        self.choose_resolution(factor)
        self.encode_view()

    def choose_model(self, model_id: str) -> None:
        """Choose the model of a new store."""
        self.ground.imagery.choose_model(model_id)

    def choose_resolution(self, factor: int) -> None:
        """Choose the resolution of a new store: 1 for the raster's own, 2 or 4 for coarser pixels."""
        self.ground.imagery.choose_resolution(factor)

    def encode_view(self) -> None:
        """Encode what is on the screen."""
        self._state.forget_error()
        self.ground.encode_view()

    def encode_all(self) -> None:
        """Encode the whole raster."""
        self._state.forget_error()
        self.ground.encode_all()

    def pause(self, is_paused: bool) -> None:
        """Pause encoding, or go on."""
        self._state.forget_error()
        self.ground.encoding.pause(is_paused)

    # Tools

    def set_segmenting(self, is_on: bool) -> None:
        """Give the canvas the segment tool, or its own back."""
        if not is_on:
            self.tools.release()
        elif self._is_shown:
            self.tools.segment()

    def set_reopening(self, is_on: bool) -> None:
        """Give the canvas the re-open tool, or the segment tool back."""
        if is_on:
            self.tools.reopen()
        else:
            self.tools.segment()

    def set_prompt_kind(self, kind: str) -> None:
        """Let the left button set another kind of prompt."""
        self.tools.segment_tool.prompt_kind = PromptKind(kind)
        self.set_segmenting(True)

    # Prompts

    def add_click(self, point: QgsPointXY, label: int) -> None:
        """Add a point, in the CRS of the canvas: label 1 on the object, 0 beside it."""
        self.hands.click(point, label)

    def add_box(self, rectangle: QgsRectangle) -> None:
        """Add a box, in the CRS of the canvas."""
        self.hands.box(rectangle)

    def discard(self) -> None:
        """Drop the object for good."""
        self.prompting.finish()

    def set_shape(self, shape: ShapeOptions) -> None:
        """Make outlines in another way."""
        dock_settings.write_shape(shape)
        self.prompting.set_shape(shape)

    # Saving

    @property
    def has_unsaved_object(self) -> bool:
        """Whether there are prompts that were not saved."""
        return self.objects.has_unsaved

    def accept(self) -> bool:
        """Save what is on the screen; says whether that was done."""
        return self.objects.accept()

    def set_output(self, layer: QgsVectorLayer | None) -> None:
        """Save into another layer; None makes one for the next object."""
        self._state.forget_error()
        self.saving.set_layer(layer)

    def create_output(self, path: Path) -> None:
        """Make a new layer and save into it."""
        self._state.forget_error()
        ground = self.ground.ground
        crs = ground.crs if ground is not None else self._project.crs()
        try:
            self.saving.create(path, crs, self.classes.classes)
        except GeoSam2Error as error:
            self._links.fail(error)

    def load_output(self, path: Path) -> None:
        """Load a layer from a file and save into it."""
        self._state.forget_error()
        try:
            self.saving.load(path)
        except GeoSam2Error as error:
            self._links.fail(error)

    def proposed_output(self) -> Path:
        """Return where a new layer would go by default."""
        facts = self.ground.imagery.facts
        return self.saving.proposed_path(facts.file if facts is not None else "")

    def undo_saved(self) -> None:
        """Take the object accepted last out of the layer."""
        self._state.forget_told()
        self.saving.undo()

    def commit(self) -> None:
        """Write accepted objects to the layer's source."""
        self.saving.commit()

    def zoom_to_saved(self) -> None:
        """Show all features of the output layer."""
        extent = self.saving.extent()
        if extent is not None:
            zoom_to(self._canvas, extent, self.saving.output.crs)

    def reopen_at(self, point: QgsPointXY) -> None:
        """Open the saved polygon under a point of the canvas again."""
        self.objects.reopen_at(point, self._canvas.mapSettings().destinationCrs())

    def restore_journal(self, is_wanted: bool) -> None:
        """Bring objects of a QGIS that crashed back, or forget them."""
        self.journal.answer(is_wanted)

    # The end

    def close(self) -> None:
        """Stop everything and leave nothing on the map; prompts that were not saved are kept."""
        if self._is_closed:
            return
        self._is_closed = True
        self._update_timer.stop()
        self._links.close()
        self._parts.close()

    def _begin(self) -> None:
        """Begin with what is plain: the raster that is looked at."""
        imagery = self.ground.imagery
        if imagery.layer is not None or imagery.store is not None:
            self.set_segmenting(True)
            return
        layer = raster_to_begin_with(self._project, self._canvas.currentLayer())
        if layer is not None:
            self.set_raster(layer)

    def _choose_output(self) -> None:
        """Go on saving into the layer that was made for this raster before, if it is in the project."""
        if self.saving.layer is None:
            layer = output_of(self._project, self.proposed_output())
            if layer is not None:
                self.saving.set_layer(layer)

    # The view

    def _update(self) -> None:
        """Tell of a new view soon, once for all that changes in one go."""
        if not self._is_closed:
            # Also where the timer waits for longer: an answer must not wait for it.
            self._update_timer.start(0)

    def _tell_view(self) -> None:
        self.changed.emit(self.view())
        if self.prompting.is_busy:
            self._update_timer.start(_BUSY_UPDATE_MS)

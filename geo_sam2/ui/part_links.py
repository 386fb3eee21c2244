# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of the dock's working hears of what another one tells.

Joins the parts by their signals; what a wish of the dock does is ``controller``'s. Main thread.
"""

from __future__ import annotations

from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import GeoSam2Error
from geo_sam2.feature_store import TileRecord
from geo_sam2.ui.dock_state import DockState
from geo_sam2.ui.dock_view import Level
from geo_sam2.ui.parts import Parts


class PartLinks(QObject):
    """The connections of one dock.

    Args:
        parts: The parts.
        state: Keeps failures and ordinary outcomes for the dock to show.
    """

    changed = pyqtSignal()  # the dock has something to draw
    message = pyqtSignal(str, str, object)  # text, hint, Level

    def __init__(self, parts: Parts, state: DockState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._parts = parts
        self._state = state
        tools, ground, prompting, objects = parts.tools, parts.ground, parts.prompting, parts.objects
        tool = tools.segment_tool
        tool.double_clicked.connect(objects.accept_double_click)
        tool.accept_requested.connect(objects.accept)
        tool.class_key_pressed.connect(parts.classes.choose_by_key)
        tool.prompt_kind_changed.connect(lambda _: self.changed.emit())
        tools.reopen_tool.picked.connect(self._reopen)
        tools.changed.connect(self._follow_tool)
        parts.hands.acted.connect(self._begin_action)
        parts.hands.told.connect(state.tell)
        ground.ground_changed.connect(self._follow_ground)
        ground.tile_settled.connect(prompting.note)
        prompting.changed.connect(self._follow_object)
        prompting.tiles_wanted.connect(lambda windows: ground.want(windows, is_urgent=True))
        prompting.tile_damaged.connect(self._mend_tile)
        parts.preview.tiles_wanted.connect(lambda windows: ground.want(windows, is_urgent=False))
        parts.saving.place_changed.connect(prompting.place_again)
        parts.saving.output_changed.connect(self._colour_output)
        parts.saving.objects_left.connect(parts.journal.look)
        parts.classes.classes_changed.connect(self._colour_output)
        objects.acted.connect(self._begin_action)
        objects.saved.connect(state.forget_error)
        objects.told.connect(state.tell)
        objects.reopened.connect(tools.segment)
        parts.journal.told.connect(state.tell)
        for part in (ground, parts.saving, parts.classes, parts.journal, state):
            part.changed.connect(self.changed)
        for part in (ground, prompting, parts.preview, parts.saving, parts.classes, objects, parts.journal):
            part.failed.connect(self.fail)
        # Parts of the project end with it; those that stay follow the next one.
        self._project_links = (
            (parts.project.readProject, self._follow_project),
            (parts.project.cleared, self._follow_project),
            # That all layers of the last project are gone needs no sentence.
            (parts.project.cleared, state.forget_error),
        )
        for signal, slot in self._project_links:
            signal.connect(slot)

    def close(self) -> None:
        """Keep the prompts that are open, and hear of the project no more."""
        self._keep_prompts()
        for signal, slot in self._project_links:
            signal.disconnect(slot)

    def fail(self, error: GeoSam2Error) -> None:
        """Show a failure, once."""
        if self._state.hold(error):
            self.message.emit(error.text, error.hint, Level.ERROR)

    def warm_up(self) -> None:
        """Start the engine before the first click; what goes wrong is told when it is needed."""
        engine = self._parts.engine
        self._parts.outlines.run(lambda: engine().request({"type": "hello"}), _ignore, _ignore)

    def _follow_project(self, *_: object) -> None:
        self._parts.classes.read()

    def _follow_ground(self) -> None:
        parts = self._parts
        ground, bridge = parts.ground.ground, parts.ground.bridge
        if ground is not None and parts.prompting.is_elsewhere(ground):
            self._keep_prompts()
        parts.prompting.set_ground(ground, bridge)
        parts.preview.set_ground(ground, bridge)
        state = parts.kept.take(ground.grid) if ground is not None else None
        if state is not None and not parts.prompting.session.is_open:
            parts.prompting.restore(state)
            self._state.tell(self.tr("The prompts that you left here are back."))
        parts.objects.follow_store()
        self._follow_tool()

    def _keep_prompts(self) -> None:
        """Keep prompts that nobody saved, for when their raster is chosen again."""
        prompting = self._parts.prompting
        if prompting.grid is not None and self._parts.objects.has_unsaved:
            self._parts.kept.put(prompting.grid, prompting.session.state)

    def _follow_tool(self) -> None:
        if not self._parts.tools.is_segmenting:
            self._parts.preview.hide()
        elif self._parts.ground.bridge is not None:
            self.warm_up()
        self.changed.emit()

    def _follow_object(self) -> None:
        session = self._parts.prompting.session
        has_history = session.is_open or session.can_undo or session.can_redo
        self._parts.tools.segment_tool.is_object_open = has_history
        if self._parts.prompting.can_accept:
            self._state.forget_engine_error()
        self.changed.emit()

    def _mend_tile(self, record: TileRecord) -> None:
        """Have a damaged tile encoded again: the prompts in it wait for it then."""
        self._parts.ground.note_damage(record)
        self._parts.prompting.again()

    def _colour_output(self) -> None:
        self._parts.saving.show_classes(self._parts.classes.classes)

    def _reopen(self, point: object) -> None:
        self._parts.objects.reopen_at(point, self._parts.canvas.mapSettings().destinationCrs())

    def _begin_action(self) -> None:
        self._state.forget_told()
        self._parts.preview.release()


def _ignore(_: object) -> None:
    pass

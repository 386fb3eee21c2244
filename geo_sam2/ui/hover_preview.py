# SPDX-License-Identifier: GPL-3.0-or-later
"""The object under the pointer, before it is clicked.

Newest wins and nothing queues up; while an object is open there is no preview. Ignorant of the
map tool.
"""

from __future__ import annotations

from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import CancelledError, GeoSam2Error, PromptError
from geo_sam2.segmentation.object_state import hovered
from geo_sam2.segmentation.object_steps import tile_steps
from geo_sam2.ui.decode_bridge import DecodeBridge, Decoded
from geo_sam2.ui.open_store import Ground
from geo_sam2.ui.overlay import Overlay
from geo_sam2.ui.prompting import Prompting
from geo_sam2.ui.shown_object import ShownObject


class HoverPreview(QObject):
    """Asks for previews and shows them; main thread.

    Args:
        overlay: Shows the outline.
        prompting: Says whether an object is open, and how a shape lies in the output.

    Attributes:
        shown: The preview on the screen; None for nothing.
    """

    tiles_wanted = pyqtSignal(object)  # tuple of windows: the pointer rests on ground not encoded
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(self, overlay: Overlay, prompting: Prompting, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._overlay = overlay
        self._prompting = prompting
        self._ground: Ground | None = None
        self._bridge: DecodeBridge | None = None
        self._is_on = True
        self._is_held = False
        self._turn = 0
        self.shown: ShownObject | None = None
        prompting.changed.connect(self._follow_object)

    def set_ground(self, ground: Ground | None, bridge: DecodeBridge | None) -> None:
        """Preview on another ground."""
        self.hide()
        self._ground, self._bridge, self._is_held = ground, bridge, False

    def set_on(self, is_on: bool) -> None:
        """Switch previews on or off."""
        self._is_on = is_on
        if not is_on:
            self.hide()

    def release(self) -> None:
        """Try again after a failure."""
        self._is_held = False

    def look_at(self, x_px: float, y_px: float) -> None:
        """Ask for the object at a place of the grid, in pixels."""
        if not self._is_on or self._is_held or self._ground is None or self._prompting.session.is_open:
            return
        try:
            state = hovered(x_px, y_px)
            plan = tile_steps(state, self._ground.tiles)
        except PromptError:
            self.hide()  # far outside
            return
        if plan.missing:
            self.tiles_wanted.emit(plan.missing)
        if not plan.tiles or self._bridge is None:
            self.hide()
            return
        shape, turn = self._prompting.shape, self._turn

        def answered(decoded: Decoded) -> None:
            if turn == self._turn and not self._prompting.session.is_open:
                self._show(self._prompting.placed(state, shape, decoded))

        self._bridge.preview(plan, shape, answered, self._fail)

    def hide(self) -> None:
        """Show no preview, not even those on their way."""
        self._turn += 1
        if self._bridge is not None:
            self._bridge.forget_previews()
        self._show(None)

    def _show(self, shown: ShownObject | None) -> None:
        if shown is None and self.shown is None:
            return
        self.shown = shown
        session = self._prompting.session
        if shown is None:
            session.hide_hover()
            self._overlay.set_hover(None)
        else:
            session.show_hover(shown.state, shown.result)
            self._overlay.set_hover(shown.geometry, shown.crs)

    def _follow_object(self) -> None:
        """Give way to an object that is open, but not before something of it is to be seen."""
        if self._prompting.session.is_open and not self._prompting.is_busy:
            self.hide()

    def _fail(self, error: GeoSam2Error) -> None:
        if isinstance(error, CancelledError) or self._is_held:
            return
        # One sentence, not one for each move of the mouse.
        self._is_held = True
        self.hide()
        self.failed.emit(error)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hand does on the canvas becomes prompts on the ground.

Takes the segment tool's facts, in the CRS of the canvas, to pixels of the ground. Ignorant of what
comes of prompts.
"""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsPointXY, QgsRectangle
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import PromptError
from geo_sam2.ui.ground_work import GroundWork
from geo_sam2.ui.hover_preview import HoverPreview
from geo_sam2.ui.prompting import Prompting
from geo_sam2.ui.segment_tool import SegmentTool


class Hands(QObject):
    """From the segment tool to prompts; main thread.

    Args:
        tool: Tells what the hand does.
        ground: Where prompts lie.
        prompting: Takes them.
        preview: Is told where the pointer is.
    """

    acted = pyqtSignal()  # the hand is about to change something
    told = pyqtSignal(str)  # why nothing came of it

    def __init__(
        self,
        tool: SegmentTool,
        ground: GroundWork,
        prompting: Prompting,
        preview: HoverPreview,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._ground = ground
        self._prompting = prompting
        self._preview = preview
        tool.clicked.connect(self.click)
        tool.boxed.connect(self.box)
        tool.prompt_moved.connect(self.move)
        tool.prompt_delete_requested.connect(self.remove)
        tool.mask_step_requested.connect(self.step_mask)
        tool.hovered.connect(self.hover)
        tool.hover_ended.connect(preview.hide)
        tool.undo_requested.connect(self.undo)
        tool.redo_requested.connect(self.redo)
        tool.clear_requested.connect(self.clear)

    def click(self, point: QgsPointXY, label: int) -> None:
        """Add a point; in the CRS of the canvas."""
        self._at(point, lambda x_px, y_px: self._prompting.add_click(x_px, y_px, label))

    def box(self, rectangle: QgsRectangle) -> None:
        """Add a box; in the CRS of the canvas."""
        if self._has_ground():
            try:
                bounds = self._ground.place.bounds_px(rectangle)
            except PromptError as error:
                self.told.emit(error.text)
                return
            self._prompting.add_box(bounds)

    def move(self, prompt_id: int, point: QgsPointXY) -> None:
        """Move a prompt to a point of the canvas."""
        self._at(point, lambda x_px, y_px: self._prompting.move(prompt_id, x_px, y_px))

    def remove(self, prompt_id: int) -> None:
        """Take a prompt away."""
        self.acted.emit()
        self._prompting.remove(prompt_id)

    def hover(self, point: QgsPointXY) -> None:
        """Look at what is under the pointer."""
        if self._ground.ground is None:
            return
        try:
            x_px, y_px = self._ground.place.point_px(point)
        except PromptError:
            self._preview.hide()
            return
        self._ground.look_at(x_px, y_px)
        self._preview.look_at(x_px, y_px)

    def choose_candidate(self, index: int) -> None:
        """Choose one of the three candidates."""
        self.acted.emit()
        self._prompting.choose_candidate(index)

    def step_mask(self, by: int) -> None:
        """Go on from part to object to whole, or back."""
        self.acted.emit()
        self._prompting.step_mask(by)

    def undo(self) -> None:
        """Take the last prompt back."""
        self.acted.emit()
        self._prompting.undo()

    def redo(self) -> None:
        """Bring a prompt back."""
        self.acted.emit()
        self._prompting.redo()

    def clear(self) -> None:
        """Drop the object; undo brings it back."""
        self.acted.emit()
        self._prompting.clear()

    def _at(self, point: QgsPointXY, act: Callable[[float, float], None]) -> None:
        if not self._has_ground():
            return
        try:
            x_px, y_px = self._ground.place.point_px(point)
        except PromptError as error:
            self.told.emit(error.text)
            return
        # The encoder serves first what is near to the last place of interest.
        self._ground.look_at(x_px, y_px)
        act(x_px, y_px)

    def _has_ground(self) -> bool:
        self.acted.emit()
        if self._ground.ground is not None:
            return True
        if self._ground.imagery.is_looking:
            self.told.emit(self.tr("One moment: the feature stores of the image are being looked for."))
        else:
            self.told.emit(self.tr("Choose an image first."))
        return False

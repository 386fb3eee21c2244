# SPDX-License-Identifier: GPL-3.0-or-later
"""The prompt under the pointer, and how it is dragged.

Ignorant of buttons and of what becomes of a prompt that was moved.
"""

from __future__ import annotations

from qgis.core import QgsPointXY
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QPoint

from geo_sam2.ui.overlay import Overlay


class PromptGrip:
    """What the hand has hold of, or could take.

    Args:
        canvas: The map.
        overlay: Shows the prompts, and knows which of them a pixel hits.
    """

    def __init__(self, canvas: QgsMapCanvas, overlay: Overlay) -> None:
        self._canvas = canvas
        self._overlay = overlay
        self._pointer = QPoint()
        self._hot: int | None = None

    @property
    def is_hot(self) -> bool:
        """Whether a prompt is shown as the one that can be taken."""
        return self._hot is not None

    @property
    def prompt(self) -> int | None:
        """The prompt under the pointer, asked anew: it may have moved under a pointer that has not."""
        return None if self._hot is None else self._overlay.prompt_at(self._pointer)

    def point_at(self, at: QPoint) -> bool:
        """Show what can be taken at a pixel; says whether it is another prompt, or none, now."""
        self._pointer = QPoint(at)
        return self._set_hot(self._overlay.prompt_at(at))

    def let_go(self) -> bool:
        """Show nothing that can be taken; says whether there was something."""
        return self._set_hot(None)

    def drag(self, prompt_id: int, start: QPoint, at: QPoint) -> None:
        """Show a prompt as far from its place as the hand has gone between two pixels."""
        self._overlay.drag_prompt(prompt_id, *self._way(start, at))

    def drop(self, prompt_id: int, start: QPoint, at: QPoint) -> QgsPointXY | None:
        """End a drag; return where the middle of the prompt is now, None if it was taken away meanwhile."""
        centre = self._overlay.prompt_centre(prompt_id)
        self._overlay.drop_prompt()
        if centre is None:
            return None
        # By as much as the hand moved: it need not have hit the middle.
        x, y = self._way(start, at)
        return QgsPointXY(centre.x() + x, centre.y() + y)

    def call_off(self) -> None:
        """Show the prompt that is dragged in its place again."""
        self._overlay.drop_prompt()

    def _way(self, start: QPoint, at: QPoint) -> tuple[float, float]:
        place = self._canvas.getCoordinateTransform().toMapCoordinates
        first, last = place(start), place(at)
        return last.x() - first.x(), last.y() - first.y()

    def _set_hot(self, prompt_id: int | None) -> bool:
        if prompt_id == self._hot:
            return False
        self._hot = prompt_id
        self._overlay.set_hot_prompt(prompt_id)
        return True

# SPDX-License-Identifier: GPL-3.0-or-later
"""The keyboard of the segment tool: which keys are its own at a moment, and what it does about them.

QGIS asks whether a key is wanted before it looks for shortcuts (``ShortcutOverride``); what is
not taken there stays QGIS's. Ignorant of the mouse, but for what the tool says of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qgis.PyQt.QtCore import QEvent, Qt
from qgis.PyQt.QtGui import QKeyEvent

from geo_sam2.ui.tool_keys import REPEATED, KeyMeaning, ToolKey, read_key

if TYPE_CHECKING:
    from geo_sam2.ui.segment_tool import SegmentTool


class SegmentKeys:
    """Hands keys to the tool.

    Args:
        tool: Whose keys they are.

    Attributes:
        is_space_down: QGIS pans with whatever the mouse does.
    """

    def __init__(self, tool: SegmentTool) -> None:
        self._tool = tool
        self.is_space_down = False

    def take(self, event: QKeyEvent) -> bool:
        """Keep our keys from QGIS and its shortcuts; returns False for those that go their way."""
        is_press = event.type() == QEvent.Type.KeyPress
        if event.key() == Qt.Key.Key_Space:
            # QGIS does not begin to pan in the middle of a drag either.
            self.is_space_down |= is_press and not event.isAutoRepeat() and not self._tool.is_pressed
            return False
        key = read_key(event)
        if key is None or not self._is_ours(key):
            return False
        event.accept()
        if is_press and (key.meaning in REPEATED or not event.isAutoRepeat()):
            self._obey(key)
        return True

    def release(self, event: QKeyEvent) -> None:
        """Note that a key goes up."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.is_space_down = False

    def let_go(self) -> None:
        """Take all keys for up: their releases go elsewhere."""
        self.is_space_down = False

    def _is_ours(self, key: ToolKey) -> bool:
        is_open = self._tool.is_object_open
        if key.meaning in (KeyMeaning.UNDO, KeyMeaning.REDO):
            return is_open
        if key.meaning is KeyMeaning.CLEAR:
            return is_open or self._tool.has_begun
        if key.meaning is KeyMeaning.DELETE_PROMPT:
            # Beside a marker it must not delete what is selected in some layer.
            return is_open or self._tool.hot_prompt is not None
        return True

    def _obey(self, key: ToolKey) -> None:
        tool = self._tool
        if key.meaning is KeyMeaning.CLEAR:
            # One thing at a time: a drag first, then the object.
            if not tool.call_off():
                tool.clear_requested.emit()
            return
        if tool.is_pressed:
            return  # a hand that is dragging has slipped
        doings = {
            KeyMeaning.ACCEPT: tool.accept_requested.emit,
            KeyMeaning.UNDO: tool.undo_requested.emit,
            KeyMeaning.REDO: tool.redo_requested.emit,
            KeyMeaning.DELETE_PROMPT: tool.delete_hot_prompt,
            KeyMeaning.STEP_MASK: lambda: tool.mask_step_requested.emit(key.number),
            KeyMeaning.STEP_KIND: lambda: tool.step_kind(key.number),
            KeyMeaning.CLICK: lambda: tool.click_without_button(key.number),
            KeyMeaning.CLASS: lambda: tool.class_key_pressed.emit(key.number),
        }
        doings[key.meaning]()

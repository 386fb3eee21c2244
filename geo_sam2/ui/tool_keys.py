# SPDX-License-Identifier: GPL-3.0-or-later
"""Which key means what while objects are segmented on the canvas.

Knows keyboards: where digits need Shift, and that Shift+Tab has a name of its own. Ignorant of
what is done about a key, and of when it is ours.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QKeyEvent

from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND


class KeyMeaning(enum.Enum):
    """What the user asks for with a key."""

    ACCEPT = enum.auto()
    CLEAR = enum.auto()
    UNDO = enum.auto()
    REDO = enum.auto()
    DELETE_PROMPT = enum.auto()
    STEP_MASK = enum.auto()
    STEP_KIND = enum.auto()
    CLICK = enum.auto()
    CLASS = enum.auto()


@dataclass(frozen=True)
class ToolKey:
    """A key of the tool.

    Attributes:
        meaning: What it asks for.
        number: Steps forward or back; the label of a click; the number of a class.
    """

    meaning: KeyMeaning
    number: int = 0


# Repeated while they are held down; holding any other key asks once.
REPEATED = (KeyMeaning.UNDO, KeyMeaning.REDO, KeyMeaning.STEP_MASK)

_NONE = Qt.KeyboardModifier.NoModifier
_SHIFT = Qt.KeyboardModifier.ShiftModifier
_CTRL = Qt.KeyboardModifier.ControlModifier

_KEYS = {
    (Qt.Key.Key_Return, _NONE): ToolKey(KeyMeaning.ACCEPT),
    (Qt.Key.Key_Enter, _NONE): ToolKey(KeyMeaning.ACCEPT),
    (Qt.Key.Key_Escape, _NONE): ToolKey(KeyMeaning.CLEAR),
    (Qt.Key.Key_Z, _CTRL): ToolKey(KeyMeaning.UNDO),
    (Qt.Key.Key_Z, _CTRL | _SHIFT): ToolKey(KeyMeaning.REDO),
    (Qt.Key.Key_Y, _CTRL): ToolKey(KeyMeaning.REDO),
    (Qt.Key.Key_Delete, _NONE): ToolKey(KeyMeaning.DELETE_PROMPT),
    (Qt.Key.Key_Backspace, _NONE): ToolKey(KeyMeaning.DELETE_PROMPT),
    (Qt.Key.Key_M, _NONE): ToolKey(KeyMeaning.STEP_MASK, 1),
    (Qt.Key.Key_M, _SHIFT): ToolKey(KeyMeaning.STEP_MASK, -1),
    (Qt.Key.Key_Tab, _NONE): ToolKey(KeyMeaning.STEP_KIND, 1),
    (Qt.Key.Key_Tab, _SHIFT): ToolKey(KeyMeaning.STEP_KIND, -1),
    (Qt.Key.Key_Backtab, _SHIFT): ToolKey(KeyMeaning.STEP_KIND, -1),
    (Qt.Key.Key_Backtab, _NONE): ToolKey(KeyMeaning.STEP_KIND, -1),
    (Qt.Key.Key_F, _NONE): ToolKey(KeyMeaning.CLICK, FOREGROUND),
    (Qt.Key.Key_B, _NONE): ToolKey(KeyMeaning.CLICK, BACKGROUND),
}


def read_key(event: QKeyEvent) -> ToolKey | None:
    """Return what a key means to the tool; None where it is none of the tool's keys."""
    modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    number = event.key() - Qt.Key.Key_0
    # On keyboards such as the French one digits are typed with Shift; on others Shift and a digit
    # give another key.
    if 1 <= number <= 9 and modifiers in (_NONE, _SHIFT):
        return ToolKey(KeyMeaning.CLASS, number)
    for (key, wanted), meaning in _KEYS.items():
        if event.key() == key and modifiers == wanted:
            return meaning
    return None

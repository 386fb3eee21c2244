# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands on a layer's undo stack are objects that were accepted.

A stack tells its index and its count, not what its commands are. The place of each of ours is kept
here and followed as others, too, push, undo and redo. Plain Python: ignorant of layers and of Qt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class SavedStep:
    """One accepted object as a command on the stack.

    Attributes:
        number: Of the object, growing.
        index: The stack's index when the command is the last one done.
        fids: The features that it made or changed.
        replaced: The feature that it changed; None for a new object.
    """

    number: int
    index: int
    fids: tuple[int, ...]
    replaced: int | None = None


class SavedSteps:
    """Our commands on one stack, done and undone."""

    def __init__(self) -> None:
        self._done: list[SavedStep] = []
        self._undone: list[SavedStep] = []

    def __len__(self) -> int:
        """Count the commands that are done."""
        return len(self._done)

    def add(self, step: SavedStep) -> None:
        """Note a command that was just pushed; what was undone before it can come back no more."""
        self._undone.clear()
        self._done.append(step)

    def top(self, index: int) -> SavedStep | None:
        """Return our command if it is the last one done on a stack with this index, else None."""
        return self._done[-1] if self._done and self._done[-1].index == index else None

    def follow(
        self, index: int, count: int, is_in_effect: Callable[[SavedStep], bool]
    ) -> tuple[list[SavedStep], list[SavedStep]]:
        """Follow the stack to where it is now.

        Args:
            index: Of the stack.
            count: Of the stack's commands, done or undone.
            is_in_effect: Says of a command that was undone whether the layer holds what it did. Where
                ours was undone and something else done in its place, index and count are those of
                a redo.

        Returns:
            Our commands that have been undone, last one first, and that have been done again.
        """
        undone, redone = [], []
        while self._done and self._done[-1].index > index:
            step = self._done.pop()
            self._undone.append(step)
            undone.append(step)
        while self._undone and self._undone[-1].index <= index:
            step = self._undone.pop()
            if not is_in_effect(step):
                # Something else stands in its place, and nothing behind it is left either.
                self._undone.clear()
                break
            self._done.append(step)
            redone.append(step)
        self._undone = [step for step in self._undone if step.index <= count]
        return undone, redone

    def clear(self) -> list[SavedStep]:
        """Forget everything, as when edits are committed or rolled back; return what was done."""
        done, self._done = self._done, []
        self._undone.clear()
        return done

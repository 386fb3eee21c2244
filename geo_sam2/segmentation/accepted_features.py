# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accepted objects are in a layer's edit buffer, by the features that they became.

Features come and go by undo, redo and the hand of the user; an object is there as long as one of its
features is. Plain Python: ignorant of layers.
"""

from __future__ import annotations

from collections.abc import Iterable


class AcceptedFeatures:
    """Objects by number, features by id; one feature may belong to several, each in the other's place."""

    def __init__(self) -> None:
        self._numbers_of: dict[int, list[int]] = {}
        self._present: dict[int, set[int]] = {}

    def __len__(self) -> int:
        """Count the objects that are there."""
        return len(self._present)

    def add(self, number: int, fids: Iterable[int]) -> None:
        """Note an object that is there now, or again, with its features."""
        self._present[number] = set(fids)
        for fid in self._present[number]:
            numbers = self._numbers_of.setdefault(fid, [])
            if number not in numbers:
                numbers.append(number)

    def withdraw(self, number: int) -> bool:
        """Forget an object whose features stay, as they were before it; say whether it was there."""
        for numbers in self._numbers_of.values():
            if number in numbers:
                numbers.remove(number)
        return self._present.pop(number, None) is not None

    def newest_of(self, fid: int) -> int | None:
        """Return the number of the object that a feature shows, None if it is none of these."""
        return next(
            (number for number in reversed(self._numbers_of.get(fid, [])) if number in self._present), None
        )

    def lose(self, fid: int) -> list[int]:
        """Note that a feature went; return the objects of which nothing is left now."""
        lost = []
        for number in self._numbers_of.get(fid, ()):
            present = self._present.get(number, set())
            if fid in present:
                present.discard(fid)
                if not present:
                    del self._present[number]
                    lost.append(number)
        return lost

    def find(self, fid: int) -> list[int]:
        """Note that a feature came back; return the objects of which nothing was there before."""
        numbers = self._numbers_of.get(fid, ())
        back = [number for number in numbers if number not in self._present]
        for number in numbers:
            self._present.setdefault(number, set()).add(fid)
        return back

    def keep(self, fids: Iterable[int]) -> list[int]:
        """Lose all features but these; return the objects of which nothing is left now."""
        kept = set(fids)
        gone = [fid for fid in self._numbers_of if fid not in kept]
        return [number for fid in gone for number in self.lose(fid)]

    def clear(self) -> None:
        """Forget everything."""
        self._numbers_of.clear()
        self._present.clear()

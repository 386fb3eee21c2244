# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes that objects are sorted into: names, colours and the number keys that choose them.

Frozen values that are written into settings and projects as JSON. Ignorant of widgets and layers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from geo_sam2.errors import ClassListError, StoreError
from geo_sam2.json_record import JsonRecord

# Told apart by people who see colours differently too (Okabe and Ito, 2008), black left out.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
#: As many classes have a key: 1 to 9.
KEYS = 9

_VERSION = 1
_MAX_CLASSES = 1000
_MAX_TEXT = 200_000
_MAX_NAME = 200
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_HINT = "Make the classes anew."


@dataclass(frozen=True)
class ObjectClass(JsonRecord):
    """One class.

    Attributes:
        name: As it stands in the attribute ``class``; without blanks at its ends.
        colour: As ``#rrggbb``, lower case.

    Raises:
        ClassListError: The name is empty or too long, or the colour is none.
    """

    name: str
    colour: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.strip())
        object.__setattr__(self, "colour", self.colour.lower())
        if not self.name:
            raise ClassListError("A class needs a name.", "Type one.")
        if len(self.name) > _MAX_NAME:
            raise ClassListError(f"The name of a class has more than {_MAX_NAME} characters.", "Shorten it.")
        if not _COLOUR.fullmatch(self.colour):
            raise ClassListError(f"“{self.colour:.20}” is no colour.", "Choose one as #rrggbb.")


@dataclass(frozen=True)
class ClassList:
    """Classes in the order in which they are shown; the first nine have keys.

    Raises:
        ClassListError: Two have one name, or there are too many.
    """

    classes: tuple[ObjectClass, ...] = ()

    def __post_init__(self) -> None:
        names = [item.name for item in self.classes]
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise ClassListError(f"There is a class “{twice}” already.", "Choose another name.")
        if len(names) > _MAX_CLASSES:
            raise ClassListError(f"There are more than {_MAX_CLASSES} classes.", "Remove some.")

    def __len__(self) -> int:
        """Count the classes."""
        return len(self.classes)

    def index_of_key(self, key: int) -> int | None:
        """Return the index of the class that a number key chooses, None if it chooses none."""
        return key - 1 if 1 <= key <= min(KEYS, len(self.classes)) else None

    def key_of(self, index: int) -> int:
        """Return the key that chooses a class, 0 if none does."""
        return index + 1 if 0 <= index < min(KEYS, len(self.classes)) else 0

    def index_of(self, name: str) -> int | None:
        """Return the index of the class with a name, None if there is none."""
        return next((index for index, item in enumerate(self.classes) if item.name == name), None)

    def added(self, name: str, colour: str | None = None) -> ClassList:
        """Return the list with one more class at its end.

        Args:
            name: Must be new.
            colour: As ``#rrggbb``; by default the first of the palette that few classes have.
        """
        used = [item.colour for item in self.classes]
        fresh = min(PALETTE, key=used.count)
        return ClassList((*self.classes, ObjectClass(name, colour or fresh)))

    def free_name(self, stem: str) -> str:
        """Return a name that no class has: the stem, else with the first number that is free."""
        names = {item.name for item in self.classes}
        candidates = (stem, *(f"{stem} {number}" for number in range(2, len(names) + 3)))
        return next(name for name in candidates if name not in names)

    def without(self, index: int) -> ClassList:
        """Return the list without a class; those behind it move up to other keys."""
        return ClassList(tuple(item for place, item in enumerate(self.classes) if place != index))

    def renamed(self, index: int, name: str) -> ClassList:
        """Return the list with another name of a class; objects keep the name that they have."""
        return self._with(index, name=name)

    def recoloured(self, index: int, colour: str) -> ClassList:
        """Return the list with another colour of a class."""
        return self._with(index, colour=colour)

    def moved(self, index: int, place: int) -> ClassList:
        """Return the list with a class in another place, and so with another key."""
        left = list(self.classes)
        left.insert(place, left.pop(index))
        return ClassList(tuple(left))

    def to_text(self) -> str:
        """Return the JSON text for settings and projects; ``from_text`` gives the list back exactly."""
        return json.dumps(
            {"version": _VERSION, "classes": [item.to_json() for item in self.classes]},
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str) -> ClassList:
        """Read a text that anybody may have edited; an empty one is an empty list.

        Raises:
            ClassListError: It is not such a text.
        """
        if not text.strip():
            return cls()
        try:
            value = json.loads(text) if len(text) <= _MAX_TEXT else None
        except (ValueError, RecursionError) as error:
            raise ClassListError("The classes cannot be read: they are no JSON.", _HINT) from error
        items = value.get("classes") if isinstance(value, dict) else None
        if not isinstance(value, dict) or value.get("version") != _VERSION or not isinstance(items, list):
            raise ClassListError("The classes cannot be read: they are none of this plugin.", _HINT)
        try:
            return cls(tuple(ObjectClass.from_json(item, "class") for item in items))
        except StoreError as error:
            raise ClassListError(f"The classes cannot be read: {error.text}", _HINT) from error

    def _with(self, index: int, **fields: str) -> ClassList:
        changed = list(self.classes)
        changed[index] = replace(changed[index], **fields)
        return ClassList(tuple(changed))

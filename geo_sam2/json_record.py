# SPDX-License-Identifier: GPL-3.0-or-later
"""Frozen dataclasses that cross processes and lie on disk as JSON, and are read without trust.

Standard library only. What a record means is the business of the module that defines it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from geo_sam2.errors import GeoSam2Error, StoreError

_DAMAGED = "The file was changed or damaged."
_T = TypeVar("_T", bound="JsonRecord")


class JsonRecord:
    """A frozen dataclass that is read from untrusted JSON; unknown keys are left for newer versions.

    Fields may be annotated ``bool``, ``str``, ``int`` (0 and above, 63 bits), ``float`` (finite),
    ``tuple[…]`` of these: ``tuple[int, int, int]`` has exactly three items,
    ``tuple[float, ...]`` any number; and ``dict[str, …]``. A field that is a record itself names its class:
    ``field(metadata={"record": TheClass})``. What else has to hold is checked in
    ``__post_init__``, which raises a GeoSam2Error.
    """

    @classmethod
    def from_json(cls: type[_T], value: object, where: str = "") -> _T:
        """Build the record from what ``json`` read.

        Args:
            value: A mapping with a key per field.
            where: What to call it in errors.

        Raises:
            StoreError: A key is missing or of the wrong type, or the values contradict each other.
        """
        where = where or cls.__name__
        if not isinstance(value, Mapping):
            raise StoreError(f"{where} is {value!r:.80}, which is no record.", _DAMAGED)
        values: dict[str, Any] = {}
        for item in fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            place = f"{where}.{item.name}"
            if item.name not in value:
                raise StoreError(f"{place} is missing.", _DAMAGED)
            record = item.metadata.get("record")
            values[item.name] = (
                record.from_json(value[item.name], place)
                if record
                else _read(value[item.name], str(item.type), place)
            )
        try:
            return cls(**values)
        except GeoSam2Error as error:
            raise StoreError(f"{where}: {error.text}", _DAMAGED) from error

    def to_json(self) -> dict[str, Any]:
        """Return what ``json`` can write."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


def _read(value: object, kind: str, where: str) -> Any:
    """Return a value of the annotated kind, or raise StoreError; ``bool`` is no number here."""
    items = re.fullmatch(r"tuple\[(.*)\]", kind)
    if items:
        return _read_tuple(value, items[1].split(", "), where)
    if kind.startswith("dict[str, ") and isinstance(value, Mapping):
        item_kind = kind[len("dict[str, ") : -1]
        return {str(key): _read(item, item_kind, f"{where}.{key}") for key, item in value.items()}
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    if kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        number = _to_float(value)
        if math.isfinite(number):
            return number
    raise StoreError(f"{where} is {value!r:.80}, which is no {kind}.", _DAMAGED)


def _read_tuple(value: object, kinds: list[str], where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise StoreError(f"{where} is {value!r:.80}, which is no list.", _DAMAGED)
    if kinds[1:] == ["..."]:
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise StoreError(f"{where} has {len(value)} items where {len(kinds)} belong.", _DAMAGED)
    return tuple(_read(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(zip(value, kinds)))


def _to_float(value: float) -> float:
    """Convert a number that ``json`` read; whole numbers beyond a float's range become infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf

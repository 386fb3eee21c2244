# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes of a segmented object: fields of the output, and the row of one object.

Field names are public. Ignorant of where the values come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qgis.core import QgsField, QgsFields

from geo_sam2.field_types import new_field

OBJECT_ID = "object_id"
# Names that formats keep for themselves: as an attribute of GeoPackage, fid is its key.
_RESERVED = {"fid", "ogc_fid", "geom", "geometry"}


@dataclass(frozen=True)
class ObjectRecord:
    """What is said of one object, beside the fields of the prompts; in the order of the fields.

    Attributes:
        object_id: Value of the object field, or id of the prompt's feature.
        score: Predicted IoU, 0 to 1.
        stability: How little the mask changes with the threshold, 0 to 1.
        area_m2: On the ellipsoid; None without CRS.
        perimeter_m: On the ellipsoid, holes included; None without CRS.
        area_px: In square pixels of the grid.
        model: Id of the model.
        foreground: Clicks on the object that were used.
        background: Clicks beside it that were used.
        boxes: Boxes that were used.
        truncated: The object reaches the edge of the tiles that were looked at.
    """

    object_id: Any
    score: float
    stability: float
    area_m2: float | None
    perimeter_m: float | None
    area_px: float
    model: str
    foreground: int
    background: int
    boxes: int
    truncated: bool

    def values(self) -> list[Any]:
        """Return the values in the order of the fields."""
        return list(vars(self).values())


def output_fields(object_field: QgsField | None, source: Iterable[QgsField]) -> QgsFields:
    """Return the fields of the output: those of ``ObjectRecord``, then those of the prompts.

    A field of the prompts whose name is taken, in whatever case, or that formats keep for
    themselves gets a number at its end.

    Args:
        object_field: The field that groups prompts; its values are the ids of objects.
        source: The fields of the prompts.
    """
    fields = QgsFields()
    if object_field is None:
        fields.append(new_field(OBJECT_ID, "integer"))
    else:
        same_type = QgsField(object_field)
        same_type.setName(OBJECT_ID)
        fields.append(same_type)
    for name, kind in (
        ("score", "real"),
        ("stability", "real"),
        ("area_m2", "real"),
        ("perimeter_m", "real"),
        ("area_px", "real"),
        ("model", "text"),
        ("foreground", "integer"),
        ("background", "integer"),
        ("boxes", "integer"),
        ("truncated", "boolean"),
    ):
        fields.append(new_field(name, kind))
    source = list(source)
    own_names = [field.name() for field in fields]
    for field, name in zip(source, free_names([field.name() for field in source], own_names)):
        renamed = QgsField(field)
        renamed.setName(name)
        fields.append(renamed)
    return fields


def free_names(wanted: Sequence[str], taken: Iterable[str]) -> list[str]:
    """Return the wanted names, numbered from 2 where one is taken by another; case makes no difference."""
    used = {name.lower() for name in taken} | _RESERVED
    # A wanted name that is free stays, even if a numbered one would have come to it first.
    kept = {name.lower() for name in wanted} - used
    result = []
    for name in wanted:
        key, number = name.lower(), 2
        free = name
        if key in kept:
            kept.discard(key)
        else:
            while free.lower() in used | kept:
                free, number = f"{name}_{number}", number + 1
        used.add(free.lower())
        result.append(free)
    return result

# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a saved object, and in which fields of a layer it fits.

Field names are public. A layer made by the dock has all of them; any other layer gets the values for
whose names it has fields. Owns the names, the search for them, and whether a value fits.
"""

from __future__ import annotations

from typing import Any

from qgis.core import QgsField, QgsFields, QgsVectorLayer
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.field_types import holds_booleans, holds_text, holds_whole_numbers, new_field

CLASS, PROMPTS, OUTLINE, STORE_ID, CREATED = "class", "prompts", "outline", "store_id", "created"

#: Name and kind of each field, in their order in a layer made by the dock.
OUTPUT_FIELDS = (
    (CLASS, "text"),
    ("score", "real"),
    ("stability", "real"),
    ("area_m2", "real"),
    ("perimeter_m", "real"),
    ("model", "text"),
    (STORE_ID, "text"),
    ("tile_ids", "text"),
    (PROMPTS, "text"),
    (OUTLINE, "text"),
    ("truncated", "boolean"),
    (CREATED, "text"),
)

# What the attribute table of a Shapefile keeps of a name.
_SHORT_NAME = 10
_SHAPEFILE = "ESRI Shapefile"
# An area may be rounded to whole metres; what would change by more than this share is left out.
_ROUNDING = 0.01


def new_output_fields() -> QgsFields:
    """Return the fields of a layer made by the dock."""
    fields = QgsFields()
    for name, kind in OUTPUT_FIELDS:
        fields.append(new_field(name, kind))
    return fields


def field_indices(layer: QgsVectorLayer) -> dict[str, int]:
    """Return which of our names a layer has fields for, with their indices.

    Case makes no difference, an exact name goes first. Shapefiles have names of ten characters.
    Fields of joins and virtual fields are not the layer's own and are left alone.
    """
    fields = layer.fields()
    own = [
        index
        for index in range(fields.count())
        if fields.fieldOrigin(index)
        in (QgsFields.FieldOrigin.OriginProvider, QgsFields.FieldOrigin.OriginEdit)
    ]
    by_name = {fields[index].name().lower(): index for index in reversed(own)}
    by_name.update({fields[index].name(): index for index in reversed(own)})
    found = {}
    for name, _ in OUTPUT_FIELDS:
        short = name[:_SHORT_NAME] if layer.storageType() == _SHAPEFILE else name
        index = by_name.get(name, by_name.get(short))
        if index is not None:
            found[name] = index
    return found


def misfit(field: QgsField, value: Any, *, counts_bytes: bool = False) -> str | None:
    """Say why a value does not fit a field, in a clause; None if it does.

    Args:
        field: Of the layer.
        value: Not None.
        counts_bytes: The width of a text counts bytes, as in Shapefiles, not characters.
    """
    if not _is_of_kind(field, value):
        return QCoreApplication.translate("OutputFields", "its values are of another kind ({kind})").format(
            kind=field.typeName() or field.displayType()
        )
    try:
        # A copy, for the conversion may be in place.
        QgsField(field).convertCompatible(value)
    except ValueError:
        if holds_text(field) and field.length() > 0:
            return _too_long(field)
        return QCoreApplication.translate("OutputFields", "its values are of another kind ({kind})").format(
            kind=field.typeName() or field.displayType()
        )
    width = field.length()
    if width <= 0:
        return None
    if holds_text(field):
        text = value if isinstance(value, str) else str(value)
        return _too_long(field) if counts_bytes and len(text.encode("utf-8")) > width else None
    if isinstance(value, (int, float)) and field.isNumeric():
        # Decimals are rounded or cut off by the provider; digits before the point never may be.
        digits = len(str(abs(int(value)))) + (value < 0)
        places = field.precision() + 1 if field.precision() > 0 else 0
        if digits > width - places:
            return QCoreApplication.translate(
                "OutputFields", "{value} has more digits than its {width}"
            ).format(value=round(value, 3), width=width)
    return None


def is_null(value: Any) -> bool:
    """Say whether an attribute is NULL, which PyQGIS gives as None or as a null QVariant."""
    return value is None or (hasattr(value, "isNull") and bool(value.isNull()))


def counts_bytes(layer: QgsVectorLayer) -> bool:
    """Say whether the widths of a layer's texts count bytes."""
    return layer.storageType() == _SHAPEFILE


def _is_of_kind(field: QgsField, value: Any) -> bool:
    """Whether a value keeps its meaning in a field; QGIS would make 1 of a score, and true of any text."""
    if holds_booleans(field):
        return isinstance(value, bool)
    if holds_whole_numbers(field) and isinstance(value, float):
        return abs(round(value) - value) <= _ROUNDING * abs(value)
    return True


def _too_long(field: QgsField) -> str:
    return QCoreApplication.translate(
        "OutputFields", "the text is longer than its {width} characters"
    ).format(width=field.length())

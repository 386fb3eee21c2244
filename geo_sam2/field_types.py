# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields of layers, made the way that this QGIS wants it.

From 3.38 on ``QgsField`` takes types of ``QMetaType``, before that of ``QVariant``. The one
place that knows, and the one that is exempt from the check for Qt 6.
"""

from __future__ import annotations

from qgis.core import Qgis, QgsField

_HAS_META_TYPES = Qgis.QGIS_VERSION_INT >= 33800
if _HAS_META_TYPES:
    from qgis.PyQt.QtCore import QMetaType

    _WHOLE = {
        QMetaType.Type.Int,
        QMetaType.Type.UInt,
        QMetaType.Type.LongLong,
        QMetaType.Type.ULongLong,
    }
    _TYPES = {
        "text": QMetaType.Type.QString,
        "integer": QMetaType.Type.LongLong,
        "real": QMetaType.Type.Double,
        "boolean": QMetaType.Type.Bool,
    }
else:
    from qgis.PyQt.QtCore import QVariant

    _WHOLE = {QVariant.Type.Int, QVariant.Type.UInt, QVariant.Type.LongLong, QVariant.Type.ULongLong}
    _TYPES = {
        "text": QVariant.Type.String,
        "integer": QVariant.Type.LongLong,
        "real": QVariant.Type.Double,
        "boolean": QVariant.Type.Bool,
    }


def new_field(name: str, kind: str) -> QgsField:
    """Return a field of one of the kinds ``text``, ``integer`` (64 bits), ``real`` and ``boolean``."""
    return QgsField(name, _TYPES[kind])


def holds_whole_numbers(field: QgsField) -> bool:
    """Say whether a field's values are integers, of whatever size."""
    return field.type() in _WHOLE


def holds_booleans(field: QgsField) -> bool:
    """Say whether a field's values are true or false."""
    return bool(field.type() == _TYPES["boolean"])


def holds_text(field: QgsField) -> bool:
    """Say whether a field's values are text."""
    return bool(field.type() == _TYPES["text"])

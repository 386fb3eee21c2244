# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layers objects can be saved into, and why others cannot."""

from __future__ import annotations

from qgis.core import QgsVectorDataProvider, QgsVectorLayer, QgsWkbTypes
from qgis.PyQt.QtCore import QCoreApplication

_ADD = QgsVectorDataProvider.Capability.AddFeatures


def why_not_output(layer: QgsVectorLayer) -> str | None:
    """Return why objects cannot be saved into a layer, in a sentence; None if they can."""
    name = layer.name()
    if not layer.isValid():
        text = QCoreApplication.translate(
            "OutputChoice", "The source of the layer “{name}” cannot be reached."
        )
    elif layer.geometryType() != QgsWkbTypes.GeometryType.PolygonGeometry:
        text = QCoreApplication.translate("OutputChoice", "The layer “{name}” holds no polygons.")
    elif layer.readOnly():
        text = QCoreApplication.translate(
            "OutputChoice", "The layer “{name}” is set to be read-only in this project."
        )
    elif not (layer.supportsEditing() and layer.dataProvider().capabilities() & _ADD):
        text = QCoreApplication.translate(
            "OutputChoice", "The source of the layer “{name}” cannot be written to."
        )
    else:
        return None
    return text.format(name=name)

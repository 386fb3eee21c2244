# SPDX-License-Identifier: GPL-3.0-or-later
"""Which features of a layer of single parts are parts of one saved object.

Such a layer holds an object of several parts as several features, which have its prompts and the
moment of its creation in common.
"""

from __future__ import annotations

from typing import Any

from qgis.core import QgsFeature, QgsFeatureRequest, QgsGeometry, QgsRectangle, QgsVectorLayer, QgsWkbTypes

from geo_sam2.segmentation.output_fields import CREATED, PROMPTS, STORE_ID, field_indices, is_null

_NEEDED = (PROMPTS, CREATED)


def parts_beside(layer: QgsVectorLayer, feature: QgsFeature, shape: QgsGeometry) -> tuple[int, ...]:
    """Return the ids of the other parts of a feature's object; none where that cannot be told.

    They are asked for by place, within the old and the new shape and as far again around them, for
    a whole layer would take too long.

    Args:
        layer: The layer.
        feature: One of the parts, as it is in the layer now.
        shape: The object's new shape, in the CRS of the layer.
    """
    if QgsWkbTypes.isMultiType(layer.wkbType()):
        return ()
    indices = field_indices(layer)
    if any(name not in indices for name in _NEEDED):
        return ()
    own: dict[int, Any] = {
        indices[name]: feature.attribute(indices[name]) for name in (*_NEEDED, STORE_ID) if name in indices
    }
    if any(is_null(value) or value == "" for value in own.values()):
        return ()
    around = QgsRectangle(shape.boundingBox())
    around.combineExtentWith(feature.geometry().boundingBox())
    around = around.buffered(max(around.width(), around.height()))
    request = QgsFeatureRequest().setFilterRect(around).setSubsetOfAttributes(list(own))
    request.setFlags(QgsFeatureRequest.Flag.NoGeometry)
    return tuple(
        other.id()
        for other in layer.getFeatures(request)
        if other.id() != feature.id() and all(other.attribute(index) == value for index, value in own.items())
    )

# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a saved object back, so that it can be corrected: prompts, chosen mask and outline settings.

Works on any layer that has the fields; what stands in them may have been edited by anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.errors import OutlineOptionsError, OutputError, PromptError
from geo_sam2.segmentation.object_state import ObjectState
from geo_sam2.segmentation.output_fields import CLASS, OUTLINE, PROMPTS, STORE_ID, field_indices, is_null
from geo_sam2.segmentation.prompt_text import read_prompts
from geo_sam2.segmentation.shape_options import ShapeOptions


@dataclass(frozen=True)
class ReopenedObject:
    """A saved object as it was made.

    Attributes:
        fid: Of its feature.
        state: Its prompts and the mask chosen.
        shape: Its outline settings; the defaults where the layer does not keep them.
        store_id: UUID of the feature store that the prompts belong to; empty where it is not kept.
        class_name: Its class, or None.
    """

    fid: int
    state: ObjectState
    shape: ShapeOptions
    store_id: str
    class_name: str | None


def feature_at(
    layer: QgsVectorLayer, point: QgsPointXY, crs: QgsCoordinateReferenceSystem, project: QgsProject
) -> int | None:
    """Return the id of the smallest polygon at a place, None if there is none.

    The smallest, for whoever clicks where one lies upon another can reach the lower one beside it.

    Args:
        layer: Of saved objects.
        point: The place.
        crs: Of the place, such as the canvas's.
        project: Says which transformation to choose.
    """
    try:
        place = QgsCoordinateTransform(crs, layer.crs(), project.transformContext()).transform(point)
    except QgsCsException:
        return None
    # A rectangle without width would find nothing in some providers.
    margin = max(abs(place.x()), abs(place.y()), 1.0) * 1e-12
    around = QgsRectangle(place.x() - margin, place.y() - margin, place.x() + margin, place.y() + margin)
    there = QgsGeometry.fromPointXY(place)
    found = [
        (feature.geometry().area(), feature.id())
        for feature in layer.getFeatures(QgsFeatureRequest().setFilterRect(around).setNoAttributes())
        if feature.geometry().intersects(there)
    ]
    return min(found)[1] if found else None


def reopened(layer: QgsVectorLayer, fid: int) -> ReopenedObject:
    """Return how a saved object was made.

    Args:
        layer: Of saved objects.
        fid: Of the feature, as it is in the layer now, edits included.

    Raises:
        OutputError: The feature is gone, or what it keeps cannot be read; says what and why.
    """
    feature = layer.getFeature(fid)
    if not feature.isValid():
        raise OutputError(
            QCoreApplication.translate("ObjectReopening", "The feature is no longer in the layer."),
            QCoreApplication.translate("ObjectReopening", "Click another one."),
        )
    indices = field_indices(layer)
    prompts = _text(feature, indices, PROMPTS)
    if not prompts:
        raise OutputError(
            QCoreApplication.translate(
                "ObjectReopening", "This polygon keeps no prompts, so it cannot be re-opened."
            ),
            QCoreApplication.translate(
                "ObjectReopening",
                "Only objects that were saved into a layer with a text field “prompts” can.",
            ),
        )
    try:
        state = read_prompts(prompts)
        outline = _text(feature, indices, OUTLINE)
        shape = ShapeOptions.from_text(outline) if outline else ShapeOptions()
    except (PromptError, OutlineOptionsError) as error:
        raise OutputError(
            QCoreApplication.translate(
                "ObjectReopening", "This polygon cannot be re-opened. {reason}"
            ).format(reason=error.text),
            error.hint,
        ) from error
    return ReopenedObject(
        fid=fid,
        state=state,
        shape=shape,
        store_id=_text(feature, indices, STORE_ID),
        class_name=_text(feature, indices, CLASS) or None,
    )


def _text(feature: QgsFeature, indices: dict[str, int], name: str) -> str:
    """Return an attribute as text, empty without one."""
    if name not in indices:
        return ""
    value = feature.attribute(indices[name])
    return "" if is_null(value) else str(value)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut an object against what is there already, where the project avoids overlap.

The same choice as QGIS's own digitizing follows (Project > Snapping: allow overlap, avoid it on the
active layer, on some layers), with two differences: neighbours of another CRS are moved first, and
an object that shares an edge with a neighbour is left as it is, so that cutting twice is cutting once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from qgis.core import (
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeatureRequest,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
    QgsWkbTypes,
)

from geo_sam2.errors import OutputError
from geo_sam2.segmentation.crs_change import CrsChange
from geo_sam2.segmentation.polygon_validity import valid_polygons

# Less than this share of the object is no overlap but what rounding left of an edge in common.
_NOTHING = 1e-9
# A neighbour of another CRS is cut to the object's surroundings before it is moved, with this margin
# as a share of their size, for the sides of the rectangle are bent by the move.
_MARGIN = 0.25


def avoided_layers(layer: QgsVectorLayer, project: QgsProject) -> list[QgsVectorLayer]:
    """Return the polygon layers that an object of a layer must not overlap, by the project's choice."""
    mode = project.avoidIntersectionsMode()
    modes = QgsProject.AvoidIntersectionsMode
    if mode == modes.AvoidIntersectionsCurrentLayer:
        return [layer]
    if mode != modes.AvoidIntersectionsLayers:
        return []
    return [
        other
        for other in project.avoidIntersectionsLayers()
        if other.isValid() and other.geometryType() == QgsWkbTypes.GeometryType.PolygonGeometry
    ]


def cut_against(
    geometry: QgsGeometry,
    layer: QgsVectorLayer,
    project: QgsProject,
    ignore_fids: Collection[int] = (),
) -> QgsGeometry:
    """Return what of an object lies on nothing that the project protects.

    Neighbours are asked for by place, so that the time depends on what is near.

    Args:
        geometry: A valid multi-polygon in the CRS of the layer.
        layer: Where it is to be saved.
        project: Says whether and where overlap is avoided.
        ignore_fids: Features of the layer that the object takes the place of.

    Returns:
        A valid multi-polygon, possibly empty; the same geometry where there is no overlap.

    Raises:
        OutputError: The overlap cannot be worked out.
    """
    layers = avoided_layers(layer, project)
    if geometry.isEmpty() or not layers:
        return geometry
    nothing = _NOTHING * geometry.area()
    engine = QgsGeometry.createGeometryEngine(geometry.constGet())
    engine.prepareGeometry()
    overlapping = [
        neighbour
        for other in layers
        for neighbour in _neighbours(geometry, other, layer, project, ignore_fids)
        if engine.intersects(neighbour.constGet()) and neighbour.intersection(geometry).area() > nothing
    ]
    if not overlapping:
        return geometry
    taken = overlapping[0] if len(overlapping) == 1 else QgsGeometry.unaryUnion(overlapping)
    rest = geometry.difference(taken)
    if rest.isNull():
        raise OutputError(
            f"The object cannot be cut against its neighbours: {rest.lastError() or taken.lastError()}.",
            "Check the geometries around it, or allow overlap in the project's snapping settings.",
        )
    return valid_polygons(rest, _NOTHING)


def _neighbours(
    geometry: QgsGeometry,
    other: QgsVectorLayer,
    layer: QgsVectorLayer,
    project: QgsProject,
    ignore_fids: Collection[int],
) -> Iterable[QgsGeometry]:
    """Yield the valid polygons of a layer that may meet the object, in the CRS of the object's layer."""
    around = geometry.boundingBox()
    change = None
    if other.crs() != layer.crs():
        change = CrsChange(other.crs(), layer.crs(), project.transformContext())
        around = _moved_rectangle(around, other, layer, project)
    request = QgsFeatureRequest().setFilterRect(around).setNoAttributes()
    for feature in other.getFeatures(request):
        if other.id() == layer.id() and feature.id() in ignore_fids:
            continue
        neighbour = QgsGeometry(feature.geometry())
        if neighbour.isEmpty():
            continue
        if not neighbour.isGeosValid():
            neighbour = valid_polygons(neighbour)
        if change is not None:
            neighbour = change(neighbour.clipped(around))
        if not neighbour.isEmpty():
            yield neighbour


def _moved_rectangle(
    around: QgsRectangle, other: QgsVectorLayer, layer: QgsVectorLayer, project: QgsProject
) -> QgsRectangle:
    transform = QgsCoordinateTransform(layer.crs(), other.crs(), project.transformContext())
    try:
        moved = transform.transformBoundingBox(around)
    except QgsCsException as error:
        raise OutputError(
            f"The object has no place in the CRS of the layer “{other.name()}”, which it must not overlap.",
            "Take that layer out of the project's snapping settings.",
        ) from error
    return moved.buffered(_MARGIN * max(moved.width(), moved.height()))

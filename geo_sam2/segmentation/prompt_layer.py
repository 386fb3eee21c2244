# SPDX-License-Identifier: GPL-3.0-or-later
"""Read prompts from a vector layer: features become objects with clicks, boxes and masks.

Owns the meaning of fields and kinds of geometry, and which features make one object. Where a
geometry lies on the grid is the business of ``prompt_placement``, which tiles an object needs
that of ``tile_choice``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from qgis.core import QgsFeature, QgsWkbTypes
from qgis.PyQt.QtCore import QVariant

from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.errors import PromptError
from geo_sam2.segmentation.prompt_placement import GridPlacement, parts_by_type
from geo_sam2.segmentation.prompts import Box, Click, ObjectPrompts, clicks_along, read_label
from geo_sam2.segmentation.skipped_prompts import Skipped, SkippedPrompts

_Types = QgsWkbTypes.GeometryType


@dataclass(frozen=True)
class PromptFields:
    """Which fields of the layer mean something.

    Attributes:
        label: Index of the field with 1 (on the object) or 0 (beside it); None: all are 1.
        object: Index of the field whose value features of one object share; None: each
            feature is an object.
    """

    label: int | None = None
    object: int | None = None


@dataclass
class PromptedObject:
    """An object as the layer describes it.

    Attributes:
        id: Value of the object field, or the feature's id without one; None where the field is NULL.
        prompts: All its prompts.
        feature_ids: The features that it is made of, also those without a usable prompt.
        attributes: Per field of the layer, the value that its features have in common; None
            where they differ or have none.
    """

    id: Any
    prompts: ObjectPrompts
    feature_ids: list[int]
    attributes: list[Any]


@dataclass
class _Collected:
    id: Any
    clicks: list[Click] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    features: list[QgsFeature] = field(default_factory=list)


class PromptReader:
    """Reads the features of one layer.

    Args:
        placement: From the layer's CRS to the grid.
        fields: Which fields mean something.
        skipped: Is told of prompts that cannot be used.
        polygons_are_masks: Polygons are masks to refine, with the boxes round them; else the boxes alone.
    """

    def __init__(
        self,
        placement: GridPlacement,
        fields: PromptFields,
        skipped: SkippedPrompts,
        polygons_are_masks: bool = False,
    ) -> None:
        self._placement = placement
        self._fields = fields
        self._skipped = skipped
        self._polygons_are_masks = polygons_are_masks

    def read(self, features: Iterable[QgsFeature], is_cancelled: Callable[[], bool]) -> list[PromptedObject]:
        """Return the objects in the order of their first features; ends early once it is cancelled."""
        collected: dict[object, _Collected] = {}
        for feature in features:
            if is_cancelled():
                break
            object_id = feature.id() if self._fields.object is None else _plain(feature[self._fields.object])
            # Without a value there is nothing that features could share: each is an object.
            key = ("feature", feature.id()) if object_id is None else ("object", object_id)
            item = collected.setdefault(key, _Collected(object_id))
            item.features.append(feature)
            self._add(feature, item)
        return [_prompted(item) for item in collected.values()]

    def _add(self, feature: QgsFeature, item: _Collected) -> None:
        """Add the prompts of a feature to its object, or note why there are none."""
        label: int | None = FOREGROUND
        if self._fields.label is not None:
            label = read_label(_plain(feature[self._fields.label]))
        if label is None:
            self._skipped.add(Skipped.BAD_LABEL, feature.id())
        elif not feature.hasGeometry() or feature.geometry().isEmpty():
            self._skipped.add(Skipped.NO_GEOMETRY, feature.id())
        else:
            try:
                clicks, boxes = self._prompts(feature, label)
            except PromptError:
                self._skipped.add(Skipped.NOT_TRANSFORMED, feature.id())
            else:
                item.clicks += clicks
                item.boxes += boxes

    def _prompts(self, feature: QgsFeature, label: int) -> tuple[list[Click], list[Box]]:
        clicks: list[Click] = []
        boxes: list[Box] = []
        for kind, geometry in parts_by_type(feature.geometry()):
            if kind == _Types.PointGeometry:
                points = self._placement.points(geometry)
                clicks += [Click(float(x), float(y), label, feature.id()) for x, y in points]
            elif kind == _Types.LineGeometry:
                for line in self._placement.lines(geometry):
                    clicks += clicks_along(line, label, feature.id())
            elif kind == _Types.PolygonGeometry and label == BACKGROUND:
                self._skipped.add(Skipped.NEGATIVE_POLYGON, feature.id())
            elif kind == _Types.PolygonGeometry:
                polygons = self._placement.polygons(geometry) if self._polygons_are_masks else None
                bounds = self._placement.bounds(geometry)
                box = Box(*bounds, source_id=feature.id(), polygons=polygons)
                is_flat = polygons is not None and not len(polygons)
                if box.width_px > 0 and box.height_px > 0 and not is_flat:
                    boxes.append(box)
                else:
                    self._skipped.add(Skipped.NO_EXTENT, feature.id())
        return clicks, boxes


def _prompted(item: _Collected) -> PromptedObject:
    rows = [[_plain(value) for value in feature.attributes()] for feature in item.features]
    return PromptedObject(
        id=item.id,
        prompts=ObjectPrompts(tuple(item.clicks), tuple(item.boxes)),
        feature_ids=[feature.id() for feature in item.features],
        attributes=[_common(values) for values in zip(*rows)],
    )


def _common(values: Iterable[Any]) -> Any:
    """Return the one value that occurs, NULL aside; None if there is none or more than one."""
    found: list[Any] = []
    for value in values:
        # A list of those seen: values of fields may be lists, which cannot be hashed.
        if value is not None and value not in found:
            found.append(value)
    return found[0] if len(found) == 1 else None


def _plain(value: Any) -> Any:
    """Return a field's value with None for NULL, which PyQt hands over as a QVariant."""
    return None if isinstance(value, QVariant) and value.isNull() else value

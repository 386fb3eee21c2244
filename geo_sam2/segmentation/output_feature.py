# SPDX-License-Identifier: GPL-3.0-or-later
"""An accepted object, and the features of a layer that it becomes.

Owns how values get into fields: those of the object where they fit, else the layer's defaults, and
QGIS's own step that makes features compatible (single parts, heights and measures). Ignorant of
editing and of undo.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFieldConstraints,
    QgsGeometry,
    QgsProject,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.segmentation.measures import GroundMeasure
from geo_sam2.segmentation.object_result import ObjectResult
from geo_sam2.segmentation.output_fields import (
    CLASS,
    CREATED,
    OUTLINE,
    PROMPTS,
    STORE_ID,
    counts_bytes,
    field_indices,
    is_null,
    misfit,
)
from geo_sam2.tile_window import TileWindow

_CONSTRAINTS = QgsFieldConstraints.Constraint
_NOT_NULL = _CONSTRAINTS.ConstraintNotNull
_UNIQUE = _CONSTRAINTS.ConstraintUnique
_EXPRESSION = _CONSTRAINTS.ConstraintExpression


@dataclass(frozen=True, eq=False)
class SavedObject:
    """An object as it is shown, ready to be saved.

    Attributes:
        geometry: Valid multi-polygon in ``crs``; as shown.
        crs: Of the geometry; invalid where nobody knows.
        class_name: Chosen class, or None.
        score: Predicted IoU, 0 to 1.
        stability: How little the mask changes with the threshold, 0 to 1.
        model: Id of the model.
        store_id: UUID of the feature store.
        tile_ids: The tiles that it was decoded on, see ``tile_id``.
        prompts: As ``prompt_text`` writes them.
        outline: The text of ``ShapeOptions``.
        is_truncated: It may go on beyond what was looked at.
        created: ISO 8601, UTC; see ``now_utc``.
    """

    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem
    class_name: str | None
    score: float
    stability: float
    model: str
    store_id: str
    tile_ids: tuple[str, ...]
    prompts: str
    outline: str
    is_truncated: bool
    created: str

    @classmethod
    def of_result(
        cls,
        result: ObjectResult,
        geometry: QgsGeometry,
        crs: QgsCoordinateReferenceSystem,
        *,
        class_name: str | None,
        model: str,
        store_id: str,
        prompts: str,
        outline: str,
    ) -> SavedObject:
        """Return what is shown of a result, created now."""
        return cls(
            geometry=geometry,
            crs=crs,
            class_name=class_name,
            score=result.shown.score,
            stability=result.shown.stability,
            model=model,
            store_id=store_id,
            tile_ids=tuple(tile_id(window) for window in result.tiles),
            prompts=prompts,
            outline=outline,
            is_truncated=result.is_truncated,
            created=now_utc(),
        )


def tile_id(window: TileWindow) -> str:
    """Return the name of a tile in attributes: level and offsets, ``0/1024/0``."""
    return f"{window.level}/{window.xoff}/{window.yoff}"


def now_utc() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond, so that two objects differ."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FeatureMaker:
    """Makes the features of one layer, and says once of each field what does not fit into it.

    Args:
        layer: Polygons.
        project: Says which transformations and which ellipsoid to measure with.
    """

    def __init__(self, layer: QgsVectorLayer, project: QgsProject) -> None:
        self._layer = layer
        self._project = project
        self._said: set[str] = set()
        self._measured_crs = QgsCoordinateReferenceSystem()
        self._measure: GroundMeasure | None = None

    def features(self, saved: SavedObject, placed: QgsGeometry) -> tuple[list[QgsFeature], list[str]]:
        """Return new features, and sentences about values that were left out and were not named before.

        One feature, or in a layer of single parts one for each part, with measures of its own.

        Args:
            saved: The object.
            placed: Its geometry in the CRS of the layer.
        """
        indices = field_indices(self._layer)
        context = self._layer.createExpressionContext()
        made, notes = [], []
        for geometry in self._compatible(placed):
            values = self._fitting(self._values(saved, geometry), indices, notes)
            feature = QgsVectorLayerUtils.createFeature(self._layer, geometry, values, context)
            self._leave_out_refused(feature, values, notes)
            self._name_empty_fields(feature, notes)
            made.append(feature)
        return made, notes

    def changes(
        self, saved: SavedObject, placed: QgsGeometry, feature: QgsFeature
    ) -> tuple[dict[int, Any], QgsGeometry, list[QgsFeature], list[str]]:
        """Return what becomes of a saved feature when the object takes its place.

        Args:
            saved: The object; without a class it keeps the one that the feature has.
            placed: Its geometry in the CRS of the layer.
            feature: As it is in the layer now.

        Returns:
            New attributes by index; None where a value no longer fits, for the old one would be said
            of another shape. The new geometry. In a layer of single parts, features for the other
            parts. Sentences, as of ``features``.
        """
        indices = field_indices(self._layer)
        # The largest part stays where attributes were added by hand.
        first, *others = sorted(self._compatible(placed), key=lambda part: -part.area())
        values = self._values(saved, first)
        notes: list[str] = []
        kept = {name: index for name, index in indices.items() if name in values}
        fitting = self._fitting(values, indices, notes, own=feature)
        changed = QgsFeature(feature)
        changed.setGeometry(first)
        for index in kept.values():
            changed.setAttribute(index, fitting.get(index))
        self._leave_out_refused(changed, fitting, notes)
        attributes = {index: changed.attribute(index) for index in kept.values()}
        more = []
        for part in others:
            part_values = self._fitting(self._values(saved, part), indices, notes)
            copied = {
                index: feature.attribute(index)
                for index in range(self._layer.fields().count())
                if index not in kept.values() and not self._is_unique(index)
            }
            made = QgsVectorLayerUtils.createFeature(self._layer, part, {**copied, **part_values})
            self._leave_out_refused(made, part_values, notes)
            more.append(made)
        return attributes, first, more, notes

    def _compatible(self, placed: QgsGeometry) -> list[QgsGeometry]:
        """Return a geometry as the layer takes it: with Z and M, in parts where it takes single ones only."""
        feature = QgsFeature(self._layer.fields())
        feature.setGeometry(placed)
        made = QgsVectorLayerUtils.makeFeatureCompatible(feature, self._layer)
        return [QgsGeometry(item.geometry()) for item in made]

    def _values(self, saved: SavedObject, geometry: QgsGeometry) -> dict[str, Any]:
        """Return what is said of one feature, by name; without what is not known."""
        measure = self._ground_measure()
        values = {
            CLASS: saved.class_name,
            "score": saved.score,
            "stability": saved.stability,
            "area_m2": measure.area_m2(geometry),
            "perimeter_m": measure.perimeter_m(geometry),
            "model": saved.model,
            STORE_ID: saved.store_id,
            "tile_ids": " ".join(saved.tile_ids),
            PROMPTS: saved.prompts,
            OUTLINE: saved.outline,
            "truncated": saved.is_truncated,
            CREATED: saved.created,
        }
        # Without a class the one that a feature or its layer's default has stays; without CRS there
        # are no metres, and those of an older shape would be wrong.
        return {name: value for name, value in values.items() if name != CLASS or value is not None}

    def _ground_measure(self) -> GroundMeasure:
        crs = self._layer.crs()
        if self._measure is None or crs != self._measured_crs:
            self._measured_crs = crs
            self._measure = GroundMeasure(crs, self._project.transformContext(), self._project.ellipsoid())
        return self._measure

    def _fitting(
        self,
        values: dict[str, Any],
        indices: dict[str, int],
        notes: list[str],
        own: QgsFeature | None = None,
    ) -> dict[int, Any]:
        """Return the values that fit their fields, by index; name the others."""
        fields = self._layer.fields()
        fitting = {}
        for name, value in values.items():
            index = indices.get(name)
            if index is None or value is None:
                continue
            field = fields[index]
            reason = misfit(field, value, counts_bytes=counts_bytes(self._layer))
            if reason is None and self._is_unique(index):
                ignored = [] if own is None else [own.id()]
                if QgsVectorLayerUtils.valueExists(self._layer, index, value, ignored):
                    reason = QCoreApplication.translate(
                        "OutputFeature", "it must be unique, and another feature has the value"
                    )
            if reason is None:
                fitting[index] = value
            else:
                self._name(field.name(), _left_out(field.name(), reason), notes)
        return fitting

    def _leave_out_refused(self, feature: QgsFeature, values: dict[int, Any], notes: list[str]) -> None:
        """Take the values back that hard constraints of the layer refuse."""
        for index, value in values.items():
            field = self._layer.fields()[index]
            if value is None or not field.constraints().constraints() & _EXPRESSION:
                continue
            is_fine, _ = QgsVectorLayerUtils.validateAttribute(
                self._layer, feature, index, QgsFieldConstraints.ConstraintStrength.ConstraintStrengthHard
            )
            if not is_fine:
                feature.setAttribute(index, None)
                reason = QCoreApplication.translate("OutputFeature", "the layer's constraint refuses it")
                self._name(field.name(), _left_out(field.name(), reason), notes)

    def _name_empty_fields(self, feature: QgsFeature, notes: list[str]) -> None:
        """Say which fields the user has to fill in before the provider takes the feature."""
        for index in range(self._layer.fields().count()):
            field = self._layer.fields()[index]
            must = field.constraints().constraints() & _NOT_NULL
            if must and is_null(feature.attribute(index)):
                text = QCoreApplication.translate(
                    "OutputFeature",
                    "The field {field} must not be empty; fill it in before you save the layer's edits.",
                )
                self._name(f"{field.name()} is empty", text.format(field=field.name()), notes)

    def _is_unique(self, index: int) -> bool:
        return bool(self._layer.fields()[index].constraints().constraints() & _UNIQUE)

    def _name(self, key: str, sentence: str, notes: list[str]) -> None:
        if key not in self._said:
            self._said.add(key)
            notes.append(sentence)


def _left_out(field: str, reason: str) -> str:
    return QCoreApplication.translate("OutputFeature", "The field {field} is left empty: {reason}.").format(
        field=field, reason=reason
    )

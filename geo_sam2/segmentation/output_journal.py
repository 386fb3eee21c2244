# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the journal of an output layer in step with its edit buffer, and brings journaled objects back.

Joins ``OutputLayer``, which tells what happens, with ``journal``, which writes it down. Main thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsCoordinateReferenceSystem, QgsFeatureRequest, QgsGeometry
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import GeoSam2Error, JournalError
from geo_sam2.segmentation.crs_change import CrsChange
from geo_sam2.segmentation.journal import JournaledLayer, JournaledObject, PendingJournal, adopted
from geo_sam2.segmentation.output_feature import SavedObject
from geo_sam2.segmentation.output_fields import CREATED, field_indices
from geo_sam2.segmentation.output_layer import AcceptedObject, OutputLayer

# Two outlines are one where no part of more than this share of them lies in one only: what writing
# into some formats, or another CRS, rounds off.
_SAME_SHARE = 1e-6


class OutputJournal(QObject):
    """The journal of one output layer.

    Args:
        output: The layer; also the parent, so that this lives as long.
        home: The user's data directory.

    Signals:
        failed: A ``JournalError``: objects are saved, but could not be brought back after a crash. Said
            once until something is written again.
    """

    failed = pyqtSignal(object)

    def __init__(self, output: OutputLayer, home: Path) -> None:
        super().__init__(output)
        layer = output.layer
        self._journal = adopted(
            home,
            JournaledLayer(
                output.layer_id,
                output.name,
                "" if layer is None else layer.source(),
                "" if layer is None else layer.providerType(),
            ),
        )
        # A plugin that is reloaded goes on with what it wrote, under other numbers.
        self._offset = self._journal.last_number
        self._has_failed = False
        if layer is not None and self._journal.path is not None and not layer.isModified():
            self._attempt(self._journal.drop)  # committed or discarded while nobody listened
            self._offset = 0
        output.object_accepted.connect(self._accept)
        output.object_lost.connect(self._lose)
        output.object_back.connect(self._bring_back)
        output.committed.connect(self._drop)
        output.rolled_back.connect(self._drop)
        output.removed.connect(self._release)

    @property
    def path(self) -> Path | None:
        """The file; None while there is nothing to be lost."""
        return self._journal.path

    def close(self) -> None:
        """Close the file; it stays while what it holds is not committed."""
        self._journal.close()

    def _accept(self, accepted: AcceptedObject) -> None:
        item = _journaled(accepted, self._offset)
        self._attempt(lambda: self._journal.write_saved(item))

    def _lose(self, number: int) -> None:
        self._attempt(lambda: self._journal.write_lost(number + self._offset))

    def _bring_back(self, number: int) -> None:
        self._attempt(lambda: self._journal.write_back(number + self._offset))

    def _drop(self) -> None:
        self._attempt(self._journal.drop)
        self._offset = 0

    def _release(self) -> None:
        self._attempt(self._journal.release)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except JournalError as error:
            if not self._has_failed:
                self._has_failed = True
                self.failed.emit(error)
        else:
            self._has_failed = False


@dataclass(frozen=True)
class RestoreReport:
    """What came of objects that were brought back.

    Attributes:
        restored: How many are in the edit buffer again.
        already: How many were in the layer: they had been committed just before the end.
        errors: Why others are not, each reason once; they stay in the journal.
    """

    restored: int
    already: int
    errors: tuple[GeoSam2Error, ...]


def restore(pending: PendingJournal, output: OutputLayer) -> RestoreReport:
    """Bring the objects of a journal back into a layer, each as a command of its own.

    What took the place of a feature does so again if the layer is the same one. The journal is
    left for the caller to discard if there were no errors; given twice, nothing comes twice.

    Args:
        pending: What was left behind.
        output: The same layer, or any other; the objects are accepted into it, and journaled anew.
    """
    restored = already = 0
    errors: dict[str, GeoSam2Error] = {}
    layer = output.layer
    is_same_source = layer is not None and bool(layer.source()) and layer.source() == pending.layer.source
    for item in pending.objects:
        saved = _saved(item)
        try:
            if _is_there(saved, output):
                already += 1
                continue
            replaced = item.replaces[0] if item.replaces and is_same_source else None
            if replaced is not None and output.feature(replaced) is not None:
                output.replace(replaced, saved)
            else:
                output.save(saved)
            restored += 1
        except GeoSam2Error as error:
            errors.setdefault(error.text, error)
    return RestoreReport(restored, already, tuple(errors.values()))


def _is_there(saved: SavedObject, output: OutputLayer) -> bool:
    """Whether the layer holds all parts of the object, created at the same moment if it keeps that."""
    layer = output.layer
    if layer is None or saved.geometry.isEmpty():
        return False
    moved = CrsChange(saved.crs, layer.crs(), output.transform_context)(saved.geometry)
    least = _SAME_SHARE * moved.area()
    created = field_indices(layer).get(CREATED)
    request = QgsFeatureRequest().setFilterRect(moved.boundingBox())
    request.setSubsetOfAttributes([] if created is None else [created])
    parts = []
    for feature in layer.getFeatures(request):
        if created is not None and feature.attribute(created) != saved.created:
            continue
        geometry = feature.geometry()
        # A part of a layer of single parts lies in the object; a neighbour does not.
        if geometry.area() > 0 and geometry.difference(moved).area() <= least:
            parts.append(geometry)
    if not parts:
        return False
    found = parts[0] if len(parts) == 1 else QgsGeometry.unaryUnion(parts)
    return bool(moved.difference(found).area() <= least)


def _journaled(accepted: AcceptedObject, offset: int) -> JournaledObject:
    saved = accepted.saved
    replaced, supersedes = accepted.replaced, accepted.supersedes
    return JournaledObject(
        number=accepted.number + offset,
        geometry_wkb=bytes(saved.geometry.asWkb()).hex(),
        crs_wkt=saved.crs.toWkt() if saved.crs.isValid() else "",
        crs_authid=saved.crs.authid(),
        class_name=saved.class_name or "",
        score=_finite(saved.score),
        stability=_finite(saved.stability),
        model=saved.model,
        store_id=saved.store_id,
        tile_ids=saved.tile_ids,
        prompts=saved.prompts,
        outline=saved.outline,
        is_truncated=saved.is_truncated,
        created=saved.created,
        # Ids of features that are not in the source yet mean nothing after the end of the process.
        replaces=() if replaced is None or replaced < 0 else (replaced,),
        supersedes=() if supersedes is None else (supersedes + offset,),
    )


def _saved(item: JournaledObject) -> SavedObject:
    geometry = QgsGeometry()
    geometry.fromWkb(bytes.fromhex(item.geometry_wkb))
    crs = QgsCoordinateReferenceSystem(item.crs_authid) if item.crs_authid else QgsCoordinateReferenceSystem()
    if not crs.isValid() and item.crs_wkt:
        crs = QgsCoordinateReferenceSystem.fromWkt(item.crs_wkt)
    return SavedObject(
        geometry=geometry,
        crs=crs,
        class_name=item.class_name or None,
        score=item.score,
        stability=item.stability,
        model=item.model,
        store_id=item.store_id,
        tile_ids=item.tile_ids,
        prompts=item.prompts,
        outline=item.outline,
        is_truncated=item.is_truncated,
        created=item.created,
    )


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0

# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture and its truth, painted together, and the finished scene.

Three label maps hold what a pixel belongs to: an object (0: nothing nameable), a part of that object
(0: the object is all of one part) and a group of objects (0: the object stands alone). What is painted
later covers what was there, in the picture as in the truth, so the truth is what can be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .drawing import coverage_of

#: Pixels of the next surface for a window of the given (rows, cols).
Paint = Callable[[tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class SceneObject:
    """One object of a finished scene.

    Attributes:
        object_id: its value in ``object_hw``.
        kind: what it shows, "field" or "crown" for instance.
        part_ids: its values in ``part_hw``; empty for an object of a single part.
        group_id: its value in ``group_hw``, 0 when it stands alone.
        area_px: visible pixels.
        window: row and column slices that hold all of them.
    """

    object_id: int
    kind: str
    part_ids: tuple[int, ...]
    group_id: int
    area_px: int
    window: tuple[slice, slice]

    @property
    def is_single_part(self) -> bool:
        """Whether part and object are the same."""
        return not self.part_ids


@dataclass(frozen=True)
class Scene:
    """A picture, rows x columns x 3 uint8, its three label maps (int32) and its objects."""

    image_hwc: np.ndarray
    part_hw: np.ndarray
    object_hw: np.ndarray
    group_hw: np.ndarray
    objects: list[SceneObject]

    def mask(self, level: str, label: int) -> np.ndarray:
        """Return the boolean mask of a "part", an "object" or a "group"."""
        return getattr(self, f"{level}_hw") == label


class Canvas:
    """A square picture in the making."""

    def __init__(self, ground: np.ndarray):
        self.image = ground.astype(np.float32)
        self.size_px = ground.shape[0]
        self.part_hw, self.object_hw, self.group_hw = (np.zeros(ground.shape[:2], np.int32) for _ in range(3))
        self._kinds: dict[int, str] = {}
        self._next_label = 1

    def new_label(self) -> int:
        """Return a label that no part, object or group has."""
        self._next_label += 1
        return self._next_label - 1

    def new_object(self, kind: str) -> int:
        """Return the label of a new object."""
        label = self.new_label()
        self._kinds[label] = kind
        return label

    def rename(self, object_id: int, kind: str) -> None:
        """Give an object another kind."""
        self._kinds[object_id] = kind

    def fill(
        self,
        polygon_xy: np.ndarray,
        paint: Paint | np.ndarray,
        object_id: int | None = None,
        part_id: int = 0,
        group_id: int = 0,
        within: int | None = None,
    ) -> None:
        """Paint a polygon; with an ``object_id`` it becomes truth too (0 takes the pixels from what was).

        ``within`` keeps the paint inside the object with that label.
        """
        found = coverage_of(polygon_xy, self.size_px)
        if found is None:
            return
        window, coverage = found
        if within is not None:
            coverage = coverage * (self.object_hw[window] == within)
        pixels = paint(coverage.shape) if callable(paint) else paint
        self.image[window] += coverage[..., None] * (pixels - self.image[window])
        if object_id is None:
            return
        inside = coverage > 0.5
        self.object_hw[window][inside] = object_id
        self.part_hw[window][inside] = part_id
        self.group_hw[window][inside] = group_id

    def shade(self, polygon_xy: np.ndarray, strength: float, object_id: int | None = None) -> None:
        """Darken a polygon by ``strength`` (0 to 1), more in red than in blue; optionally an object."""
        found = coverage_of(polygon_xy, self.size_px)
        if found is None:
            return
        window, coverage = found
        tint = np.array([1.05, 1.0, 0.88], np.float32) * strength
        self.image[window] *= 1 - coverage[..., None] * tint
        if object_id is not None:
            inside = coverage > 0.5
            self.object_hw[window][inside] = object_id
            self.part_hw[window][inside] = 0
            self.group_hw[window][inside] = 0

    def finish(self, image_hwc: np.ndarray, fragment_px: int = 12) -> Scene:
        """Return the scene: objects that were cut apart become several, crumbs become nothing.

        A group of which one object is left is no group, and an object of which one part is left is of a
        single part: the three levels would be the same, or their names would promise more than is seen.
        """
        self._separate(fragment_px)
        self._drop_lone_labels()
        objects = []
        for object_id, window in _windows(self.object_hw):
            inside = self.object_hw[window] == object_id
            parts = np.unique(self.part_hw[window][inside])
            objects.append(
                SceneObject(
                    object_id,
                    self._kinds[object_id],
                    tuple(int(part) for part in parts if part),
                    int(self.group_hw[window][inside][0]),
                    int(inside.sum()),
                    window,
                )
            )
        return Scene(image_hwc, self.part_hw, self.object_hw, self.group_hw, objects)

    def _separate(self, fragment_px: int) -> None:
        for object_id, window in _windows(self.object_hw):
            pieces, count = ndimage.label(self.object_hw[window] == object_id)
            sizes = np.bincount(pieces.ravel())[1:]
            for piece in range(1, count + 1):
                inside = pieces == piece
                if sizes[piece - 1] < fragment_px:
                    for labels in (self.part_hw, self.object_hw, self.group_hw):
                        labels[window][inside] = 0
                elif piece - 1 != int(sizes.argmax()):
                    self.object_hw[window][inside] = self.new_object(self._kinds[object_id])
                    parts = self.part_hw[window]
                    for part_id in np.unique(parts[inside & (parts > 0)]):
                        parts[inside & (parts == part_id)] = self.new_label()

    def _drop_lone_labels(self) -> None:
        for inner, outer in ((self.part_hw, self.object_hw), (self.object_hw, self.group_hw)):
            base = int(inner.max()) + 1
            pairs = np.unique(outer.ravel().astype(np.int64) * base + inner.ravel())
            owners = pairs[pairs >= base] // base
            is_lone = np.bincount(owners, minlength=int(outer.max()) + 1) == 1
            level = inner if inner is self.part_hw else outer
            level[is_lone[outer]] = 0


def _windows(labels: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    found = ndimage.find_objects(labels)
    return [(index + 1, window) for index, window in enumerate(found) if window is not None]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes on disk: one process draws them, the training process reads them.

A pool holds a fixed number of scenes of one size, numbered by their seeds and drawn in that order. Step t of
a stage may use the first ``START + GROWTH * t`` of them and waits for what is not there yet, so a run does
not depend on how fast the other process was.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from demo_scenes.training_scenes import training_scene
from scipy import ndimage

START, GROWTH = 150, 1.2
#: Objects with fewer visible pixels are not clicked on in training.
MIN_AREA_PX = 250


@dataclass
class PooledScene:
    """A scene as the trainer uses it.

    Attributes:
        image_hwc: uint8.
        labels_khw: (3, H, W) int16, the part, object and group maps.
        objects: (n, 6) int32, see ``COLUMNS``: label, visible pixels, label of the group or 0, row and
            column of the innermost pixel, and whether the border cuts it.
    """

    image_hwc: np.ndarray
    labels_khw: np.ndarray
    objects: np.ndarray


COLUMNS = ("object_id", "area", "group_id", "row", "col", "is_cut")


def _path(folder: Path, size_px: int, number: int) -> Path:
    return folder / f"{size_px}" / f"{number:05d}.npz"


def draw(folder: Path, size_px: int, number: int) -> None:
    """Draw one scene into the pool unless it is there."""
    path = _path(folder, size_px, number)
    if path.exists():
        return
    scene = training_scene(number, size_px)
    rows = []
    for found in scene.objects:
        if found.area_px < MIN_AREA_PX:
            continue
        inside = np.pad(scene.object_hw[found.window] == found.object_id, 1)
        depth = ndimage.distance_transform_edt(inside)
        row, col = np.unravel_index(int(depth.argmax()), depth.shape)
        row, col = row - 1 + found.window[0].start, col - 1 + found.window[1].start
        low = min(side.start for side in found.window)
        is_cut = low == 0 or max(side.stop for side in found.window) == size_px
        rows.append((found.object_id, found.area_px, found.group_id, row, col, int(is_cut)))
    labels = np.stack([scene.part_hw, scene.object_hw, scene.group_hw]).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(
        partial,
        image_hwc=scene.image_hwc,
        labels_khw=labels,
        objects=np.array(rows, np.int32).reshape(-1, len(COLUMNS)),
    )
    partial.replace(path)  # a reader sees a whole file or none


def fill(folder: Path, plan: list[tuple[int, int]]) -> None:
    """Draw all scenes of a plan of (size, count), in its order.

    Runs in a process of its own, which ends when the one that started it has ended, however it did.
    """
    os.nice(3)
    parent = multiprocessing.parent_process()
    for size_px, count in plan:
        for number in range(count):
            if parent is not None and not parent.is_alive():
                return
            draw(folder, size_px, number)


def load(folder: Path, size_px: int, number: int) -> PooledScene:
    """Return a scene of the pool, waiting until it is drawn."""
    path = _path(folder, size_px, number)
    while not path.exists():
        time.sleep(0.2)
    with np.load(path) as stored:
        return PooledScene(stored["image_hwc"], stored["labels_khw"], stored["objects"])


def recoloured(rng: np.random.Generator, scene: PooledScene) -> PooledScene:
    """Return the scene with another contrast, brightness and white balance."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.8, 1.25)
    levels = (levels - 0.5) * rng.uniform(0.8, 1.2) + 0.5 + rng.normal(0, 0.04) + rng.normal(0, 0.03, 3)
    table = (np.clip(levels, 0, 1) * 255 + 0.5).astype(np.uint8)
    image = np.stack([table[scene.image_hwc[..., band], band] for band in range(3)], -1)
    return PooledScene(image, scene.labels_khw, scene.objects)


def turned(scene: PooledScene, turn: int) -> PooledScene:
    """Return the scene in one of its eight orientations: ``turn % 4`` quarter turns, mirrored from 4 on."""
    size = scene.image_hwc.shape[0]
    image, labels, objects = scene.image_hwc, scene.labels_khw, scene.objects.copy()
    row, col = COLUMNS.index("row"), COLUMNS.index("col")
    if turn >= 4:
        image, labels = image[:, ::-1], labels[..., ::-1]
        objects[:, col] = size - 1 - objects[:, col]
    for _ in range(turn % 4):
        image, labels = np.rot90(image), np.rot90(labels, axes=(1, 2))
        objects[:, [row, col]] = np.stack([size - 1 - objects[:, col], objects[:, row]], -1)
    return PooledScene(np.ascontiguousarray(image), np.ascontiguousarray(labels), objects)

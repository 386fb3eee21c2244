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
from PIL import Image
from scipy import ndimage

START, GROWTH = 150, 1.2
#: Objects with fewer visible pixels are not clicked on in training.
MIN_AREA_PX = 600


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
    labels = np.stack([scene.part_hw, scene.object_hw, scene.group_hw]).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(
        partial,
        image_hwc=scene.image_hwc,
        labels_khw=labels,
        objects=describe(labels),
    )
    partial.replace(path)  # a reader sees a whole file or none


def describe(labels_khw: np.ndarray) -> np.ndarray:
    """Return the table of objects (n, 6), see ``COLUMNS``, of the part, object and group maps."""
    _, object_hw, group_hw = labels_khw
    rows = []
    for index, window in enumerate(ndimage.find_objects(object_hw)):
        if window is None:
            continue
        inside = np.pad(object_hw[window] == index + 1, 1)
        area = int(inside.sum())
        if area < MIN_AREA_PX:
            continue
        depth = ndimage.distance_transform_edt(inside)
        row, col = np.unravel_index(int(depth.argmax()), depth.shape)
        row, col = row - 1 + window[0].start, col - 1 + window[1].start
        is_cut = min(side.start for side in window) == 0
        is_cut |= max(side.stop for side in window) == len(object_hw)
        rows.append((index + 1, area, group_hw[row, col], row, col, is_cut))
    return np.array(rows, np.int32).reshape(-1, len(COLUMNS))


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


def zoomed(rng: np.random.Generator, scene: PooledScene, factor: float) -> PooledScene:
    """Return a piece of the scene enlarged by ``factor`` to the size of the whole."""
    size = scene.image_hwc.shape[0]
    side = size / factor
    left, top = rng.uniform(0, size - side, 2)
    image = Image.fromarray(scene.image_hwc).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    steps = (np.arange(size) + 0.5) / factor
    rows, cols = (top + steps).astype(int), (left + steps).astype(int)
    labels = scene.labels_khw[:, rows[:, None], cols[None]]
    return PooledScene(np.asarray(image), labels, describe(labels))


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

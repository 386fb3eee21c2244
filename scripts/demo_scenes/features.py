# SPDX-License-Identifier: GPL-3.0-or-later
"""Single features that both generators place: gabled and flat roofs, crowns, crop fields."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from .canvas import Canvas
from .drawing import (
    blob,
    distinct_material,
    material,
    noise,
    rectangle,
    rows_pattern,
    surface,
    thick_line,
)


def crop_paint(rng: np.random.Generator, colour: np.ndarray, angle: float, scale: float):
    """Return a paint for a crop field: rows along ``angle`` in about half of them, mottled growth."""
    period = rng.uniform(3, 9) * scale
    depth = rng.uniform(0.02, 0.09) if rng.random() < 0.55 and period > 2.2 else 0.0
    mottle, wavelength = rng.uniform(0.01, 0.05), rng.uniform(12, 90) * scale
    bend, grain = rng.normal(0, 3), rng.uniform(0.004, 0.03)

    def paint(shape: tuple[int, int]) -> np.ndarray:
        pixels = surface(rng, shape, colour, mottle, wavelength, grain)
        if depth:
            stripes = rows_pattern(shape, angle, period, rng.uniform(0, 6), bend)
            pixels *= 1 + depth / max(float(colour.mean()), 0.25) * stripes[..., None]
        return pixels

    return paint


def plain_paint(
    rng: np.random.Generator, colour: np.ndarray, mottle: float, wavelength_px: float, grain=0.02
):
    """Return a paint of one material without a pattern."""
    return lambda shape: surface(rng, shape, colour, mottle, wavelength_px, grain)


def cast_shadow(
    canvas: Canvas, polygon_xy: np.ndarray, offset: np.ndarray, strength: float, object_id: int | None = None
) -> None:
    """Darken what a body of this outline shades: the outline swept along ``offset`` (x, y)."""
    swept = np.concatenate([polygon_xy, polygon_xy + offset])
    try:
        canvas.shade(swept[ConvexHull(swept).vertices], strength, object_id)
    except QhullError:
        return  # a body thinner than rounding casts no shadow


def gabled_roof(
    rng: np.random.Generator,
    canvas: Canvas,
    centre: np.ndarray,
    length: float,
    width: float,
    angle: float,
    colour: np.ndarray,
    group_id: int,
    sun: float,
) -> int:
    """Paint a roof of two slopes, each a part, the one towards the sun brighter; return its object."""
    object_id = canvas.new_object("gabled_roof")
    across = np.array([-np.sin(angle), np.cos(angle)])
    towards_sun = float(across @ [np.cos(sun), np.sin(sun)])
    step = rng.uniform(0.10, 0.26)
    for side in (-1, 1):
        slope = rectangle(centre + side * across * width / 4, length, width / 2, angle)
        light = 1 + step * side * (1 if towards_sun >= 0 else -1) * max(abs(towards_sun), 0.35)
        tiles = rng.uniform(2, 5) if rng.random() < 0.4 else 0.0

        def paint(shape: tuple[int, int], light: float = light, tiles: float = tiles) -> np.ndarray:
            pixels = surface(rng, shape, colour * light, 0.02, 20, 0.012)
            if tiles:
                pixels *= 1 + 0.05 * rows_pattern(shape, angle, tiles)[..., None]
            return pixels

        canvas.fill(slope, paint, object_id, canvas.new_label(), group_id)
    if rng.random() < 0.5:
        chimney = centre + rng.uniform(-0.3, 0.3) * length * np.array([np.cos(angle), np.sin(angle)])
        canvas.fill(rectangle(chimney, width / 9, width / 9, angle), colour * 0.45, within=object_id)
    return object_id


def flat_roof(
    rng: np.random.Generator, canvas: Canvas, polygon_xy: np.ndarray, colour: np.ndarray, group_id: int
) -> int:
    """Paint a roof of one surface with a rim and a few boxes on it; return its object."""
    object_id = canvas.new_object("flat_roof")
    canvas.fill(polygon_xy, plain_paint(rng, colour, 0.02, 30, 0.012), object_id, 0, group_id)
    side = float(np.sqrt(np.ptp(polygon_xy[:, 0]) * np.ptp(polygon_xy[:, 1])))
    if rng.random() < 0.5:
        ring = np.concatenate([polygon_xy, polygon_xy[:1]])
        for start, end in zip(ring[:-1], ring[1:], strict=True):
            edge = thick_line(np.stack([start, end]), max(1.2, side * 0.03))
            canvas.fill(edge, colour * rng.uniform(0.8, 1.2), within=object_id)
    for _ in range(rng.integers(0, 4)):
        place = polygon_xy.mean(0) + rng.uniform(-0.25, 0.25, 2) * side
        box = rectangle(place, *(side * rng.uniform(0.04, 0.12, 2)), rng.uniform(0, 3))
        canvas.fill(box, colour * rng.uniform(0.6, 1.3), within=object_id)
    return object_id


def crown(
    rng: np.random.Generator,
    canvas: Canvas,
    centre: np.ndarray,
    radius: float,
    colour: np.ndarray,
    group_id: int,
    sun: float,
) -> int:
    """Paint a tree crown seen from above: rough edge, lit from the side of the sun, clumps of leaves."""
    object_id = canvas.new_object("crown")
    outline = blob(rng, centre, radius, rng.uniform(0.05, 0.22), rng.uniform(0.8, 1.25))
    low = np.floor(outline.min(0)).clip(0)
    relief, clump = rng.uniform(0.15, 0.45), max(radius * rng.uniform(0.2, 0.5), 1.5)

    def paint(shape: tuple[int, int]) -> np.ndarray:
        row, col = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
        x, y = (col + low[0] - centre[0]) / radius, (row + low[1] - centre[1]) / radius
        light = 1 + relief * (x * np.cos(sun) + y * np.sin(sun)) - 0.25 * (x * x + y * y)
        leaves = 1 + rng.uniform(0.08, 0.25) * noise(rng, shape, clump, 2)
        return (colour * 1.1) * (light * leaves)[..., None]

    canvas.fill(outline, paint, object_id, 0, group_id)
    return object_id


def fallen_log(rng: np.random.Generator, canvas: Canvas, centre: np.ndarray, length: float) -> None:
    """Paint a trunk on the ground, three to eight times less wide than it might be."""
    angle = rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    bend = np.array([-along[1], along[0]]) * rng.normal(0, 0.04) * length
    points = np.stack([centre - along * length / 2, centre + bend, centre + along * length / 2])
    width = max(length / rng.uniform(8, 18), 2.0)
    canvas.fill(
        thick_line(points, width),
        plain_paint(rng, material(rng, "wood"), 0.04, 8),
        canvas.new_object("log"),
    )


def field_colour(rng: np.random.Generator, against: np.ndarray) -> np.ndarray:
    """Return the colour of a crop, a bare or a grass field that differs from its neighbour."""
    return distinct_material(rng, ("young_crop", "ripe_crop", "soil", "meadow", "dry_grass"), against)

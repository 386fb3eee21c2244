# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenes that the demo model learns from.

The plane is split by straight cuts in a turned frame into parcels, and each parcel gets a content: a crop
field, a field of strips, a farmstead, a grove, a pond, nothing. Trees, logs, patches and roads are strewn
over it. Some scenes have no parcels, only what is strewn. Sizes are drawn over wide ranges, as if seen at
several ground resolutions; they do not grow with the picture, only their upper bounds do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Scene
from .drawing import (
    blob,
    distinct_material,
    material,
    noise,
    photograph,
    rectangle,
    shrink,
    surface,
    thick_line,
)
from .features import (
    cast_shadow,
    crop_paint,
    crown,
    fallen_log,
    field_colour,
    flat_roof,
    gabled_roof,
    plain_paint,
)


@dataclass(frozen=True)
class Setting:
    """What holds for a whole scene.

    Attributes:
        rng: its source of chance.
        ground: mean colour (3,) of what lies under everything.
        sun: azimuth of the light in the picture, radians.
        shadow: length of a shadow per height.
        scale: pixels per unit; a house is about 25 units long, a crown has a radius of about 8.
    """

    rng: np.random.Generator
    ground: np.ndarray
    sun: float
    shadow: float
    scale: float

    def shade_offset(self, height_px: float) -> np.ndarray:
        """Return the (x, y) shift from the top of a body to the tip of its shadow."""
        return -np.array([np.cos(self.sun), np.sin(self.sun)]) * self.shadow * height_px

    def log_uniform(self, low: float, high: float) -> float:
        """Return a size whose logarithm is evenly distributed."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(max(high, low * 1.01)))))


def training_scene(seed: int, size_px: int) -> Scene:
    """Return the scene of a seed, ``size_px`` on a side."""
    rng = np.random.default_rng([seed, size_px])
    ground = material(rng, ("meadow", "dry_grass", "soil", "meadow", "paving")[rng.integers(5)])
    shape = (size_px, size_px)
    canvas = Canvas(
        surface(rng, shape, ground, rng.uniform(0.01, 0.07), rng.uniform(20, 160), rng.uniform(0.005, 0.04))
    )
    if rng.random() < 0.4:
        mixed = np.clip(noise(rng, shape, rng.uniform(40, 200)) - rng.uniform(0, 1), 0, 1)[..., None]
        other = material(rng, ("meadow", "dry_grass", "soil")[rng.integers(3)])
        canvas.image += mixed * (other - ground).astype(np.float32) * rng.uniform(0.2, 0.9)
    setting = Setting(
        rng,
        ground,
        rng.uniform(0, 2 * np.pi),
        rng.uniform(0.3, 1.4),
        float(np.exp(rng.uniform(np.log(0.9), np.log(3.2)))),
    )
    if rng.random() < 0.65:
        _parcels(setting, canvas)
    else:
        for _ in range(rng.integers(0, 4)):
            _farmstead(setting, canvas, rng.uniform(0, size_px, 2), setting.log_uniform(60, size_px * 0.5))
        for _ in range(rng.integers(0, 3)):
            _grove(setting, canvas, blob(rng, rng.uniform(0, size_px, 2), size_px * 0.16, 0.3))
    _strew(setting, canvas)
    return canvas.finish(photograph(rng, canvas.image))


def _parcels(setting: Setting, canvas: Canvas) -> None:
    """Split the plane and fill the pieces."""
    rng, size = setting.rng, canvas.size_px
    angle = rng.uniform(0, np.pi / 2)
    target = setting.log_uniform(44, min(0.75 * size, 460))
    margin = rng.uniform(0.5, 4.5)
    reach = 0.72 * size
    weights = rng.dirichlet([2.2, 0.8, 0.7, 0.5, 0.4, 0.7])
    contents = (_field, _strips, _farmstead_in, _grove, _pond, None)

    def split(low: np.ndarray, high: np.ndarray, group: tuple[int, np.ndarray] | None) -> None:
        sides = high - low
        axis = int(sides[1] > sides[0] * rng.uniform(0.7, 1.4))
        if sides[axis] > target * rng.uniform(0.8, 1.9):
            cut = low[axis] + sides[axis] * rng.uniform(0.3, 0.7)
            first_high, second_low = high.copy(), low.copy()
            first_high[axis] = second_low[axis] = cut
            if group is None and max(sides) < 3.2 * target and rng.random() < 0.22:
                group = (canvas.new_label(), field_colour(rng, setting.ground))
            split(low, first_high, group)
            split(second_low, high, group)
            return
        corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
        corners = corners + rng.normal(0, 0.03, (4, 2)) * sides.min()
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        polygon = shrink(corners @ turn + size / 2, 0.4 if group else margin)
        if group is not None:
            _field(setting, canvas, polygon, *group)
            return
        content = contents[rng.choice(len(contents), p=weights)]
        if content is not None:
            content(setting, canvas, polygon)

    split(np.array([-reach, -reach]), np.array([reach, reach]), None)


def _field(
    setting: Setting,
    canvas: Canvas,
    polygon_xy: np.ndarray,
    group_id: int = 0,
    like: np.ndarray | None = None,
) -> None:
    """A crop field; in a group its colour is near that of its neighbours."""
    rng = setting.rng
    if like is None:
        colour = field_colour(rng, setting.ground)
    else:
        colour = np.clip(like * rng.uniform(0.75, 1.3) + rng.normal(0, 0.03, 3), 0.05, 0.95)
    heading = polygon_xy[1] - polygon_xy[0]
    angle = float(np.arctan2(heading[1], heading[0])) + rng.choice([0.0, np.pi / 2, rng.uniform(0, 3)])
    if rng.random() < 0.15:
        theta = np.linspace(0, 2 * np.pi, 80, endpoint=False)
        radius = 0.5 * np.linalg.norm(polygon_xy - np.roll(polygon_xy, 1, 0), axis=1).min()
        polygon_xy = polygon_xy.mean(0) + radius * np.stack([np.cos(theta), np.sin(theta)], -1)
    paint = crop_paint(rng, colour, angle, setting.scale * 0.6)
    object_id = canvas.new_object("field")
    canvas.fill(polygon_xy, paint, object_id, 0, group_id)
    if rng.random() < 0.2:  # a headland: the same crop worked across, not a part of its own
        inner = shrink(polygon_xy, rng.uniform(4, 9))
        canvas.fill(inner, crop_paint(rng, colour * 1.04, angle + np.pi / 2, setting.scale), within=object_id)


def _strips(setting: Setting, canvas: Canvas, polygon_xy: np.ndarray) -> None:
    """A field of two to five strips, each a part."""
    rng = setting.rng
    object_id = canvas.new_object("strip_field")
    count = int(rng.integers(2, 6))
    cuts = np.sort(
        np.concatenate([[0, 1], (np.arange(1, count) + rng.uniform(-0.3, 0.3, count - 1)) / count])
    )
    first, second, third, fourth = polygon_xy
    colour = field_colour(rng, setting.ground)
    heading = second - first
    for start, end in zip(cuts[:-1], cuts[1:]):
        strip = np.array(
            [
                first + start * (second - first),
                first + end * (second - first),
                fourth + end * (third - fourth),
                fourth + start * (third - fourth),
            ]
        )
        angle = float(np.arctan2(heading[1], heading[0])) + np.pi / 2
        canvas.fill(
            strip, crop_paint(rng, colour, angle, setting.scale * 0.6), object_id, canvas.new_label(), 0
        )
        colour = distinct_material(rng, ("young_crop", "ripe_crop", "soil"), colour, 0.09)


def _farmstead_in(setting: Setting, canvas: Canvas, polygon_xy: np.ndarray) -> None:
    """A farmstead whose yard fills a parcel."""
    _buildings(setting, canvas, polygon_xy)


def _farmstead(setting: Setting, canvas: Canvas, centre: np.ndarray, side: float) -> None:
    """A farmstead anywhere."""
    rng = setting.rng
    yard = rectangle(centre, side, side * rng.uniform(0.5, 1), rng.uniform(0, np.pi))
    _buildings(setting, canvas, yard)


def _buildings(setting: Setting, canvas: Canvas, yard_xy: np.ndarray) -> None:
    """Buildings in rows on a yard; yard and buildings are the group, or the buildings stand alone."""
    rng = setting.rng
    in_group = rng.random() < 0.55
    group_id = canvas.new_label() if in_group else 0
    around = setting.ground
    if in_group or rng.random() < 0.3:
        around = distinct_material(rng, ("paving", "soil", "dry_grass"), setting.ground, 0.08)
        yard = canvas.new_object("yard") if in_group else None
        canvas.fill(yard_xy, plain_paint(rng, around, 0.03, 30), yard, 0, group_id)
    along, across = yard_xy[1] - yard_xy[0], yard_xy[3] - yard_xy[0]
    angle = float(np.arctan2(along[1], along[0]))
    length = 25 * setting.scale * rng.uniform(0.8, 1.3)
    columns = int(np.clip(np.linalg.norm(along) / (length * rng.uniform(1.2, 1.7)), 1, 6))
    rows = int(np.clip(np.linalg.norm(across) / (length * rng.uniform(1.0, 1.6)), 1, 5))
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.2:
                continue
            jitter = rng.uniform(-0.1, 0.1, 2)
            centre = (
                yard_xy[0]
                + along * (column + 0.5 + jitter[0]) / columns
                + across * (row + 0.5 + jitter[1]) / rows
            )
            turn = angle + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.05)
            _building(setting, canvas, centre, length * rng.uniform(0.6, 1.15), turn, around, group_id)


def _building(
    setting: Setting,
    canvas: Canvas,
    centre: np.ndarray,
    length: float,
    angle: float,
    around: np.ndarray,
    group_id: int,
) -> None:
    """One building and its shadow: gabled, flat, of two wings, or round."""
    rng = setting.rng
    width = length * rng.uniform(0.45, 1.0)
    colour = distinct_material(rng, ("roof",), around, 0.14)
    height = rng.uniform(0.12, 0.4) * length
    shadow_id = canvas.new_object("shadow") if rng.random() < 0.5 else 0
    form = rng.random()
    outline = rectangle(centre, length, width, angle)
    if 0.5 <= form < 0.62:
        theta = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        outline = centre + width / 2 * np.stack([np.cos(theta), np.sin(theta)], -1)
    if rng.random() < 0.85:
        cast_shadow(canvas, outline, setting.shade_offset(height), rng.uniform(0.35, 0.65), shadow_id)
    if form < 0.5:
        gabled_roof(rng, canvas, centre, length, width, angle, colour, group_id, setting.sun)
        return
    if form > 0.82:
        x, y = rng.uniform(0.3, 0.7, 2)
        unit = np.array([[0, 0], [1, 0], [1, y], [x, y], [x, 1], [0, 1]])
        first, second, _, fourth = outline
        outline = first + unit[:, :1] * (second - first) + unit[:, 1:] * (fourth - first)
    flat_roof(rng, canvas, outline, colour, group_id)


def _grove(setting: Setting, canvas: Canvas, polygon_xy: np.ndarray) -> None:
    """Crowns that touch or nearly touch, all over a polygon; together a group."""
    rng = setting.rng
    group_id = canvas.new_label()
    radius = setting.log_uniform(5, 10) * setting.scale
    pitch = radius * rng.uniform(1.5, 2.3)
    tint = material(rng, "crown")
    low, high = polygon_xy.min(0), polygon_xy.max(0)
    low, high = np.maximum(low, -radius), np.minimum(high, canvas.size_px + radius)
    if np.any(high - low < pitch):
        return
    x, y = (np.arange(start, stop, pitch) for start, stop in zip(low, high))
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    places = places + rng.uniform(-0.35, 0.35, places.shape) * pitch
    centre = polygon_xy.mean(0)
    for place in places[rng.permutation(len(places))][:160]:
        if not _is_inside(polygon_xy, place + (centre - place) * 0.02):
            continue
        size = radius * rng.uniform(0.7, 1.25)
        colour = np.clip(tint * rng.uniform(0.8, 1.25) + rng.normal(0, 0.02, 3), 0.03, 0.9)
        cast_shadow(canvas, blob(rng, place, size, 0.05), setting.shade_offset(size * 0.6), 0.4)
        crown(rng, canvas, place, size, colour, group_id, setting.sun)


def _pond(setting: Setting, canvas: Canvas, polygon_xy: np.ndarray) -> None:
    """Water with a smooth outline inside a parcel."""
    rng = setting.rng
    side = np.linalg.norm(polygon_xy - np.roll(polygon_xy, 1, 0), axis=1).min()
    outline = blob(rng, polygon_xy.mean(0), side * rng.uniform(0.3, 0.45), rng.uniform(0.05, 0.4))
    _water(setting, canvas, outline)


def _water(setting: Setting, canvas: Canvas, outline: np.ndarray) -> None:
    rng = setting.rng
    if rng.random() < 0.4:
        shore = outline.mean(0) + (outline - outline.mean(0)) * rng.uniform(1.03, 1.15)
        canvas.fill(shore, plain_paint(rng, material(rng, "soil"), 0.03, 15), 0)
    paint = plain_paint(rng, material(rng, "water"), rng.uniform(0.003, 0.025), 40, 0.006)
    canvas.fill(outline, paint, canvas.new_object("water"))


def _strew(setting: Setting, canvas: Canvas) -> None:
    """Patches, water, roads, single trees, logs and shadows of clouds, over everything else."""
    rng, size = setting.rng, canvas.size_px
    share = (size / 512) ** 2
    for _ in range(rng.poisson(1.2 * np.sqrt(share) + 0.6)):
        outline = blob(
            rng,
            rng.uniform(0, size, 2),
            setting.log_uniform(14, min(0.28 * size, 170)),
            rng.uniform(0.05, 0.5),
            rng.uniform(0.5, 2),
        )
        if rng.random() < 0.3:
            _water(setting, canvas, outline)
        else:
            colour = distinct_material(rng, ("meadow", "dry_grass", "soil", "young_crop"), setting.ground)
            paint = plain_paint(rng, colour, rng.uniform(0.005, 0.06), rng.uniform(8, 60))
            canvas.fill(outline, paint, canvas.new_object("patch"))
    if rng.random() < 0.35:
        _road(setting, canvas)
    for _ in range(rng.poisson(rng.choice([0.5, 3, 10]) * share + 0.5)):
        centre, radius = rng.uniform(0, size, 2), setting.log_uniform(5, 16) * setting.scale
        radius = min(radius, 60)
        shadow_id = canvas.new_object("shadow") if rng.random() < 0.5 else 0
        outline = blob(rng, centre, radius, 0.1)
        if rng.random() < 0.85:
            cast_shadow(
                canvas,
                outline,
                setting.shade_offset(radius * rng.uniform(0.6, 1.5)),
                rng.uniform(0.35, 0.65),
                shadow_id,
            )
        crown(rng, canvas, centre, radius, material(rng, "crown"), 0, setting.sun)
    if rng.random() < 0.2:
        for _ in range(rng.poisson(3 * share + 1)):
            fallen_log(rng, canvas, rng.uniform(0, size, 2), setting.log_uniform(20, 45) * setting.scale)


def _road(setting: Setting, canvas: Canvas) -> None:
    """A bent road across the scene; what it crosses is cut in two."""
    rng, size = setting.rng, canvas.size_px
    along = np.linspace(-30, size + 30, 30)
    bent = rng.normal(0, 0.06 * size) * np.sin(along / size * rng.uniform(2, 6) + rng.uniform(0, 6))
    line = np.stack([along, rng.uniform(0, size) + rng.normal(0, 0.5) * (along - size / 2) + bent], -1)
    if rng.random() < 0.5:
        line = line[:, ::-1]
    paint = plain_paint(rng, distinct_material(rng, ("paving", "soil"), setting.ground), 0.02, 30)
    canvas.fill(thick_line(line, setting.log_uniform(4, 9) * setting.scale), paint, canvas.new_object("road"))


def _is_inside(polygon_xy: np.ndarray, point: np.ndarray) -> bool:
    """Return whether a point lies in a polygon, by counting the edges to its right."""
    (x, y), first, second = point, polygon_xy, np.roll(polygon_xy, -1, axis=0)
    crosses = (first[:, 1] > y) != (second[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = first[:, 0] + (y - first[:, 1]) / (second[:, 1] - first[:, 1]) * (second[:, 0] - first[:, 0])
    return bool(np.count_nonzero(crosses & (at > x)) % 2)

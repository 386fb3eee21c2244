# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenes that the demo model is measured on; training never sees this composition.

Where the training generator splits the plane by straight cuts, this one lays land out in other ways:
Voronoi parcels, pivot circles, streets with houses on both sides, contour-shaped lakes, orchards,
tanks, polytunnels. The scenes are fixed by their seeds. ``evaluation_objects`` says which objects count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import Voronoi

from .canvas import Canvas, Scene, SceneObject
from .drawing import (
    blob,
    distinct_material,
    material,
    noise,
    photograph,
    rectangle,
    rows_pattern,
    shrink,
    surface,
    thick_line,
)
from .features import cast_shadow, crop_paint, crown, field_colour, flat_roof, gabled_roof, plain_paint

SIZE_PX = 1024
SCENES = 40
FIRST_SEED = 7_000_000
MIN_AREA_PX = 1000
#: At most this many objects of one kind and scene count, so that no scene and no kind rules the mean.
MAX_OF_A_KIND = 4
#: Names of the size classes and the area (px) below which an object belongs to them.
SIZE_CLASSES = {"1000_3000": 3_000, "3000_10000": 10_000, "10000_40000": 40_000, "40000_up": np.inf}


@dataclass(frozen=True)
class Light:
    """Where the sun stands: its azimuth in the picture (radians) and the length of a shadow per height."""

    azimuth: float
    shadow: float

    def offset(self, height_px: float) -> np.ndarray:
        """Return the (x, y) shift from the top of a body to the tip of its shadow."""
        return -np.array([np.cos(self.azimuth), np.sin(self.azimuth)]) * self.shadow * height_px


def evaluation_scene(index: int) -> Scene:
    """Return scene ``index`` (0 to SCENES - 1); the kinds take turns, everything else is drawn by lot."""
    rng = np.random.default_rng(FIRST_SEED + index)
    ground = material(rng, ("meadow", "dry_grass", "soil", "meadow")[index % 4])
    shape = (SIZE_PX, SIZE_PX)
    picture = surface(rng, shape, ground, rng.uniform(0.02, 0.05), rng.uniform(40, 200), 0.02)
    patches = np.clip(noise(rng, shape, rng.uniform(80, 260)) - 0.6, 0, 1)[..., None]
    canvas = Canvas(picture + patches * (material(rng, "dry_grass") - ground) * rng.uniform(0, 0.7))
    light = Light(rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.3))
    layout = (_parcels, _village, _parkland, _pivots, _industry)[index % 5]
    layout(rng, canvas, ground, light)
    return canvas.finish(photograph(rng, canvas.image))


def evaluation_objects(scene: Scene, index: int) -> list[SceneObject]:
    """Return the objects that are measured: of a single part, in one piece, large enough, off the border.

    At most ``MAX_OF_A_KIND`` of each kind, drawn by lot with the scene's own seed.
    """
    rng = np.random.default_rng(FIRST_SEED + index)
    chosen: list[SceneObject] = []
    of_kind: dict[str, int] = {}
    for position in rng.permutation(len(scene.objects)):
        candidate = scene.objects[position]
        rows, cols = candidate.window
        is_cut = min(rows.start, cols.start) == 0 or max(rows.stop, cols.stop) == SIZE_PX
        if is_cut or not candidate.is_single_part or candidate.area_px < MIN_AREA_PX:
            continue
        if of_kind.get(candidate.kind, 0) < MAX_OF_A_KIND:
            of_kind[candidate.kind] = of_kind.get(candidate.kind, 0) + 1
            chosen.append(candidate)
    return chosen


def size_class(area_px: int) -> str:
    """Return the name of an object's size class."""
    return next(name for name, bound in SIZE_CLASSES.items() if area_px < bound)


def _parcels(rng: np.random.Generator, canvas: Canvas, ground: np.ndarray, light: Light) -> None:
    """Fields as Voronoi cells, some in a patchwork that belongs together, a lake, trees on the margins."""
    spacing = rng.uniform(130, 330)
    side = int(np.ceil(SIZE_PX / spacing)) + 4
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) - 1.5
    sites = (lattice + rng.uniform(-0.38, 0.38, lattice.shape)) * spacing
    diagram = Voronoi(sites)
    together = rng.random() < 0.4
    group_id = canvas.new_label() if together else 0
    heart = rng.uniform(300, 700, 2)
    previous = ground
    for site, region in enumerate(diagram.point_region):
        corners = diagram.regions[region]
        if -1 in corners or not corners or rng.random() < 0.12:
            continue
        cell = shrink(diagram.vertices[corners], rng.uniform(2, 7))
        colour = previous = field_colour(rng, previous)
        belongs = together and np.linalg.norm(sites[site] - heart) < 1.1 * spacing
        paint = crop_paint(rng, colour, rng.uniform(0, np.pi), rng.uniform(0.8, 2.2))
        canvas.fill(cell, paint, canvas.new_object("parcel"), 0, group_id if belongs else 0)
    _lake(rng, canvas, rng.uniform(200, 824, 2), rng.uniform(40, 150))
    for _ in range(rng.integers(4, 14)):
        _lone_tree(rng, canvas, rng.uniform(0, SIZE_PX, 2), rng.uniform(14, 42), light)


def _village(rng: np.random.Generator, canvas: Canvas, ground: np.ndarray, light: Light) -> None:
    """A bent street with houses along both sides, their gardens, and a field behind."""
    for _ in range(rng.integers(1, 4)):
        centre = rng.uniform(100, 924, 2)
        outline = blob(rng, centre, rng.uniform(70, 170), 0.25, rng.uniform(0.6, 1.6))
        paint = crop_paint(rng, field_colour(rng, ground), rng.uniform(0, np.pi), 1.5)
        canvas.fill(outline, paint, canvas.new_object("meadow_patch"))
    along = np.linspace(-50, SIZE_PX + 50, 40)
    bend = rng.uniform(20, 90) * np.sin(along / rng.uniform(120, 260) + rng.uniform(0, 6))
    street = np.stack([along, rng.uniform(350, 680) + bend + rng.uniform(-0.3, 0.3) * (along - 512)], -1)
    if rng.random() < 0.5:
        street = street[:, ::-1]
    width = rng.uniform(14, 34)
    canvas.fill(thick_line(street, width), plain_paint(rng, material(rng, "paving"), 0.02, 40), 0)
    step = rng.uniform(0.75, 1.4)
    for position in range(3, 37, 2 if step < 1 else 3):
        heading = street[position + 1] - street[position - 1]
        angle = float(np.arctan2(heading[1], heading[0]))
        normal = np.array([-np.sin(angle), np.cos(angle)])
        for side in (-1, 1):
            if rng.random() < 0.25:
                continue
            centre = street[position] + side * normal * (width / 2 + rng.uniform(42, 70) * step)
            _house(rng, canvas, centre, angle + rng.choice([0, np.pi / 2]), step, ground, light)
    for _ in range(rng.integers(6, 18)):
        _lone_tree(rng, canvas, rng.uniform(0, SIZE_PX, 2), rng.uniform(14, 36), light)


def _parkland(rng: np.random.Generator, canvas: Canvas, ground: np.ndarray, light: Light) -> None:
    """Ponds, patches of other grass and bare ground, single trees of all sizes, one orchard."""
    for _ in range(rng.integers(3, 8)):
        outline = blob(rng, rng.uniform(60, 964, 2), rng.uniform(24, 130), 0.35, rng.uniform(0.5, 2))
        colour = distinct_material(rng, ("meadow", "dry_grass", "soil"), ground)
        paint = plain_paint(rng, colour, rng.uniform(0.01, 0.05), rng.uniform(10, 60))
        canvas.fill(outline, paint, canvas.new_object("ground_patch"))
    for _ in range(rng.integers(1, 4)):
        _lake(rng, canvas, rng.uniform(80, 944, 2), rng.uniform(25, 120))
    _orchard(rng, canvas, rng.uniform(250, 774, 2), light)
    for _ in range(rng.integers(12, 34)):
        _lone_tree(
            rng, canvas, rng.uniform(0, SIZE_PX, 2), np.exp(rng.uniform(np.log(16), np.log(70))), light
        )


def _pivots(rng: np.random.Generator, canvas: Canvas, ground: np.ndarray, light: Light) -> None:
    """Round irrigated fields, some of two halves, on dry ground, with tracks between them."""
    radius = rng.uniform(70, 190)
    pitch = 2 * radius * rng.uniform(1.04, 1.2)
    shift = rng.uniform(0, pitch, 2)
    theta = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    circle = np.stack([np.cos(theta), np.sin(theta)], -1)
    for x in np.arange(-pitch, SIZE_PX + pitch, pitch):
        for y in np.arange(-pitch, SIZE_PX + pitch, pitch):
            if rng.random() < 0.15:
                continue
            centre = np.array([x, y]) + shift
            disc = centre + circle * radius * rng.uniform(0.8, 1)
            object_id = canvas.new_object("pivot")
            halves = rng.random() < 0.25
            turn = rng.integers(96)
            colour = distinct_material(rng, ("young_crop", "ripe_crop", "soil"), ground, 0.14)
            for half in range(2 if halves else 1):
                sector = np.roll(disc, turn + 48 * half, axis=0)[:49] if halves else disc
                paint = crop_paint(rng, colour, rng.uniform(0, np.pi), rng.uniform(1, 2.5))
                canvas.fill(sector, paint, object_id, canvas.new_label() if halves else 0)
                colour = distinct_material(rng, ("young_crop", "ripe_crop", "soil"), colour, 0.14)
    for _ in range(rng.integers(2, 8)):
        _lone_tree(rng, canvas, rng.uniform(0, SIZE_PX, 2), rng.uniform(15, 34), light)


def _industry(rng: np.random.Generator, canvas: Canvas, ground: np.ndarray, light: Light) -> None:
    """Large halls, round tanks in a row and polytunnels on a paved yard beside open ground."""
    paved = material(rng, "paving")
    yard = rectangle(
        rng.uniform(380, 644, 2), rng.uniform(520, 800), rng.uniform(420, 640), rng.uniform(0, 3)
    )
    canvas.fill(yard, plain_paint(rng, paved, 0.02, 60), 0)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    pitch = rng.uniform(150, 230)
    for i in range(-3, 4):
        for j in range(-3, 4):
            centre = 512 + np.array([i, j]) * pitch @ turn + rng.uniform(-12, 12, 2)
            kind = rng.choice(["hall", "tank", "tunnel", "house", "none"], p=[0.3, 0.2, 0.15, 0.2, 0.15])
            if kind == "house":
                _house(rng, canvas, centre, angle, rng.uniform(0.9, 1.6), paved, light)
            elif kind == "hall":
                sides = rng.uniform(0.3, 0.8, 2) * pitch
                _flat_building(rng, canvas, rectangle(centre, *sides, angle), paved, light, "hall")
            elif kind == "tank":
                radius = rng.uniform(0.12, 0.32) * pitch
                theta = np.linspace(0, 2 * np.pi, 64, endpoint=False)
                round_xy = centre + radius * np.stack([np.cos(theta), np.sin(theta)], -1)
                _flat_building(rng, canvas, round_xy, paved, light, "tank")
            elif kind == "tunnel":
                _polytunnel(rng, canvas, centre, pitch, angle)
    for _ in range(rng.integers(3, 12)):
        _lone_tree(rng, canvas, rng.uniform(0, SIZE_PX, 2), rng.uniform(14, 30), light)


def _lake(rng: np.random.Generator, canvas: Canvas, centre: np.ndarray, radius: float) -> None:
    """A lake bounded by a contour line of a noisy bowl, with a shore in about half of them."""
    reach = int(radius * 2)
    row, col = np.mgrid[-reach:reach, -reach:reach]
    bowl = np.hypot(row, col) / radius - 1 + rng.uniform(0.1, 0.3) * noise(rng, row.shape, radius)
    pieces, _ = ndimage.label(bowl < 0)
    water = ndimage.binary_fill_holes(pieces == pieces[reach, reach])
    if not pieces[reach, reach]:
        return
    theta = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    depth = ndimage.distance_transform_edt(water)
    steps = np.linspace(0, reach - 1, 300)[:, None]
    seen = ndimage.map_coordinates(
        (depth > 0).astype(np.float32),
        [reach + steps * np.sin(theta), reach + steps * np.cos(theta)],
        order=1,
    )
    first_dry = np.where((seen < 0.5).any(0), (seen < 0.5).argmax(0), 299)
    ray = steps[first_dry, 0]
    outline = centre + np.stack([ray * np.cos(theta), ray * np.sin(theta)], -1)
    if rng.random() < 0.5:
        shore = centre + (outline - centre) * (1 + rng.uniform(3, 9) / radius)
        canvas.fill(shore, plain_paint(rng, material(rng, "soil"), 0.03, 20), 0)
    canvas.fill(
        outline, plain_paint(rng, material(rng, "water"), 0.015, 50, 0.006), canvas.new_object("lake")
    )


def _lone_tree(
    rng: np.random.Generator, canvas: Canvas, centre: np.ndarray, radius: float, light: Light
) -> None:
    outline = blob(rng, centre, radius * 0.95, 0.08)
    cast_shadow(canvas, outline, light.offset(radius), rng.uniform(0.4, 0.65), 0)
    crown(rng, canvas, centre, radius, material(rng, "crown"), 0, light.azimuth)


def _orchard(rng: np.random.Generator, canvas: Canvas, centre: np.ndarray, light: Light) -> None:
    """Trees of one sort on a square lattice; together they are a group."""
    radius, angle = rng.uniform(15, 26), rng.uniform(0, np.pi / 2)
    pitch, group_id = radius * rng.uniform(2.2, 3.2), canvas.new_label()
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    colour = material(rng, "crown")
    rows, cols = rng.integers(3, 6, 2)
    for i in range(rows):
        for j in range(cols):
            place = centre + (np.array([i, j]) - [rows / 2, cols / 2]) * pitch @ turn + rng.normal(0, 2, 2)
            size = radius * rng.uniform(0.85, 1.1)
            cast_shadow(canvas, blob(rng, place, size, 0.05), light.offset(size * 0.7), 0.45, 0)
            crown(rng, canvas, place, size, colour * rng.uniform(0.9, 1.1), group_id, light.azimuth)


def _house(
    rng: np.random.Generator,
    canvas: Canvas,
    centre: np.ndarray,
    angle: float,
    scale: float,
    around: np.ndarray,
    light: Light,
) -> None:
    """A house with a gabled roof or, as often, a flat one: a rectangle or an L."""
    length, width = rng.uniform(48, 86) * scale, rng.uniform(34, 52) * scale
    if rng.random() < 0.5:
        colour = distinct_material(rng, ("roof",), around, 0.16)
        cast_shadow(canvas, rectangle(centre, length, width, angle), light.offset(18 * scale), 0.55, 0)
        gabled_roof(rng, canvas, centre, length, width, angle, colour, 0, light.azimuth)
        return
    outline = rectangle(np.zeros(2), length, width, 0.0)
    if rng.random() < 0.5:
        inner = np.array([rng.uniform(-0.1, 0.2) * length, rng.uniform(-0.1, 0.15) * width])
        top, left, bottom, right = outline
        outline = np.array([[right[0], inner[1]], inner, [inner[0], top[1]], left, bottom, right])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    _flat_building(rng, canvas, outline @ turn + centre, around, light, "flat_house")


def _flat_building(
    rng: np.random.Generator,
    canvas: Canvas,
    polygon_xy: np.ndarray,
    around: np.ndarray,
    light: Light,
    kind: str,
) -> None:
    """A flat-roofed building of the given outline and the shadow it throws."""
    if kind != "flat_house":  # the hull of an L would shade its yard
        cast_shadow(canvas, polygon_xy, light.offset(rng.uniform(10, 26)), 0.5, 0)
    object_id = flat_roof(rng, canvas, polygon_xy, distinct_material(rng, ("roof",), around, 0.16), 0)
    canvas.rename(object_id, kind)


def _polytunnel(
    rng: np.random.Generator, canvas: Canvas, centre: np.ndarray, pitch: float, angle: float
) -> None:
    """A long pale tunnel with ribs."""
    colour = np.clip(material(rng, "roof", 0.01) * 0.2 + 0.65, 0, 0.95)
    period = rng.uniform(6, 14)

    def paint(shape: tuple[int, int]) -> np.ndarray:
        ribs = 1 - 0.06 * np.clip(rows_pattern(shape, angle + np.pi / 2, period), 0.3, 1)
        return surface(rng, shape, colour, 0.02, 30, 0.01) * ribs[..., None]

    outline = rectangle(centre, pitch * rng.uniform(0.6, 0.9), pitch * rng.uniform(0.18, 0.3), angle)
    canvas.fill(outline, paint, canvas.new_object("polytunnel"))

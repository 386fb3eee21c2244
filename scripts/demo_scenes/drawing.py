# SPDX-License-Identifier: GPL-3.0-or-later
"""Primitives that both scene generators draw with: noise, outlines, coverage, materials, the sensor.

Images are float32, rows x columns x 3, 0 to 1, until the sensor rounds them to uint8. Outlines are arrays
of (x, y) in pixels, x right, y down, (0, 0) the outer corner of the first pixel. What stands where is the
business of the generators; nothing here knows about labels.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

#: Coverage is drawn this many times finer in each direction and averaged.
SUPERSAMPLING = 4

#: Mean colours of materials in sunlight, as a camera with an ordinary tone curve sees them.
MATERIALS = {
    "young_crop": [(0.36, 0.50, 0.24), (0.44, 0.56, 0.28), (0.30, 0.45, 0.22), (0.50, 0.58, 0.34)],
    "ripe_crop": [(0.76, 0.68, 0.42), (0.70, 0.60, 0.38), (0.80, 0.72, 0.50), (0.62, 0.58, 0.34)],
    "soil": [(0.50, 0.38, 0.28), (0.42, 0.32, 0.25), (0.62, 0.50, 0.38), (0.56, 0.44, 0.36)],
    "meadow": [(0.40, 0.47, 0.27), (0.47, 0.50, 0.30), (0.54, 0.54, 0.36), (0.36, 0.42, 0.24)],
    "dry_grass": [(0.60, 0.56, 0.42), (0.66, 0.60, 0.46), (0.55, 0.50, 0.37)],
    "water": [(0.13, 0.22, 0.26), (0.10, 0.16, 0.18), (0.20, 0.32, 0.32), (0.24, 0.30, 0.22)],
    "roof": [
        (0.58, 0.30, 0.22),
        (0.48, 0.24, 0.19),
        (0.36, 0.36, 0.38),
        (0.50, 0.50, 0.50),
        (0.72, 0.72, 0.70),
        (0.40, 0.33, 0.28),
        (0.42, 0.46, 0.54),
        (0.85, 0.84, 0.80),
    ],
    "paving": [(0.56, 0.55, 0.53), (0.46, 0.46, 0.46), (0.66, 0.62, 0.55), (0.38, 0.38, 0.39)],
    "crown": [(0.18, 0.28, 0.12), (0.24, 0.34, 0.15), (0.14, 0.22, 0.12), (0.30, 0.36, 0.17)],
    "wood": [(0.52, 0.46, 0.40), (0.66, 0.62, 0.56), (0.40, 0.34, 0.29)],
}


def material(rng: np.random.Generator, name: str, spread: float = 0.035) -> np.ndarray:
    """Return one colour (3,) of a material, with the spread of brightness and hue of the real thing."""
    colour = np.asarray(MATERIALS[name][rng.integers(len(MATERIALS[name]))])
    colour = colour * rng.uniform(0.85, 1.15) + rng.normal(0, spread, 3)
    return np.clip(colour, 0.03, 0.97)


def distinct_material(
    rng: np.random.Generator, names: tuple[str, ...], against: np.ndarray, distance: float = 0.10
) -> np.ndarray:
    """Return a colour of one of the materials that lies at least ``distance`` (RGB) from ``against``.

    After twelve tries the farthest one found is taken: two fields may be hard to tell apart, as in nature.
    """
    best, best_distance = None, -1.0
    for _ in range(12):
        colour = material(rng, names[rng.integers(len(names))])
        found = float(np.linalg.norm(colour - against))
        if found > best_distance:
            best, best_distance = colour, found
        if found >= distance:
            break
    return best


def noise(
    rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float, octaves: int = 3
) -> np.ndarray:
    """Return smooth noise (rows, cols) with mean about 0 and deviation about 1.

    Each octave halves the wavelength and the amplitude; lattice values are interpolated by cubics.
    """
    rows, cols = shape
    total = np.zeros(shape, np.float32)
    power, amplitude, wavelength = 0.0, 1.0, max(wavelength_px, 1.0)
    for _ in range(octaves):
        lattice = rng.standard_normal(
            (int(np.ceil(rows / wavelength)) + 2, int(np.ceil(cols / wavelength)) + 2)
        )
        height, width = lattice.shape
        box = (0.5, 0.5, min(0.5 + cols / wavelength, width), min(0.5 + rows / wavelength, height))
        layer = Image.fromarray(lattice.astype(np.float32)).resize(
            (cols, rows), Image.Resampling.BICUBIC, box=box
        )
        total += amplitude * np.asarray(layer)
        power += amplitude**2
        amplitude *= 0.5
        wavelength = max(wavelength / 2, 1.0)
    return total / np.float32(0.75 * np.sqrt(power))


def surface(
    rng: np.random.Generator,
    shape: tuple[int, int],
    colour: np.ndarray,
    mottle: float = 0.04,
    wavelength_px: float = 24.0,
    grain: float = 0.02,
) -> np.ndarray:
    """Return (rows, cols, 3) of one material: brightness mottling, a weaker drift of hue, fine grain."""
    brightness = 1 + mottle / max(float(np.mean(colour)), 0.2) * noise(rng, shape, wavelength_px)
    drift = noise(rng, shape, 2 * wavelength_px, 1)[..., None] * rng.normal(0, 0.35 * mottle, 3)
    pixels = colour * brightness[..., None] + drift
    if grain:
        pixels += rng.normal(0, grain, shape).astype(np.float32)[..., None]
    return pixels.astype(np.float32)


def rows_pattern(
    shape: tuple[int, int], angle: float, period_px: float, phase: float = 0.0, bend: float = 0.0
) -> np.ndarray:
    """Return crop rows (rows, cols) between -1 and 1: a wave across ``angle`` (radians), bent slightly."""
    row, col = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    along = col * np.cos(angle) + row * np.sin(angle)
    across = row * np.cos(angle) - col * np.sin(angle)
    if bend:
        across = across + bend * np.sin(along / 60.0)
    return np.sin(2 * np.pi * across / period_px + phase)


def rectangle(centre: np.ndarray, length: float, width: float, angle: float) -> np.ndarray:
    """Return the corners (4, 2) of a rectangle whose length runs along ``angle``, in order round it."""
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * width / 2
    return np.asarray(centre) + np.array([along + across, -along + across, -along - across, along - across])


def blob(
    rng: np.random.Generator, centre: np.ndarray, radius: float, roughness: float, stretch: float = 1.0
) -> np.ndarray:
    """Return a closed smooth outline (n, 2): a stretched circle whose radius varies by random harmonics."""
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    log_radius = np.zeros_like(theta)
    for harmonic in range(2, 9):
        phase = rng.uniform(0, 2 * np.pi)
        log_radius += rng.normal() * roughness / harmonic * np.cos(harmonic * theta + phase)
    r = radius * np.exp(log_radius)
    x, y = r * np.cos(theta) * np.sqrt(stretch), r * np.sin(theta) / np.sqrt(stretch)
    turn = rng.uniform(0, np.pi)
    return np.asarray(centre) + np.stack(
        [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], -1
    )


def thick_line(points_xy: np.ndarray, width: float) -> np.ndarray:
    """Return the outline (2 n, 2) of a line of n points drawn ``width`` px wide."""
    points_xy = np.asarray(points_xy, float)
    direction = np.gradient(points_xy, axis=0)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    normal = np.stack([-direction[:, 1], direction[:, 0]], -1) * width / 2
    return np.concatenate([points_xy + normal, (points_xy - normal)[::-1]])


def shrink(polygon_xy: np.ndarray, distance: float) -> np.ndarray:
    """Return a convex polygon with every corner moved inward; its edges move by about ``distance``."""
    centre = polygon_xy.mean(0)
    spokes = polygon_xy - centre
    lengths = np.maximum(np.linalg.norm(spokes, axis=1, keepdims=True), 1e-6)
    return centre + spokes * np.maximum(1 - 1.35 * distance / lengths, 0.05)


def coverage_of(polygon_xy: np.ndarray, size_px: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Return the window (row slice, col slice) and the covered share of its pixels; None when outside."""
    low = np.floor(polygon_xy.min(0)).astype(int)
    high = np.ceil(polygon_xy.max(0)).astype(int) + 1
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, size_px)
    if x0 >= x1 or y0 >= y1:
        return None
    fine = Image.new("L", ((x1 - x0) * SUPERSAMPLING, (y1 - y0) * SUPERSAMPLING))
    # PIL takes the centres of pixels, hence the half; it fills the pixels that the outline touches too,
    # so an area is larger by up to a fine pixel at its edges, in the picture as in the truth.
    corners = (polygon_xy - [x0, y0]) * SUPERSAMPLING - 0.5
    ImageDraw.Draw(fine).polygon([tuple(corner) for corner in corners], fill=255)
    coverage = np.asarray(fine.reduce(SUPERSAMPLING), np.float32) / 255
    return (slice(y0, y1), slice(x0, x1)), coverage


def jpeg(image_hwc: np.ndarray, quality: int) -> np.ndarray:
    """Return the uint8 image after a trip through JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image_hwc).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the scene as a camera in the air delivers it: uint8, rows x columns x 3.

    In the order of the light's way: uneven light, haze, optics, sensor noise, tone and white balance of
    the processing, compression.
    """
    shape = image.shape[:2]
    image = image * (1 + 0.05 * noise(rng, shape, max(shape), 1))[..., None]
    haze = rng.uniform(0, 0.22) if rng.random() < 0.4 else 0.0
    image = image * (1 - haze) + haze * np.array([0.72, 0.76, 0.82], np.float32)
    blur = rng.choice([0.0, rng.uniform(0.4, 0.8), rng.uniform(0.8, 1.5)], p=[0.3, 0.5, 0.2])
    if blur:
        image = ndimage.gaussian_filter(image, (blur, blur, 0))
    image = image + rng.normal(0, rng.uniform(0.003, 0.022), image.shape).astype(np.float32)
    contrast, brightness = rng.uniform(0.75, 1.25), rng.normal(0, 0.05)
    image = (image - 0.45) * contrast + 0.45 + brightness
    image = image * rng.normal(1, 0.04, 3).astype(np.float32)
    grey = image.mean(-1, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.choice([rng.uniform(0.6, 1.2), 0.0], p=[0.95, 0.05]))
    gamma = rng.uniform(0.8, 1.25)
    image_hwc = (np.clip(image, 0, 1) ** gamma * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.4:
        image_hwc = jpeg(image_hwc, int(rng.integers(45, 95)))
    return image_hwc

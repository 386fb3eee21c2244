# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn over the map: in its place, in its style, and gone when it is taken away."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
    QgsSettings,
)
from qgis.gui import QgsMapCanvasItem
from qgis.PyQt.QtCore import QPoint
from qgis.PyQt.QtGui import QColor, QImage, QPainter

from geo_sam2.ui.outline_item import OutlineItem
from geo_sam2.ui.overlay import Overlay, ShownPrompt
from geo_sam2.ui.overlay_style import MARKER_SHAPES, OverlayStyle, halo_of
from geo_sam2.ui.prompt_cursor import PromptKind, prompt_cursor
from geo_sam2.ui.prompt_item import PromptItem
from tests.qgis.canvases import HEIGHT, UTM, WIDTH, canvas_shown, on_map, pixel_of

OTHER = "EPSG:3857"


@pytest.fixture
def canvas(qgis_app):
    with canvas_shown() as canvas:
        yield canvas


@pytest.fixture
def overlay(canvas):
    overlay = Overlay(canvas)
    yield overlay
    overlay.remove()


def utm():
    return QgsCoordinateReferenceSystem(UTM)


def rectangle(left, top, right, bottom):
    corners = QgsPointXY(*on_map(left, top)), QgsPointXY(*on_map(right, bottom))
    return QgsGeometry.fromRect(QgsRectangle(*corners))


def ring_shape():
    """A square from pixel 100 to 300 with a hole from 150 to 250."""
    return rectangle(100, 100, 300, 300).difference(rectangle(150, 150, 250, 250))


def in_crs(geometry, crs):
    moved = QgsGeometry(geometry)
    moved.transform(QgsCoordinateTransform(utm(), QgsCoordinateReferenceSystem(crs), QgsProject.instance()))
    return moved


def drawn(canvas, ratio=1):
    """Return what the scene draws over nothing: (rows, columns, 4) uint8, red green blue alpha.

    Args:
        canvas: Whose scene.
        ratio: Pixels of the screen in a device-independent pixel, in each direction.
    """
    image = QImage(WIDTH * ratio, HEIGHT * ratio, QImage.Format.Format_RGBA8888)
    image.setDevicePixelRatio(ratio)
    image.fill(QColor(0, 0, 0, 0))
    painter = QPainter(image)
    for item in sorted(items(canvas), key=lambda item: item.zValue()):
        if item.isVisible():
            item.paint(painter, None, None)
    painter.end()
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return np.frombuffer(bytes(bits), np.uint8).reshape(HEIGHT * ratio, WIDTH * ratio, 4)


def items(canvas):
    """Return the items of this plugin in the scene."""
    ours = [item for item in canvas.items() + canvas.scene().items() if isinstance(item, QgsMapCanvasItem)]
    return [item for item in dict.fromkeys(ours) if type(item).__module__.startswith("geo_sam2")]


def is_line(colour, pixel):
    wanted = QColor(colour)
    return np.abs(pixel[:3].astype(int) - wanted.getRgb()[:3]).max() < 32 and pixel[3] > 240


def test_object_is_drawn_with_its_hole(canvas, overlay):
    overlay.set_object(ring_shape(), utm())
    image = drawn(canvas)
    assert is_line(OverlayStyle().object, image[200, 100])
    assert is_line(OverlayStyle().object, image[200, 150])
    assert 0 < image[200, 125, 3] < 100  # the area, through which the map is seen
    assert image[200, 200, 3] == 0  # the hole
    assert image[50, 50, 3] == 0


def test_preview_covers_less_than_the_object(canvas, overlay):
    overlay.set_hover(ring_shape(), utm())
    preview = drawn(canvas)
    overlay.set_hover(None)
    overlay.set_object(ring_shape(), utm())
    shown = drawn(canvas)
    red, _, blue, alpha = preview[200, 100].astype(int)
    assert alpha > 240
    assert blue > red + 80  # not lost in its halo
    assert 0 < preview[200, 125, 3] < shown[200, 125, 3]
    assert (preview[..., 3] > 100).sum() < (shown[..., 3] > 100).sum()


def test_line_has_a_halo_on_both_sides(canvas, overlay):
    overlay.set_object(rectangle(100, 100, 300, 300), utm())
    row = drawn(canvas)[200]
    outside, inside = row[97], row[102]
    assert outside[:3].min() > 200
    assert outside[3] > 100
    assert inside[:3].min() > 100


def test_light_lines_have_a_dark_halo():
    assert halo_of(QColor("#ffee88")).lightness() == 0
    assert halo_of(QColor("#d6006e")).lightness() == 255


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_many_vertices_are_drawn_like_few(canvas, overlay, ratio):
    shape = rectangle(100, 100, 300, 300)
    pictures = []
    for vertices in (shape, shape.densifyByCount(1250)):
        overlay.set_object(vertices, utm())
        pictures.append(drawn(canvas, ratio)[200 * ratio].astype(int))
    few, many = pictures
    # As wide in all: in the colour of the line, and with its halo.
    line = QColor(OverlayStyle().object)
    for picture in pictures:
        is_coloured = np.abs(picture[:, :3] - line.getRgb()[:3]).max(axis=1) < 60
        assert (is_coloured & (picture[:, 3] > 200)).sum() == pytest.approx(2 * 2 * ratio, abs=2)
    assert (few[:, 3] > 200).sum() == pytest.approx((many[:, 3] > 200).sum(), abs=4)
    assert many[200 * ratio, 3] == few[200 * ratio, 3]
    assert many[94 * ratio, 3] == 0


@pytest.mark.parametrize("rotation", [0, 33])
@pytest.mark.parametrize("crs", [UTM, OTHER, "EPSG:4326"])
def test_outline_lies_where_qgis_draws_its_vertices(canvas, overlay, crs, rotation):
    canvas.setRotation(rotation)
    shape = ring_shape()
    overlay.set_object(in_crs(shape, crs), QgsCoordinateReferenceSystem(crs))
    bounds = overlay._object_item.shape_on_screen
    for vertex in shape.vertices():
        expected = pixel_of(canvas, QgsPointXY(vertex.x(), vertex.y()))
        nearest = min(
            (bounds.elementAt(index) for index in range(bounds.elementCount())),
            key=lambda element: abs(element.x - expected.x()) + abs(element.y - expected.y()),
        )
        assert nearest.x == pytest.approx(expected.x(), abs=0.6)
        assert nearest.y == pytest.approx(expected.y(), abs=0.6)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda canvas: canvas.zoomByFactor(0.5), id="zoom"),
        pytest.param(lambda canvas: canvas.setRotation(40), id="rotation"),
        pytest.param(
            lambda canvas: canvas.setDestinationCrs(QgsCoordinateReferenceSystem(OTHER)),
            id="CRS of the project",
        ),
        pytest.param(lambda canvas: canvas.setCenter(QgsPointXY(*on_map(150, 150))), id="pan"),
        pytest.param(lambda canvas: canvas.resize(500, 300), id="size"),
    ],
)
def test_everything_follows_the_map(canvas, overlay, change):
    overlay.set_object(ring_shape(), utm())
    overlay.set_hover(ring_shape(), utm())
    point = QgsGeometry.fromPointXY(QgsPointXY(*on_map(120, 120)))
    overlay.set_prompts([ShownPrompt(1, "foreground", point, utm())])
    change(canvas)
    to_canvas = QgsCoordinateTransform(utm(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    corner = pixel_of(canvas, to_canvas.transform(QgsPointXY(*on_map(100, 300))))
    for item in (overlay._object_item, overlay._hover_item):
        path = item.shape_on_screen
        distances = [
            abs(path.elementAt(i).x - corner.x()) + abs(path.elementAt(i).y - corner.y())
            for i in range(path.elementCount())
        ]
        assert min(distances) < 1.5
    marker = pixel_of(canvas, to_canvas.transform(QgsPointXY(*on_map(120, 120))))
    assert overlay.prompt_at(marker) == 1
    assert overlay.prompt_at(marker + QPoint(15, 0)) is None


def test_geometry_without_place_in_the_project_is_not_shown(canvas, overlay):
    degrees = QgsCoordinateReferenceSystem("EPSG:4326")
    overlay.set_object(QgsGeometry.fromRect(QgsRectangle(0, 95, 1, 100)), degrees)
    assert not overlay._object_item.isVisible()
    point = QgsGeometry.fromPointXY(QgsPointXY(0, 95))
    overlay.set_prompts([ShownPrompt(1, "foreground", point, degrees)])
    assert drawn(canvas)[..., 3].max() == 0
    assert overlay.prompt_centre(1) is None


def test_geometry_without_crs_is_drawn_by_its_numbers(canvas, overlay):
    overlay.set_object(ring_shape(), QgsCoordinateReferenceSystem())
    assert is_line(OverlayStyle().object, drawn(canvas)[200, 100])
    overlay.set_object(ring_shape())
    assert is_line(OverlayStyle().object, drawn(canvas)[200, 100])


def test_geometry_of_the_caller_is_left_as_it_is(canvas, overlay):
    shape = in_crs(ring_shape(), OTHER)
    before = shape.asWkt()
    overlay.set_object(shape, QgsCoordinateReferenceSystem(OTHER))
    assert shape.asWkt() == before


@pytest.mark.parametrize("shape", MARKER_SHAPES)
def test_prompts_say_where_they_paint(canvas, overlay, shape):
    """What lies outside is not repainted by QGIS, though a picture of the whole scene shows it."""
    overlay.set_style(OverlayStyle(marker_shape=shape))
    points = [QgsGeometry.fromPointXY(QgsPointXY(*on_map(*place))) for place in ((120, 90), (200, 240))]
    overlay.set_prompts(
        [ShownPrompt(number, "foreground", point, utm()) for number, point in enumerate(points)]
    )
    overlay.set_hot_prompt(1)
    (item,) = [item for item in items(canvas) if isinstance(item, PromptItem)]
    rows, columns = np.nonzero(drawn(canvas)[..., 3])
    bounds = item.boundingRect()
    assert bounds.left() <= columns.min() < columns.max() + 1 <= bounds.right()
    assert bounds.top() <= rows.min() < rows.max() + 1 <= bounds.bottom()


@pytest.mark.parametrize("shape", MARKER_SHAPES)
def test_markers_differ_by_more_than_colour(canvas, overlay, shape):
    overlay.set_style(OverlayStyle(marker_shape=shape, background=OverlayStyle().foreground))
    point = QgsGeometry.fromPointXY(QgsPointXY(*on_map(120, 120)))
    pictures = []
    for kind in ("foreground", "background"):
        overlay.set_prompts([ShownPrompt(1, kind, point, utm())])
        pictures.append(drawn(canvas))
    assert pictures[0][..., 3].max() > 0
    assert (pictures[0] != pictures[1]).any()


def test_prompt_is_hit_within_its_marker_and_a_little_beside(canvas, overlay):
    places = {1: (100, 100), 2: (110, 100), 3: (300, 300)}
    overlay.set_prompts(
        [
            ShownPrompt(number, "foreground", QgsGeometry.fromPointXY(QgsPointXY(*on_map(*place))), utm())
            for number, place in places.items()
        ]
    )
    assert overlay.prompt_at(QPoint(104, 100)) == 1
    assert overlay.prompt_at(QPoint(106, 100)) == 2
    assert overlay.prompt_at(QPoint(310, 300)) == 3
    assert overlay.prompt_at(QPoint(312, 300)) is None
    overlay.set_style(OverlayStyle(marker_size_px=30))
    assert overlay.prompt_at(QPoint(317, 300)) == 3


def test_box_is_hit_on_its_line_and_points_come_first(canvas, overlay):
    point = QgsGeometry.fromPointXY(QgsPointXY(*on_map(200, 104)))
    prompts = [ShownPrompt(2, "foreground", point, utm())]
    prompts.append(ShownPrompt(1, "box", rectangle(100, 100, 300, 300), utm()))
    overlay.set_prompts(prompts)
    assert overlay.prompt_at(QPoint(150, 104)) == 1
    assert overlay.prompt_at(QPoint(200, 100)) == 2
    assert overlay.prompt_at(QPoint(150, 106)) is None
    assert overlay.prompt_centre(1) == QgsPointXY(*on_map(200, 200))


def test_dragged_prompt_is_drawn_elsewhere_until_it_is_dropped(canvas, overlay):
    point = QgsGeometry.fromPointXY(QgsPointXY(*on_map(100, 100)))
    overlay.set_prompts([ShownPrompt(1, "foreground", point, utm())])
    here = drawn(canvas)
    overlay.drag_prompt(1, 50, -25)
    there = drawn(canvas)
    assert there[100, 100, 3] == 0
    assert np.abs(there[135:165, 185:215].astype(int) - here[85:115, 85:115]).max() <= 8  # of 255
    assert overlay.prompt_centre(1) == QgsPointXY(*on_map(100, 100))
    overlay.drop_prompt()
    assert (drawn(canvas) == here).all()


def test_clear_shows_nothing(canvas, overlay):
    overlay.set_object(ring_shape(), utm())
    overlay.set_hover(ring_shape(), utm())
    overlay.set_drawn_box(QgsRectangle(*on_map(10, 20), *on_map(30, 10)))
    overlay.set_prompts([ShownPrompt(1, "box", rectangle(100, 100, 300, 300), utm())])
    overlay.clear()
    assert drawn(canvas)[..., 3].max() == 0
    assert overlay.prompt_at(QPoint(100, 200)) is None


def test_removed_overlay_leaves_no_item_and_follows_no_more(canvas):
    overlay = Overlay(canvas)
    overlay.set_object(ring_shape(), utm())
    assert len(items(canvas)) == 4
    overlay.remove()
    overlay.remove()
    gc.collect()
    assert items(canvas) == []
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem(OTHER))
    canvas.zoomByFactor(0.5)


def test_overlay_outlives_its_canvas(qgis_app):
    with canvas_shown() as canvas:
        overlay = Overlay(canvas)
        overlay.set_object(ring_shape(), utm())
    overlay.remove()


def test_change_repaints_the_item_and_no_map(canvas, overlay):
    rendered = []
    canvas.renderStarting.connect(lambda: rendered.append("map"))
    for shift in range(20):
        overlay.set_hover(rectangle(100 + shift, 100, 300, 300), utm())
    assert rendered == []
    assert not canvas.isDrawing()


def test_item_says_where_it_paints(canvas, overlay):
    overlay.set_object(ring_shape(), utm())
    (item,) = [item for item in items(canvas) if isinstance(item, OutlineItem) and item.isVisible()]
    image = drawn(canvas)
    rows, columns = np.nonzero(image[..., 3])
    bounds = item.boundingRect()
    assert bounds.left() <= columns.min()
    assert bounds.right() >= columns.max() + 1
    assert bounds.top() <= rows.min()
    assert bounds.bottom() >= rows.max() + 1


def test_style_is_kept_and_reset():
    style = OverlayStyle(object="#112233", marker_shape="diamond", marker_size_px=20, width_px=3.5)
    style.write()
    try:
        assert OverlayStyle.read() == style
        QgsSettings().setValue("geo_sam2/overlay/width_px", "3.5")  # as an INI file gives it
        assert OverlayStyle.read() == style
    finally:
        assert OverlayStyle.reset() == OverlayStyle()
    assert OverlayStyle.read() == OverlayStyle()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("object", "no colour"),
        ("marker_shape", "star"),
        ("marker_size_px", "four"),
        ("marker_size_px", 4000),
        ("width_px", "nan"),
        ("width_px", -1),
    ],
)
def test_unusable_setting_is_the_default(name, value):
    QgsSettings().setValue(f"geo_sam2/overlay/{name}", value)
    try:
        assert OverlayStyle.read() == OverlayStyle()
    finally:
        OverlayStyle.reset()


def test_pointer_tells_the_kinds_apart(qgis_app):
    pictures = [prompt_cursor(kind, OverlayStyle()).pixmap().toImage() for kind in PromptKind]
    assert all(one != other for i, one in enumerate(pictures) for other in pictures[i + 1 :])
    assert prompt_cursor(PromptKind.AUTO, OverlayStyle()).hotSpot() == QPoint(15, 15)

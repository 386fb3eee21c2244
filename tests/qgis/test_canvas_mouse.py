# SPDX-License-Identifier: GPL-3.0-or-later
"""The segment tool under a hand: clicks, drags, double-clicks, panning, hovering."""

from __future__ import annotations

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsPointXY, QgsRectangle
from qgis.gui import QgsMapToolPan
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from geo_sam2.ui.overlay import Overlay, ShownPrompt
from geo_sam2.ui.prompt_cursor import PromptKind
from geo_sam2.ui.segment_tool import SegmentTool
from tests.qgis.canvas_hand import LEFT, MIDDLE, RIGHT, SHIFT, Hand
from tests.qgis.canvases import UTM, Told, canvas_shown, on_map

FACTS = (
    "clicked",
    "boxed",
    "double_clicked",
    "accept_requested",
    "clear_requested",
    "prompt_moved",
    "prompt_delete_requested",
)


@pytest.fixture
def canvas(qgis_app):
    with canvas_shown() as canvas:
        yield canvas


@pytest.fixture
def overlay(canvas):
    overlay = Overlay(canvas)
    yield overlay
    overlay.remove()


@pytest.fixture
def tool(canvas, overlay):
    tool = SegmentTool(canvas, overlay)
    canvas.setMapTool(tool)
    yield tool
    canvas.unsetMapTool(tool)


@pytest.fixture
def hand(canvas, tool):
    return Hand(canvas)


@pytest.fixture
def told(tool):
    return Told(tool, *FACTS)


def point_prompt(prompt_id, x_px, y_px, kind="foreground"):
    geometry = QgsGeometry.fromPointXY(QgsPointXY(*on_map(x_px, y_px)))
    return ShownPrompt(prompt_id, kind, geometry, QgsCoordinateReferenceSystem(UTM))


def box_prompt(prompt_id, left, top, right, bottom):
    rectangle = QgsRectangle(QgsPointXY(*on_map(left, top)), QgsPointXY(*on_map(right, bottom)))
    return ShownPrompt(prompt_id, "box", QgsGeometry.fromRect(rectangle), QgsCoordinateReferenceSystem(UTM))


def wait_out_double_click():
    QTest.qWait(QApplication.doubleClickInterval() + 20)


@pytest.mark.parametrize(("button", "label"), [(LEFT, 1), (RIGHT, 0)])
def test_click_tells_place_and_label_at_once(canvas, tool, told, button, label):
    QTest.mouseClick(canvas.viewport(), button, Qt.KeyboardModifier.NoModifier, QPoint(100, 50))
    assert told.take() == [("clicked", on_map(100, 50), label)]


def test_click_of_a_shaking_hand_is_where_it_began(hand, told):
    slip = QApplication.startDragDistance() - 1
    hand.drag((100, 50), (100 + slip, 50))
    assert told.take() == [("clicked", on_map(100, 50), 1)]


def test_drag_draws_a_box_whichever_way_it_goes(hand, told):
    expected = [("boxed", (*on_map(100, 150), *on_map(200, 50)))]
    for start, end in (((100, 50), (200, 150)), ((200, 150), (100, 50)), ((100, 150), (200, 50))):
        hand.drag(start, (150, 100), end)
        assert told.take() == expected


def test_drag_without_moves_between_is_a_box_too(hand, told):
    hand.press(100, 50)
    hand.at = QPoint(200, 150)
    hand.release()
    assert told.take() == [("boxed", (*on_map(100, 150), *on_map(200, 50)))]


def test_drag_that_is_no_box_tells_nothing(hand, told):
    hand.drag((100, 50), (200, 51))
    assert told.take() == []


def test_box_that_leaves_the_canvas_ends_at_its_edge(hand, told):
    hand.drag((500, 300), (650, 350), (900, 700))
    assert told.take() == [("boxed", (*on_map(500, 399), *on_map(599, 300)))]


def test_right_drag_is_thought_better_of(hand, told):
    hand.drag((100, 50), (200, 150), button=RIGHT)
    assert told.take() == []


def test_esc_ends_a_drag_and_no_more(hand, tool, told):
    tool.is_object_open = True
    hand.press(100, 50)
    hand.move(200, 150)
    hand.key(Qt.Key.Key_Escape)
    hand.move(250, 180)
    hand.release()
    assert told.take() == []
    hand.click(100, 50)
    assert told.take() == [("clicked", on_map(100, 50), 1)]


def test_second_button_calls_a_press_off(hand, told):
    for second in (RIGHT, MIDDLE):
        hand.press(100, 50)
        hand.move(160, 90)
        hand.press(160, 90, second)
        hand.move(200, 150)
        hand.release(LEFT)
        hand.move(210, 150)
        hand.release(second)
        assert told.take() == [], second
    hand.click(300, 250)
    assert [entry[0] for entry in told.take()] == ["clicked"]


def test_second_button_that_is_released_first_calls_off_as_well(hand, told):
    hand.press(100, 50)
    hand.press(100, 50, RIGHT)
    hand.release(RIGHT)
    hand.release(LEFT)
    assert told.take() == []


def test_release_that_nobody_told_ends_the_drag(hand, overlay, tool, told):
    hovers = Told(tool, "hovered")
    hand.press(100, 50)
    hand.move(160, 90)
    assert overlay._box_item.isVisible()
    hand.lose_release()
    hand.move(300, 200)
    assert not overlay._box_item.isVisible()
    assert hovers.take() == [("hovered", on_map(300, 200))]
    hand.click(320, 210)
    assert told.take() == [("clicked", on_map(320, 210), 1)]


@pytest.mark.parametrize("slip", [0, 3])
def test_double_click_follows_its_first_click(hand, told, slip):
    hand.double_click(100, 50, slip=slip)
    assert told.take() == [("clicked", on_map(100, 50), 1), ("double_clicked",)]


def test_two_quick_clicks_beside_each_other_are_a_double_click(hand, told):
    # Further apart than Qt allows: it reports two presses.
    hand.click(100, 50)
    hand.click(107, 51)
    assert told.take() == [("clicked", on_map(100, 50), 1), ("double_clicked",)]


def test_two_quick_clicks_elsewhere_are_two_clicks(hand, told):
    hand.click(100, 50)
    hand.click(130, 50)
    assert [entry[0] for entry in told.take()] == ["clicked", "clicked"]


def test_two_slow_clicks_are_two_clicks(hand, told):
    hand.click(100, 50)
    wait_out_double_click()
    hand.click(100, 50)
    assert [entry[0] for entry in told.take()] == ["clicked", "clicked"]


def test_third_press_of_a_nervous_hand_is_no_prompt(hand, told):
    hand.double_click(100, 50)
    hand.click(101, 50)
    assert [entry[0] for entry in told.take()] == ["clicked", "double_clicked"]
    wait_out_double_click()
    hand.click(101, 50)
    assert [entry[0] for entry in told.take()] == ["clicked"]


def test_double_click_with_the_right_button_is_one_click(hand, told):
    hand.double_click(100, 50, RIGHT)
    assert told.take() == [("clicked", on_map(100, 50), 0)]


def test_double_click_on_a_prompt_accepts_and_takes_nothing_back(hand, overlay, told):
    overlay.set_prompts([point_prompt(7, 100, 50)])
    hand.double_click(100, 50)
    assert told.take() == [("accept_requested",)]


def test_double_click_on_the_prompt_that_its_first_click_set_takes_that_back(hand, overlay, tool, told):
    tool.clicked.connect(lambda *_: overlay.set_prompts([point_prompt(7, 100, 50)]))
    hand.double_click(100, 50, slip=2)
    assert [entry[0] for entry in told.take()] == ["clicked", "double_clicked"]


def test_second_drag_from_the_same_corner_is_a_drag(hand, told):
    # Qt calls its press a double-click.
    hand.drag((100, 50), (200, 150))
    hand.press_second(100, 50)
    hand.move(220, 160)
    hand.release()
    assert [entry[0] for entry in told.take()] == ["boxed", "boxed"]


def test_marker_is_dragged_by_as_much_as_the_hand_moves(hand, overlay, told):
    overlay.set_prompts([point_prompt(7, 100, 50), point_prompt(8, 300, 50)])
    hand.drag((104, 52), (150, 80), (204, 92))
    assert told.take() == [("prompt_moved", 7, on_map(200, 90))]


def test_box_is_dragged_by_its_line(hand, overlay, told):
    overlay.set_prompts([box_prompt(3, 100, 100, 200, 200)])
    hand.drag((150, 101), (250, 151))
    assert told.take() == [("prompt_moved", 3, on_map(250, 200))]


def test_click_inside_a_box_is_a_click(hand, overlay, told):
    overlay.set_prompts([box_prompt(3, 100, 100, 200, 200)])
    hand.click(150, 150)
    assert told.take() == [("clicked", on_map(150, 150), 1)]


@pytest.mark.parametrize(
    "hinder",
    [
        pytest.param(lambda hand, overlay: hand.key(Qt.Key.Key_Escape), id="esc"),
        pytest.param(lambda hand, overlay: hand.move(-20, 80), id="off the canvas"),
        pytest.param(lambda hand, overlay: overlay.set_prompts([]), id="prompt gone"),
    ],
)
def test_marker_that_is_not_dropped_on_the_canvas_stays(hand, overlay, told, hinder):
    overlay.set_prompts([point_prompt(7, 100, 50)])
    hand.press(100, 50)
    hand.move(160, 80)
    hinder(hand, overlay)
    hand.release()
    assert told.take() == []
    overlay.set_prompts([point_prompt(7, 100, 50)])
    assert overlay.prompt_at(QPoint(100, 50)) == 7


def test_click_on_a_marker_sets_no_second_prompt(hand, overlay, told):
    overlay.set_prompts([point_prompt(7, 100, 50)])
    hand.click(100, 50)
    assert told.take() == []


def test_right_click_on_a_prompt_takes_it_away(hand, overlay, told):
    overlay.set_prompts([point_prompt(7, 100, 50), box_prompt(3, 200, 100, 300, 200)])
    hand.click(101, 50, RIGHT)
    hand.click(250, 101, RIGHT)
    assert told.take() == [("prompt_delete_requested", 7), ("prompt_delete_requested", 3)]


def test_hover_ends_over_a_prompt_and_off_the_canvas(hand, overlay, tool):
    told = Told(tool, "hovered", "hover_ended")
    overlay.set_prompts([point_prompt(7, 100, 50)])
    hand.move(200, 150)
    hand.move(100, 50)
    hand.move(101, 50)
    hand.move(201, 150)
    hand.leave()
    hand.leave()
    assert told.take() == [
        ("hovered", on_map(200, 150)),
        ("hover_ended",),
        ("hovered", on_map(201, 150)),
        ("hover_ended",),
    ]


def test_hover_ends_when_a_box_is_drawn(hand, tool):
    told = Told(tool, "hovered", "hover_ended", "boxed")
    hand.move(100, 50)
    hand.drag((100, 50), (150, 100), (200, 150))
    assert [entry[0] for entry in told.take()] == ["hovered", "hover_ended", "boxed"]


@pytest.mark.parametrize("kind", [PromptKind.BACKGROUND, PromptKind.BOX])
def test_kinds_whose_click_gives_no_object_do_not_hover(hand, tool, kind):
    told = Told(tool, "hovered")
    tool.prompt_kind = kind
    hand.move(100, 50)
    assert told.take() == []


@pytest.mark.parametrize(("kind", "label"), [(PromptKind.FOREGROUND, 1), (PromptKind.BACKGROUND, 0)])
def test_point_kinds_take_a_slip_for_a_click(hand, tool, told, kind, label):
    tool.prompt_kind = kind
    hand.drag((100, 50), (200, 150))
    hand.click(300, 50, RIGHT)
    assert told.take() == [("clicked", on_map(100, 50), label), ("clicked", on_map(300, 50), 0)]


def test_box_kind_draws_with_two_clicks(hand, tool, told):
    tool.prompt_kind = PromptKind.BOX
    hand.click(100, 50)
    hand.move(150, 80)
    hand.click(200, 150)
    assert told.take() == [("boxed", (*on_map(100, 150), *on_map(200, 50)))]


def test_box_kind_draws_with_a_drag_too(hand, tool, told):
    tool.prompt_kind = PromptKind.BOX
    hand.drag((100, 50), (200, 150))
    assert told.take() == [("boxed", (*on_map(100, 150), *on_map(200, 50)))]


@pytest.mark.parametrize(
    "give_up",
    [
        pytest.param(lambda hand, tool: hand.key(Qt.Key.Key_Escape), id="esc"),
        pytest.param(lambda hand, tool: hand.key(Qt.Key.Key_Tab), id="other kind"),
    ],
)
def test_first_corner_of_a_box_can_be_given_up(hand, tool, told, give_up):
    tool.prompt_kind = PromptKind.BOX
    hand.click(100, 50)
    give_up(hand, tool)
    tool.prompt_kind = PromptKind.AUTO
    hand.click(200, 150)
    assert told.take() == [("clicked", on_map(200, 150), 1)]


def test_double_click_in_box_kind_accepts_and_takes_nothing_back(hand, tool, told):
    tool.prompt_kind = PromptKind.BOX
    hand.double_click(100, 50)
    wait_out_double_click()
    hand.click(300, 250)
    assert told.take() == [("accept_requested",)]


def test_middle_button_pans_and_sets_nothing(canvas, hand, told):
    before = canvas.extent()
    hand.move(300, 200)
    hand.drag((300, 200), (250, 180), (200, 150), button=MIDDLE)
    assert told.take() == []
    assert canvas.extent().xMinimum() - before.xMinimum() == pytest.approx(50, abs=1)


@pytest.mark.parametrize("button", [None, LEFT, RIGHT])
def test_space_pans_and_sets_nothing(canvas, hand, told, tool, button):
    hovers = Told(tool, "hovered")
    before = canvas.extent()
    hand.move(300, 200)
    hand.hold_key(Qt.Key.Key_Space)
    if button is not None:
        hand.press(300, 200, button)
    hand.move(250, 180)
    hand.move(200, 150)
    hand.release_key(Qt.Key.Key_Space)
    if button is not None:
        hand.move(190, 150)
        hand.release(button)
    assert told.take() == []
    assert len(hovers.take()) == 1
    assert canvas.extent().xMinimum() - before.xMinimum() == pytest.approx(50, abs=1)
    hand.click(300, 200)
    assert [entry[0] for entry in told.take()] == ["clicked"]


def test_space_does_not_pan_in_the_middle_of_a_drag(canvas, hand, told):
    before = canvas.extent()
    hand.press(100, 50)
    hand.move(150, 100)
    hand.hold_key(Qt.Key.Key_Space)
    hand.move(200, 150)
    hand.release()
    hand.release_key(Qt.Key.Key_Space)
    assert canvas.extent() == before
    assert [entry[0] for entry in told.take()] == ["boxed"]


def test_shift_and_a_drag_zoom_in(canvas, hand, told):
    hand.drag((100, 50), (150, 80), (200, 100), modifiers=SHIFT)
    assert told.take() == []
    assert canvas.extent().width() < 200


def test_plain_wheel_zooms_and_shift_steps_the_masks(hand, tool):
    told = Told(tool, "mask_step_requested")
    hand.move(300, 200)
    assert not hand.turn_wheel(0, 120)
    assert told.take() == []
    assert hand.turn_wheel(0, 120, SHIFT)
    assert hand.turn_wheel(0, -120, SHIFT)
    assert hand.turn_wheel(240, 0, SHIFT)  # axes swapped by the system
    assert [step for _, step in told.take()] == [1, -1, 1, 1]


def test_touchpad_makes_a_step_of_many_small_turns(hand, tool):
    told = Told(tool, "mask_step_requested")
    for _ in range(9):
        hand.turn_wheel(0, 20, SHIFT)
    assert len(told.take()) == 1
    hand.turn_wheel(0, -60, SHIFT)  # back: what was left of the way up is forgotten
    hand.turn_wheel(0, -60, SHIFT)
    assert [step for _, step in told.take()] == [-1]
    for _ in range(9):
        hand.turn_wheel(0, 60, SHIFT, Qt.ScrollPhase.ScrollMomentum)
    assert told.take() == []


def test_box_on_a_rotated_canvas_is_what_is_seen(canvas, hand, told, tool):
    canvas.setRotation(30)
    start, end = tool.toMapCoordinates(QPoint(200, 100)), tool.toMapCoordinates(QPoint(300, 180))
    hand.drag((200, 100), (250, 150), (300, 180))
    box = QgsRectangle(start, end)
    assert told.take() == [
        (
            "boxed",
            tuple(round(v, 3) for v in (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())),
        )
    ]


def test_deactivated_tool_leaves_no_cursor_no_filter_and_no_drag(canvas, hand, tool, told, overlay):
    hovers = Told(tool, "hover_ended")
    hand.move(50, 50)
    hand.press(100, 50)
    hand.move(200, 150)
    pan = QgsMapToolPan(canvas)
    canvas.setMapTool(pan)
    assert hovers.take() == [("hover_ended",)]
    hand.release()
    assert told.take() == []
    assert not hand.key(Qt.Key.Key_F)
    assert told.take() == []
    assert (
        canvas.viewport().cursor().pixmap().isNull() or canvas.cursor().shape() != Qt.CursorShape.BitmapCursor
    )
    assert not overlay._box_item.isVisible()
    canvas.unsetMapTool(pan)
    assert canvas.cursor().shape() == Qt.CursorShape.ArrowCursor


def test_slot_that_takes_the_tool_away_in_the_middle_of_a_click_is_survived(canvas, hand, tool, told):
    tool.clicked.connect(lambda *_: canvas.unsetMapTool(tool))
    hand.click(100, 50)
    hand.click(200, 50)
    assert told.take() == [("clicked", on_map(100, 50), 1)]


def test_removed_tool_is_no_longer_the_canvas_tool(canvas, overlay):
    tool = SegmentTool(canvas, overlay)
    canvas.setMapTool(tool)
    tool.remove()
    assert canvas.mapTool() is None
    tool.remove()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The segment tool's keys: what they tell, and when they are QGIS's own."""

from __future__ import annotations

import pytest
from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsPointXY
from qgis.gui import QgsMapToolPan
from qgis.PyQt.QtCore import QPoint, Qt
from qgis.PyQt.QtGui import QKeySequence
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QLineEdit, QMainWindow, QShortcut

from geo_sam2.ui.overlay import Overlay, ShownPrompt
from geo_sam2.ui.prompt_cursor import PromptKind
from geo_sam2.ui.reopen_tool import ReopenTool
from geo_sam2.ui.segment_tool import SegmentTool
from tests.qgis.canvas_hand import ALT, CTRL, NO_KEY, RIGHT, SHIFT, Hand
from tests.qgis.canvases import UTM, Told, canvas_shown, on_map

KEYPAD = Qt.KeyboardModifier.KeypadModifier
Key = Qt.Key


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
    names = ("accept", "clear", "undo", "redo", "mask_step", "prompt_delete")
    return Told(tool, "class_key_pressed", "clicked", *(f"{name}_requested" for name in names))


@pytest.mark.parametrize(
    ("key", "modifiers", "expected"),
    [
        (Key.Key_Return, NO_KEY, ("accept_requested",)),
        (Key.Key_Enter, KEYPAD, ("accept_requested",)),
        (Key.Key_Escape, NO_KEY, ("clear_requested",)),
        (Key.Key_Z, CTRL, ("undo_requested",)),
        (Key.Key_Z, CTRL | SHIFT, ("redo_requested",)),
        (Key.Key_Y, CTRL, ("redo_requested",)),
        (Key.Key_M, NO_KEY, ("mask_step_requested", 1)),
        (Key.Key_M, SHIFT, ("mask_step_requested", -1)),
        (Key.Key_1, NO_KEY, ("class_key_pressed", 1)),
        (Key.Key_9, KEYPAD, ("class_key_pressed", 9)),
        (Key.Key_3, SHIFT, ("class_key_pressed", 3)),  # typed so on a French keyboard
    ],
)
def test_key_tells_and_is_kept_from_shortcuts(hand, tool, told, key, modifiers, expected):
    tool.is_object_open = True
    assert hand.key(key, modifiers)
    assert told.take() == [expected]


@pytest.mark.parametrize(
    ("key", "modifiers"),
    [
        (Key.Key_Z, CTRL),
        (Key.Key_Z, CTRL | SHIFT),
        (Key.Key_Y, CTRL),
        (Key.Key_Escape, NO_KEY),
        (Key.Key_Delete, NO_KEY),
        (Key.Key_Backspace, NO_KEY),
    ],
)
def test_without_an_open_object_these_are_qgis_own(hand, tool, told, key, modifiers):
    assert not hand.key(key, modifiers)
    assert told.take() == []


@pytest.mark.parametrize(
    ("key", "modifiers"),
    [
        (Key.Key_0, NO_KEY),
        (Key.Key_1, CTRL),
        (Key.Key_Z, NO_KEY),
        (Key.Key_S, CTRL),
        (Key.Key_M, CTRL),
        (Key.Key_Return, ALT),
        (Key.Key_F5, NO_KEY),
        (Key.Key_Left, NO_KEY),
        (Key.Key_Space, NO_KEY),
    ],
)
def test_other_keys_are_qgis_own(hand, tool, told, key, modifiers):
    tool.is_object_open = True
    assert not hand.key(key, modifiers)
    assert told.take() == []


def test_shortcut_of_the_window_has_ctrl_z_except_while_an_object_is_open(canvas, tool, told):
    window = QMainWindow()
    window.setCentralWidget(canvas)
    undone = []
    shortcut = QShortcut(QKeySequence("Ctrl+Z"), window)
    shortcut.activated.connect(lambda: undone.append("QGIS"))
    field = QLineEdit(window)
    window.show()
    QApplication.setActiveWindow(window)
    canvas.setFocus()
    QTest.qWaitForWindowActive(window)
    try:
        for is_open, expected in ((True, []), (False, ["QGIS"])):
            tool.is_object_open = is_open
            QTest.keyClick(canvas, Key.Key_Z, CTRL)
            assert undone == expected
        assert told.take() == [("undo_requested",)]
        tool.is_object_open = True
        field.setFocus()
        QTest.keyClick(field, Key.Key_Return)
        assert told.take() == []
    finally:
        window.takeCentralWidget()
        window.close()


def test_keys_are_the_tools_only_while_it_is_active(canvas, hand, tool, told):
    tool.is_object_open = True
    pan = QgsMapToolPan(canvas)
    canvas.setMapTool(pan)
    for key, modifiers in ((Key.Key_Z, CTRL), (Key.Key_Return, NO_KEY), (Key.Key_1, NO_KEY)):
        assert not hand.key(key, modifiers)
    assert told.take() == []
    canvas.setMapTool(tool)
    assert hand.key(Key.Key_1)
    assert told.take() == [("class_key_pressed", 1)]
    canvas.unsetMapTool(pan)


def test_activated_tool_has_the_keys_without_a_click(canvas, overlay):
    window = QMainWindow()
    field = QLineEdit(window)
    window.setCentralWidget(canvas)
    window.show()
    QApplication.setActiveWindow(window)
    field.setFocus()
    tool = SegmentTool(canvas, overlay)
    canvas.setMapTool(tool)
    assert window.focusWidget() is canvas
    canvas.unsetMapTool(tool)
    window.takeCentralWidget()
    window.close()


@pytest.mark.parametrize(
    ("key", "modifiers", "repeats"),
    [(Key.Key_Z, CTRL, 3), (Key.Key_M, NO_KEY, 3), (Key.Key_Return, NO_KEY, 1), (Key.Key_F, NO_KEY, 1)],
)
def test_held_key_repeats_only_where_that_is_meant(hand, tool, told, key, modifiers, repeats):
    tool.is_object_open = True
    for is_repeated in (False, True, True):
        hand.hold_key(key, modifiers, is_repeated=is_repeated)
    assert len(told.take()) == repeats


def test_tab_steps_through_the_kinds_and_keeps_the_focus(canvas, hand, tool):
    told = Told(tool, "prompt_kind_changed")
    for _ in range(4):
        hand.key(Key.Key_Tab)
    hand.key(Key.Key_Backtab, SHIFT)
    kinds = [PromptKind.FOREGROUND, PromptKind.BACKGROUND, PromptKind.BOX, PromptKind.AUTO, PromptKind.BOX]
    assert [kind for _, kind in told.take()] == kinds
    assert tool.prompt_kind is PromptKind.BOX


def test_kind_that_is_set_again_tells_nothing(tool):
    told = Told(tool, "prompt_kind_changed")
    tool.prompt_kind = "box"
    tool.prompt_kind = PromptKind.BOX
    assert told.take() == [("prompt_kind_changed", PromptKind.BOX)]


@pytest.mark.parametrize(("key", "label"), [(Key.Key_F, 1), (Key.Key_B, 0)])
def test_keys_set_points_in_the_middle_where_there_is_no_pointer(canvas, hand, told, key, label):
    hand.leave()
    assert hand.key(key)
    middle = canvas.viewport().rect().center()
    assert told.take() == [("clicked", on_map(middle.x(), middle.y()), label)]


@pytest.mark.parametrize("key", [Key.Key_Delete, Key.Key_Backspace])
def test_delete_takes_the_prompt_under_the_pointer_away(hand, overlay, tool, told, key):
    geometry = QgsGeometry.fromPointXY(QgsPointXY(*on_map(100, 50)))
    overlay.set_prompts([ShownPrompt(7, "background", geometry, QgsCoordinateReferenceSystem(UTM))])
    tool.is_object_open = True
    hand.move(300, 200)
    assert hand.key(key)  # else QGIS would delete what is selected in the current layer
    assert told.take() == []
    hand.move(102, 51)
    assert hand.key(key)
    assert told.take() == [("prompt_delete_requested", 7)]


def test_keys_in_the_middle_of_a_drag_do_nothing(hand, tool, told):
    tool.is_object_open = True
    hand.press(100, 50)
    hand.move(200, 150)
    for key, modifiers in ((Key.Key_Return, NO_KEY), (Key.Key_Z, CTRL), (Key.Key_F, NO_KEY)):
        assert hand.key(key, modifiers)
    assert told.take() == []
    hand.key(Key.Key_Escape)
    hand.release()
    assert told.take() == []
    hand.key(Key.Key_Escape)
    assert told.take() == [("clear_requested",)]


def test_reopen_tool_tells_clicks_and_gives_up_on_esc(canvas):
    tool = ReopenTool(canvas)
    told = Told(tool, "picked", "cancelled")
    canvas.setMapTool(tool)
    hand = Hand(canvas)
    hand.click(100, 50)
    hand.drag((100, 50), (200, 150))
    hand.click(100, 50, RIGHT)
    hand.press(100, 50)
    hand.press(100, 50, RIGHT)
    hand.release(RIGHT)
    hand.release()
    assert told.take() == [("picked", on_map(100, 50))]
    hand.key(Key.Key_Escape)
    assert told.take() == [("cancelled",)]
    tool.remove()
    assert canvas.mapTool() is None
    hand.click(100, 50)


def test_reopen_tool_has_the_keyboard_and_picks_with_enter(canvas):
    tool = ReopenTool(canvas)
    told = Told(tool, "picked", "cancelled")
    beside = QLineEdit(canvas.parentWidget())
    beside.show()
    beside.setFocus()
    canvas.setMapTool(tool)
    assert canvas.hasFocus()
    hand = Hand(canvas)
    hand.leave()
    hand.key(Key.Key_Return)
    middle = canvas.viewport().rect().center()
    assert told.take() == [("picked", on_map(middle.x(), middle.y()))]
    tool.remove()


def test_pixel_of_a_drag_is_not_rounded_by_the_view(canvas, tool):
    assert tool.toMapCoordinates(QPoint(10, 20)) == QgsPointXY(*on_map(10, 20))

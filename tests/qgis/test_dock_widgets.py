# SPDX-License-Identifier: GPL-3.0-or-later
"""The widgets of the dock: narrow, named, in order, and drawing what a view says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QListWidget,
    QWidget,
)

from geo_sam2.errors import EngineDiedError, EnvironmentMissingError, GeoSam2Error, OutputError
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui import dock_view as views
from geo_sam2.ui.dock import MIN_WIDTH_PX, GeoSam2Dock
from geo_sam2.ui.notices import Situation, choose_notice, hint_text
from geo_sam2.ui.overlay_style import OverlayStyle
from geo_sam2.ui.style_dialog import StyleDialog
from tests.qgis.docks import own_home

LONG = "/data/a_very_long_folder_name_without_any_blank/2019_orthophoto_of_the_whole_county.tif"


class FakeClasses(QObject):
    def __init__(self):
        super().__init__()
        self.wishes = []

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.wishes.append((name, *arguments))


class FakeController(FakeClasses):
    """Notes the wishes of the dock."""

    changed = pyqtSignal(object)
    has_unsaved_object = False

    def __init__(self):
        super().__init__()
        self.classes = self.hands = self

    def view(self):
        return views.DockView()

    def style(self):
        return OverlayStyle()


@pytest.fixture
def controller(qgis_app):
    with own_home():
        yield FakeController()


@pytest.fixture
def dock(controller):
    dock = GeoSam2Dock(controller)
    dock.setFloating(True)
    dock.show()
    yield dock
    dock.close()
    dock.deleteLater()


def full_view():
    """Return a view in which everything is shown, with texts that are too long."""
    return views.DockView(
        notice=views.Notice(
            f"The engine ended while it worked on {LONG}.",
            "Your prompts are kept.",
            views.Level.ERROR,
            views.Mend.START_ENGINE,
            "Try again",
            "Close",
            "Traceback",
        ),
        imagery=views.ImageryView(
            features=f"12 of 40 tiles · tiny · {LONG}",
            models=(views.ModelOffer("demo", LONG),),
            model_id="demo",
            resolutions=(views.ResolutionOffer(1, LONG), views.ResolutionOffer(2, "6 cm")),
            factor=2,
            pixel_m=0.03,
        ),
        encoding=views.EncodingView(True, True, False, 3, 9, f"3 of 9 tiles, {LONG}"),
        object=views.ObjectView(
            True,
            True,
            False,
            "box",
            True,
            tuple(views.CandidateView(index, mask, 0.9, index == 1) for index, mask in enumerate((1, 0, 2))),
            True,
            True,
            True,
            f"Saved into {LONG}",
        ),
        output=views.OutputView(
            text=LONG,
            problem=f"The layer {LONG} is read-only.",
            can_undo=True,
            can_commit=True,
            can_zoom=True,
            classes=tuple(views.ClassView(f"{LONG} {n}", "#0072b2", n) for n in range(1, 4)),
            class_index=1,
        ),
        hint=f"Left click: add · {LONG}",
    )


def open_all(dock):
    dock.contents.shapePanel.groupBox.setCollapsed(False)
    dock.contents.displayPanel.groupBox.setCollapsed(False)


def focusable(dock):
    """Return what the Tab key reaches, in its order."""
    found, widget = [], dock.contents
    while True:
        widget = widget.nextInFocusChain()
        if widget is dock.contents or widget in found:
            return found
        is_inside = dock.contents.isAncestorOf(widget)
        if is_inside and widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isVisible():
            found.append(widget)


def test_dock_is_usable_280_pixels_wide_whatever_it_shows(dock):
    open_all(dock)
    dock.show_view(full_view())
    dock.resize(MIN_WIDTH_PX, 700)
    QApplication.processEvents()
    assert dock.width() == MIN_WIDTH_PX
    right = dock.contents.scrollArea.viewport().width()
    for widget in dock.contents.scrollContents.findChildren(QWidget):
        if widget.isVisible() and widget.parentWidget() is not None and not widget.isWindow():
            place = widget.mapTo(dock.contents.scrollContents, widget.rect().topRight())
            assert place.x() <= right, (widget.objectName(), place.x(), right)


def test_everything_that_is_reached_by_keys_has_a_name_and_says_what_it_does(dock):
    open_all(dock)
    dock.show_view(full_view())
    reached = [
        widget
        for widget in focusable(dock)
        if isinstance(widget, (QAbstractButton, QComboBox, QListWidget, QAbstractSpinBox))
    ]
    assert len(reached) > 35
    for widget in reached:
        text = widget.text() if isinstance(widget, QAbstractButton) else ""
        assert widget.accessibleName() or text, widget.objectName()
        is_plain = widget.objectName() in ("mendButton", "secondButton")
        assert widget.toolTip() or is_plain, widget.objectName()


def test_tab_goes_from_top_to_bottom(dock):
    open_all(dock)
    dock.show_view(full_view())
    dock.resize(400, 2000)
    QApplication.processEvents()
    places = [
        widget.mapTo(dock.contents, widget.rect().topLeft()).y()
        for widget in focusable(dock)
        if dock.contents.scrollContents.isAncestorOf(widget)
    ]
    start = places.index(min(places))
    ordered = places[start:] + places[:start]
    # Within a row, tops may differ by a few pixels.
    assert all(later >= earlier - 12 for earlier, later in zip(ordered, ordered[1:])), ordered


# Of the main menu, in English: QGIS would open a menu instead.
MENU_LETTERS = "jevlsporwdmch"


def test_letters_of_the_dock_are_its_own(dock):
    open_all(dock)
    dock.show_view(full_view())
    texts = [widget.text() for widget in dock.contents.findChildren(QLabel) if widget.buddy() is not None]
    texts += [widget.text() for widget in dock.contents.findChildren(QAbstractButton)]
    letters = [text[text.index("&") + 1].lower() for text in texts if "&" in text]
    assert len(letters) == len(set(letters)), sorted(letters)
    assert set(letters).isdisjoint(MENU_LETTERS), sorted(letters)
    assert {"i", "t", "g", "n", "a", "u"} <= set(letters)


def test_buttons_for_the_hand_leave_the_keyboard_to_the_map(dock):
    open_all(dock)
    dock.show_view(full_view())
    panels = (dock.contents.objectPanel, dock.contents.outputPanel)
    buttons = [button for panel in panels for button in panel.findChildren(QAbstractButton)]
    assert len(buttons) > 15
    for button in buttons:
        if button.objectName() != "classColourButton":  # opens a dialog
            assert button.focusPolicy() == Qt.FocusPolicy.TabFocus, button.objectName()


def test_accept_stays_where_it_is_while_an_object_grows(dock):
    dock.resize(400, 900)
    full = full_view()
    places = set()
    for shown in (views.ObjectView(), full.object, replace(full.object, candidates=(), status="Score 90 %")):
        dock.show_view(replace(full, object=shown))
        QApplication.processEvents()
        button = dock.contents.objectPanel.acceptButton
        places.add(button.mapTo(dock.contents.objectPanel, button.rect().topLeft()).y())
    assert len(places) == 1


def test_esc_in_the_dock_asks_for_the_map(dock):
    asked = []
    dock.map_wanted.connect(lambda: asked.append(True))
    dock.show_view(full_view())
    for widget in (dock.contents.objectPanel.acceptButton, dock.contents.startPanel.rasterCombo):
        QTest.keyClick(widget, Qt.Key.Key_Escape)
    assert asked == [True, True]
    QTest.keyClick(dock.contents.objectPanel.acceptButton, Qt.Key.Key_F7)
    assert len(asked) == 2


def test_views_are_drawn_without_a_wish(dock, controller):
    for view in (full_view(), views.DockView(), full_view()):
        dock.show_view(view)
    assert controller.wishes == []


def test_widgets_tell_wishes(dock, controller):
    dock.show_view(full_view())
    contents = dock.contents
    contents.objectPanel.acceptButton.click()
    contents.objectPanel.candidateButton0.click()
    contents.objectPanel.backgroundButton.click()
    contents.startPanel.encodeViewButton.click()
    contents.startPanel.pauseButton.click()
    contents.outputPanel.undoSavedButton.click()
    contents.outputPanel.classList.setCurrentRow(2)
    contents.outputPanel.classList.item(0).setText("roof")
    contents.shapePanel.simplifySpin.setValue(2)
    contents.displayPanel.tilesCheck.setChecked(True)
    contents.noticeBar.secondButton.click()
    assert controller.wishes == [
        ("accept",),
        ("choose_candidate", 0),
        ("set_prompt_kind", "background"),
        ("encode_view",),
        ("pause", True),
        ("undo_saved",),
        ("choose", 2),
        ("rename", 0, "roof"),
        ("set_shape", ShapeOptions(simplify_px=2.0)),
        ("set_switches", views.SwitchesView(tiles=True)),
        ("decline",),
    ]


def test_style_dialog_tells_each_change_and_restores_defaults(qgis_app):
    style = OverlayStyle(marker_size_px=20)
    dialog, told = StyleDialog(style), []
    dialog.style_changed.connect(told.append)
    dialog.widthSpin.setValue(4)
    assert told == [replace(style, width_px=4.0)]
    dialog.buttonBox.button(dialog.buttonBox.StandardButton.RestoreDefaults).click()
    assert told[-1] == OverlayStyle()
    assert dialog.sizeSpin.value() == OverlayStyle().marker_size_px
    dialog.deleteLater()


@pytest.mark.parametrize(
    ("situation", "mend"),
    [
        (Situation(), views.Mend.ADD_RASTER),
        (Situation(has_rasters=True), None),
        (Situation(has_rasters=True, has_raster=True, is_looking=True), None),
        (Situation(has_raster=True, has_ground=True), views.Mend.SEGMENT),
        (Situation(has_raster=True, has_ground=True, is_segmenting=True), views.Mend.ENCODE_VIEW),
        (Situation(journal="20 objects."), views.Mend.RESTORE_JOURNAL),
        (Situation(raster_problem=GeoSam2Error("A service.")), views.Mend.ADD_RASTER),
        (Situation(error=EnvironmentMissingError("None.")), views.Mend.COPY_INSTALL_COMMAND),
        (Situation(error=EngineDiedError("Killed.")), views.Mend.START_ENGINE),
        (Situation(error=OutputError("Gone.")), views.Mend.NEW_OUTPUT),
        (Situation(error=GeoSam2Error("Disk."), is_encoding_stopped=True), views.Mend.RESUME),
        (Situation(error=GeoSam2Error("Odd."), journal="20 objects."), views.Mend.DISMISS),
    ],
)
def test_notice_has_the_button_that_mends(qgis_app, situation, mend):
    notice = choose_notice(situation)
    assert (notice.mend if notice else None) is mend
    if mend is not None:
        assert notice.button
        assert notice.text.endswith(".")


def test_all_is_well_and_nothing_is_said(qgis_app):
    assert choose_notice(Situation(has_raster=True, has_ground=True, is_segmenting=True, done=3)) is None


@pytest.mark.parametrize("kind", ["auto", "foreground", "background", "box"])
def test_hint_says_keys_only_while_they_work(qgis_app, kind):
    assert hint_text(is_segmenting=False, is_reopening=False, is_open=False, kind=kind) == ""
    assert "Tab" in hint_text(is_segmenting=True, is_reopening=False, is_open=False, kind=kind)
    assert "Enter" in hint_text(is_segmenting=True, is_reopening=False, is_open=True, kind=kind)


def test_package_has_every_form_that_is_loaded():
    folder = Path(views.__file__).parent
    for path in folder.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("_Form = form("):
                assert (folder / f"{line.split(chr(34))[1]}.ui").is_file()

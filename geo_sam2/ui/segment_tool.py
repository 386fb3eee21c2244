# SPDX-License-Identifier: GPL-3.0-or-later
"""The map tool of segmentation: what the hand does on the canvas, as signals.

Owns what makes a click, a drag, a double-click or a key. What becomes of it is the controller's;
prompts, masks and layers are not known here. Panning and zooming stay QGIS's own. Main thread.
"""

from __future__ import annotations

from qgis.core import QgsPointXY, QgsRectangle
from qgis.gui import QgsMapCanvas, QgsMapMouseEvent, QgsMapTool
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QEvent, QObject, QPoint, Qt, pyqtSignal
from qgis.PyQt.QtGui import QCursor, QMouseEvent, QWheelEvent

from geo_sam2.engine.prompt_labels import BACKGROUND, FOREGROUND
from geo_sam2.ui.box_drawing import BoxDrawing
from geo_sam2.ui.canvas_placement import pointer_or_middle
from geo_sam2.ui.overlay import Overlay
from geo_sam2.ui.presses import Press, RecentPress
from geo_sam2.ui.prompt_cursor import PromptKind, prompt_cursor
from geo_sam2.ui.prompt_grip import PromptGrip
from geo_sam2.ui.segment_keys import SegmentKeys
from geo_sam2.ui.wheel_steps import WheelSteps

_LEFT, _RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
_NO_BUTTON = Qt.MouseButton.NoButton
_KINDS = tuple(PromptKind)


class SegmentTool(QgsMapTool):
    """Turns mouse and keys into facts and wishes; points are in the CRS of the canvas.

    Left adds a point on the object, right one beside it, a drag draws a box, a double-click or
    Enter accepts. A prompt is dragged with the left button, and taken away with the right one or with
    Delete while the pointer is on it. A click is told at once; when a second one makes it a
    double-click, ``double_clicked`` follows and the first one was no prompt.

    Args:
        canvas: The map.
        overlay: What shows the prompts; it also knows which of them a pixel hits.
    """

    clicked = pyqtSignal(QgsPointXY, int)  # label: FOREGROUND or BACKGROUND
    boxed = pyqtSignal(QgsRectangle)
    hovered = pyqtSignal(QgsPointXY)
    hover_ended = pyqtSignal()
    double_clicked = pyqtSignal()
    accept_requested = pyqtSignal()
    clear_requested = pyqtSignal()
    undo_requested = pyqtSignal()
    redo_requested = pyqtSignal()
    mask_step_requested = pyqtSignal(int)  # +1: the next larger mask
    class_key_pressed = pyqtSignal(int)  # 1–9
    prompt_moved = pyqtSignal(int, QgsPointXY)  # of a box: where its middle is now
    prompt_delete_requested = pyqtSignal(int)
    prompt_kind_changed = pyqtSignal(object)  # PromptKind

    def __init__(self, canvas: QgsMapCanvas, overlay: Overlay) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._overlay = overlay
        self._kind = PromptKind.AUTO
        self._is_object_open = False
        self._press: Press | None = None
        self._boxes = BoxDrawing(canvas, overlay)
        self._grip = PromptGrip(canvas, overlay)
        self._is_waiting_for_release = False
        self._is_hovering = False
        self._last_click = RecentPress()
        self._last_double_click = RecentPress()
        self._wheel = WheelSteps()
        self._keys = SegmentKeys(self)

    # What the controller sets.

    @property
    def is_object_open(self) -> bool:
        """Whether Ctrl+Z, Ctrl+Shift+Z, Ctrl+Y, Esc and Delete are the tool's; else they are QGIS's own.

        The controller says so while there is something to take back or to clear.
        """
        return self._is_object_open

    @is_object_open.setter
    def is_object_open(self, is_open: bool) -> None:
        self._is_object_open = is_open

    @property
    def prompt_kind(self) -> PromptKind:
        """What the left button does."""
        return self._kind

    @prompt_kind.setter
    def prompt_kind(self, kind: PromptKind) -> None:
        kind = PromptKind(kind)
        if kind is self._kind:
            return
        self.call_off()
        self._kind = kind
        self._end_hover()
        self.update_cursor()
        self.prompt_kind_changed.emit(kind)

    def update_cursor(self) -> None:
        """Show the pointer of the kind of prompt, in the colours of the overlay's style."""
        if self._press is not None and self._press.prompt_id is not None:
            self.setCursor(QCursor(Qt.CursorShape.ClosedHandCursor))
        elif self._grip.is_hot:
            self.setCursor(QCursor(Qt.CursorShape.OpenHandCursor))
        else:
            self.setCursor(prompt_cursor(self._kind, self._overlay.style))

    # What QGIS calls.

    def flags(self) -> QgsMapTool.Flag:
        """Let Shift and a drag zoom in, as with QGIS's own tools."""
        return QgsMapTool.Flag.AllowZoomRect

    def activate(self) -> None:
        """Take the canvas: keys work at once, without a click on it first."""
        super().activate()
        self._canvas.installEventFilter(self)
        self._canvas.viewport().installEventFilter(self)
        self.update_cursor()
        self._canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    def deactivate(self) -> None:
        """Give the canvas back; what is shown of the object stays."""
        self._canvas.removeEventFilter(self)
        self._canvas.viewport().removeEventFilter(self)
        self.call_off()
        self._end_hover()
        self._is_waiting_for_release = False
        self._keys.let_go()
        super().deactivate()

    def remove(self) -> None:
        """Take the tool off the canvas, for good."""
        if not sip.isdeleted(self):
            if not sip.isdeleted(self._canvas):
                self._canvas.unsetMapTool(self)
            self.deleteLater()

    def canvasPressEvent(self, event: QgsMapMouseEvent) -> None:
        """Begin a click or a drag."""
        button, at = event.button(), event.pos()
        if event.buttons() & ~button != _NO_BUTTON:
            # A second button beside one that is down: whatever was meant is off.
            self.call_off()
            self._is_waiting_for_release = True
        elif button not in (_LEFT, _RIGHT):
            self._is_waiting_for_release = True
        elif button == _LEFT and self._last_double_click.is_repeated_at(at):
            self._is_waiting_for_release = True  # the third press of a nervous hand
        elif button == _LEFT and self._last_click.is_repeated_at(at):
            # Also where Qt sees two clicks, since the hand has moved a little.
            self._double_click(at)
        else:
            self._is_waiting_for_release = False
            self._press = Press(button, at, self._overlay.prompt_at(at))
            self.update_cursor()

    def canvasDoubleClickEvent(self, event: QgsMapMouseEvent) -> None:
        """Accept; the second press of the right button is none."""
        at = event.pos()
        if event.buttons() & ~event.button() != _NO_BUTTON:
            self.canvasPressEvent(event)
        elif event.button() != _LEFT:
            self._is_waiting_for_release = True
        elif self._last_click.is_repeated_at(at) or self._overlay.prompt_at(at) is not None:
            self._double_click(at)
        else:
            # The press before was a drag that began here.
            self.canvasPressEvent(event)

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        """Go on with a drag, or look at what is under the pointer."""
        at, buttons = event.pos(), event.buttons()
        if self._press is not None and not buttons & self._press.button:
            self.call_off()  # released where nobody told us
        if buttons == _NO_BUTTON:
            self._is_waiting_for_release = False
        if self._is_waiting_for_release or self._keys.is_space_down:
            return
        if self._press is not None:
            self._drag(self._press, at)
        elif self._boxes.corner is not None:
            self._boxes.show(self._boxes.corner, at)
        else:
            self._hover(at)

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        """End a click or a drag, and say what it was."""
        press = self._press
        if self._is_waiting_for_release:
            self._is_waiting_for_release = event.buttons() != _NO_BUTTON
        elif press is not None and event.button() == press.button:
            if not press.is_drag:
                self._drag(press, event.pos())  # moves may be missing on a slow connection
            self._finish(press, event.pos())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Step through the masks with Shift; otherwise QGIS zooms."""
        if event.modifiers() != Qt.KeyboardModifier.ShiftModifier:
            event.ignore()
            return
        event.accept()
        steps = self._wheel.add(event)
        for _ in range(abs(steps)):
            self.mask_step_requested.emit(1 if steps > 0 else -1)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """See what the canvas gives to no tool: keys that are shortcuts, Tab, leaving, the middle button."""
        kind = event.type()
        if watched is not self._canvas:
            if kind == QEvent.Type.Leave:
                self._end_hover()
            elif kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick):
                return self._is_kept_from_canvas(event)
        elif kind in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress):
            return self._keys.take(event)
        elif kind == QEvent.Type.KeyRelease:
            self._keys.release(event)
        elif kind == QEvent.Type.FocusOut:
            self._keys.let_go()
        return False

    # The mouse.

    def _is_kept_from_canvas(self, press: QMouseEvent) -> bool:
        """Look at a press before the canvas does."""
        if press.button() not in (_LEFT, _RIGHT):
            self.call_off()  # QGIS pans with the middle button and goes back with others
            return False
        # A press would end QGIS's panning with Space, which many hands do with a button down.
        self._is_waiting_for_release |= self._keys.is_space_down
        return self._keys.is_space_down

    def _drag(self, press: Press, at: QPoint) -> None:
        """Follow the hand; below the threshold it is still a click."""
        if not press.follow(at) or press.button != _LEFT:
            return
        if press.prompt_id is not None:
            self._grip.drag(press.prompt_id, press.at, at)
        elif self._kind in (PromptKind.AUTO, PromptKind.BOX):
            self._end_hover()
            self._boxes.show(press.at, at)

    def _finish(self, press: Press, at: QPoint) -> None:
        # Before any signal: what it sets off may change the tool.
        self._press = None
        self._boxes.hide()
        self.update_cursor()
        is_inside = self._canvas.viewport().rect().contains(at)
        if press.prompt_id is not None:
            self._finish_on_prompt(press, press.prompt_id, at if is_inside else None)
        elif not press.is_drag:
            self._click(press)
        elif press.button != _LEFT:
            pass  # thought better of it
        elif self._kind in (PromptKind.AUTO, PromptKind.BOX):
            self._tell_box(press.at, at)
        elif is_inside:
            self._click(press)  # no drag can have been meant

    def _finish_on_prompt(self, press: Press, prompt_id: int, at: QPoint | None) -> None:
        """Move a prompt, or take it away; a drag off the canvas (``at`` is None) changes nothing."""
        place = self._grip.drop(prompt_id, press.at, press.at if at is None else at)
        if place is None:
            return  # taken away meanwhile
        if press.button == _RIGHT and not press.is_drag:
            self._let_go_of_prompt()
            self.prompt_delete_requested.emit(prompt_id)
        elif press.button == _LEFT and press.is_drag and at is not None:
            self.prompt_moved.emit(prompt_id, place)

    def _click(self, press: Press) -> None:
        is_left = press.button == _LEFT
        if is_left:
            self._last_click.note(press.at)
        else:
            self._last_click.forget()
        if is_left and self._kind is PromptKind.BOX:
            if self._boxes.corner is None:
                self._boxes.corner = press.at
            else:
                self._last_click.forget()
                self._tell_box(self._boxes.corner, press.at)
            return
        is_background = not is_left or self._kind is PromptKind.BACKGROUND
        self.clicked.emit(self.toMapCoordinates(press.at), BACKGROUND if is_background else FOREGROUND)

    def _double_click(self, at: QPoint) -> None:
        was_click = self._last_click.is_repeated_at(at) and self._kind is not PromptKind.BOX
        self.call_off()
        self._is_waiting_for_release = True
        self._last_click.forget()
        self._last_double_click.note(at)
        if was_click:
            self.double_clicked.emit()
        else:  # no prompt came of the first press: none is to be taken back
            self.accept_requested.emit()

    def _tell_box(self, corner: QPoint, opposite: QPoint) -> None:
        box = self._boxes.finish(corner, opposite)
        if box is not None:
            self.boxed.emit(box)

    def _hover(self, at: QPoint) -> None:
        if not self._canvas.viewport().rect().contains(at):
            self._end_hover()
            return
        if self._grip.point_at(at):
            self.update_cursor()
        if not self._grip.is_hot and self._kind in (PromptKind.AUTO, PromptKind.FOREGROUND):
            self._is_hovering = True
            self.hovered.emit(self.toMapCoordinates(at))
        else:
            self._end_hover(is_over_canvas=True)

    def _end_hover(self, *, is_over_canvas: bool = False) -> None:
        if not is_over_canvas:
            self._let_go_of_prompt()
        if self._is_hovering:
            self._is_hovering = False
            self.hover_ended.emit()

    def _let_go_of_prompt(self) -> None:
        if self._grip.let_go():
            self.update_cursor()

    # What the keys ask for.

    @property
    def is_pressed(self) -> bool:
        """Whether a button is down that may become a click or a drag."""
        return self._press is not None

    @property
    def has_begun(self) -> bool:
        """Whether Esc has something to call off before the object: a press, or a box's first corner."""
        return self._press is not None or self._boxes.corner is not None

    def call_off(self) -> bool:
        """Forget what a button or the first corner of a box began; says whether there was anything."""
        had_begun = self.has_begun
        self._is_waiting_for_release |= self.is_pressed
        self._press = None
        if had_begun:
            self._boxes.call_off()
            self._grip.call_off()
            self.update_cursor()
        return had_begun

    def step_kind(self, steps: int) -> None:
        """Go on to another kind of prompt, or back."""
        self.prompt_kind = _KINDS[(_KINDS.index(self._kind) + steps) % len(_KINDS)]

    @property
    def hot_prompt(self) -> int | None:
        """The prompt under the pointer."""
        return self._grip.prompt

    def delete_hot_prompt(self) -> None:
        """Ask for the prompt under the pointer to be taken away, if there is one."""
        prompt_id = self.hot_prompt
        self._let_go_of_prompt()
        if prompt_id is not None:
            self.prompt_delete_requested.emit(prompt_id)

    def click_without_button(self, label: int) -> None:
        """Set a point under the pointer; where there is none, in the middle of the canvas."""
        self.clicked.emit(self.toMapCoordinates(pointer_or_middle(self._canvas)), label)

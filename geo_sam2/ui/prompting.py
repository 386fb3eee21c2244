# SPDX-License-Identifier: GPL-3.0-or-later
"""The object being made: from prompts in pixels to the outline on the screen.

Joins the session (which prompts, which answer counts) with the decoder and the overlay. What is
on the screen is kept here exactly as it would be saved. Ignorant of map tools, of how tiles are
encoded and of where objects are saved, except that the output says how a shape lies in it.
"""

from __future__ import annotations

from collections.abc import Callable

from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import CancelledError, DamagedTileError, GeoSam2Error, PromptError
from geo_sam2.feature_store import TileRecord, TileState
from geo_sam2.grid import PixelGrid
from geo_sam2.segmentation.interactive_decoder import TileDamagedError
from geo_sam2.segmentation.object_result import ObjectResult
from geo_sam2.segmentation.object_state import ObjectState
from geo_sam2.segmentation.object_steps import TilePlan, tile_steps
from geo_sam2.segmentation.session import Session, SessionRequest
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.decode_bridge import DecodeBridge, Decoded
from geo_sam2.ui.open_store import Ground
from geo_sam2.ui.overlay import Overlay
from geo_sam2.ui.shown_object import Place, ShownObject, ShownObjects
from geo_sam2.ui.shown_prompt import shown_prompt


class Prompting(QObject):
    """Prompts of one object after the other; main thread.

    Args:
        overlay: Shows prompts and outline.
        place: Says how a shape lies in the output.

    Attributes:
        session: Prompts and history.
        shape: Options of the outline.
        plan: How the prompts lie on tiles; None while nothing is open.
        shown: What is on the screen; None for nothing.
    """

    changed = pyqtSignal()
    tiles_wanted = pyqtSignal(object)  # tuple of windows, of prompts that wait for them
    tile_damaged = pyqtSignal(object)  # TileRecord
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(self, overlay: Overlay, place: Place, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._overlay = overlay
        self._shown_objects = ShownObjects(place)
        self._ground: Ground | None = None
        self._grid: PixelGrid | None = None  # on which the prompts lie
        self._bridge: DecodeBridge | None = None
        self.session = Session()
        self.shape = ShapeOptions()
        self.plan: TilePlan | None = None
        self.shown: ShownObject | None = None
        self.has_failed = False

    def set_ground(self, ground: Ground | None, bridge: DecodeBridge | None) -> None:
        """Work on another ground, or on none; prompts stay as long as the grid is the same.

        Args:
            ground: Where prompts lie; None keeps them, out of sight, until their grid comes back.
            bridge: Decodes on the ground's store; None where there is no store yet.
        """
        self._ground, self._bridge = ground, bridge
        if ground is None:
            self._show_prompts()
            self.again()
            return
        if self.is_elsewhere(ground):
            self.session.finish()
        self._grid = ground.grid
        self.again()

    # Prompts; the arguments are those of Session

    def add_click(self, x_px: float, y_px: float, label: int) -> None:
        """Add a point."""
        self._change(lambda: self.session.add_click(x_px, y_px, label))

    def add_box(self, bounds_px: tuple[float, float, float, float]) -> None:
        """Add a box."""
        self._change(lambda: self.session.add_box(*bounds_px))

    def move(self, prompt_id: int, x_px: float, y_px: float) -> None:
        """Move a prompt."""
        self._change(lambda: self.session.move(prompt_id, x_px, y_px))

    def remove(self, prompt_id: int) -> None:
        """Take a prompt away."""
        self._change(lambda: self.session.remove(prompt_id))

    def choose_candidate(self, index: int) -> None:
        """Choose one of the candidates of the result."""
        result = self.session.result
        if result is not None and index < len(result.candidates):
            self._change(lambda: self.session.choose_mask(result.candidates[index].mask))

    def step_mask(self, by: int) -> None:
        """Go on from part to object to whole, or back."""
        self._change(lambda: self.session.step_mask(by))

    def undo(self) -> None:
        """Take the last change back."""
        self._change(self.session.undo)

    def redo(self) -> None:
        """Bring back what was taken back."""
        self._change(self.session.redo)

    def clear(self) -> None:
        """Drop the object; undo brings it back."""
        self._change(self.session.clear)

    def finish(self) -> None:
        """Forget the object: it was saved, or is not wanted."""
        self._change(self.session.finish)

    def restore(self, state: ObjectState) -> None:
        """Open a saved object again."""
        self._change(lambda: self.session.restore(state))

    def set_shape(self, shape: ShapeOptions) -> None:
        """Make the outline in another way; masks are not decoded again."""
        if shape == self.shape:
            return
        self.shape = shape
        if self.session.state.has_foreground:
            # Newest wins: a slider asks faster than outlines are traced.
            self._ask(self.session.ask_again(), is_reshaping=True)
        self.changed.emit()

    def again(self) -> None:
        """Ask for the object anew: a tile has come, the engine is back, the store is another one."""
        self._change(self.session.ask_again)

    def place_again(self) -> None:
        """Lay the same outline into another output."""
        if self.session.result is not None:
            self._show_result(self.session.result)

    def note(self, record: TileRecord) -> None:
        """Take note that a tile was settled; prompts that waited for it are answered if it is there now."""
        if record.state is TileState.DONE and self.plan is not None and record.window in self.plan.missing:
            self.again()

    @property
    def grid(self) -> PixelGrid | None:
        """The grid on which the prompts lie; None before there was one."""
        return self._grid

    def is_elsewhere(self, ground: Ground) -> bool:
        """Whether prompts that are open do not lie on a ground."""
        return self._grid is not None and ground.grid.difference_to(self._grid) is not None

    def show(self) -> None:
        """Show prompts and outline again, after somebody else has cleared the overlay."""
        self._show_prompts()
        self._show_outline(self.shown)

    @property
    def can_accept(self) -> bool:
        """Whether what is on the screen is the outline of all prompts."""
        return self.shown is not None and self.shown.state == self.session.state

    @property
    def is_waiting_for_tiles(self) -> bool:
        """Whether prompts lie in tiles that are not encoded yet."""
        return self.plan is not None and bool(self.plan.missing)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is awaited."""
        return self.session.awaited is not None and not self.has_failed

    # Asking and showing

    def _change(self, change: Callable[[], SessionRequest | None]) -> None:
        try:
            request = change()
        except PromptError as error:
            self.failed.emit(error)
            return
        self._show_prompts()
        self._ask(request)
        self.changed.emit()

    def _ask(self, request: SessionRequest | None, is_reshaping: bool = False) -> None:
        """Send a request; without one show what is known of the state."""
        state = self.session.state
        self.has_failed = False
        try:
            self.plan = tile_steps(state, self._ground.tiles) if state.prompts and self._ground else None
        except PromptError as error:
            self.plan = None
            self._drop(request)
            self._show_outline(None)
            self.failed.emit(error)
            return
        if self.plan is not None and self.plan.missing:
            self.tiles_wanted.emit(self.plan.missing)
        if self.plan is None or not self.plan.tiles or self._bridge is None:
            self._drop(request)
            self._show_outline(None)
        elif request is not None:
            self._send(request, self.plan, is_reshaping)
        elif self.session.result is not None:
            self._show_result(self.session.result)

    def _drop(self, request: SessionRequest | None) -> None:
        """Note that a request cannot be sent now; ``again`` asks anew."""
        if request is not None:
            self.session.request_failed(request.number)

    def _send(self, request: SessionRequest, plan: TilePlan, is_reshaping: bool) -> None:
        shape = self.shape

        def answered(decoded: Decoded) -> None:
            if self.session.accept_answer(request.number, decoded.result):
                self._show(request.state, shape, decoded)
                self.changed.emit()

        def failed(error: GeoSam2Error) -> None:
            if self.session.request_failed(request.number):
                self._fail(error)

        send = self._bridge.reshape if is_reshaping else self._bridge.decode
        send(plan, shape, answered, failed)

    def _fail(self, error: GeoSam2Error) -> None:
        if isinstance(error, CancelledError):
            return  # the store was closed, or the engine stopped on purpose
        self.has_failed = True
        if isinstance(error, TileDamagedError):
            self.tile_damaged.emit(error.record)  # it is encoded again, and then asked again
        if not isinstance(error, DamagedTileError):
            self._show_outline(None)
        self.failed.emit(error)
        self.changed.emit()

    def _show_result(self, result: ObjectResult) -> None:
        """Show a result that is known; placing it may take longer than a frame."""
        state, shape = self.session.state, self.shape

        def placed(decoded: Decoded) -> None:
            if self.session.result is decoded.result and self.session.state == state:
                self._show(state, shape, decoded)
                self.changed.emit()

        if self._bridge is not None:
            self._bridge.place(result, shape, placed, self._fail)

    def _show(self, state: ObjectState, shape: ShapeOptions, decoded: Decoded) -> None:
        self._show_outline(self.placed(state, shape, decoded))

    def placed(self, state: ObjectState, shape: ShapeOptions, decoded: Decoded) -> ShownObject | None:
        """Return what a decoded object looks like in the output; None if nothing is left of it."""
        try:
            return self._shown_objects.placed(state, shape, decoded, self._ground.crs)
        except GeoSam2Error as error:
            self.failed.emit(error)
            return self._shown_objects.unplaced(state, shape, decoded, self._ground.crs)

    def take_back_press(self) -> ShownObject | None:
        """Take back the first press of a double-click; return what was on the screen before it."""
        before = self.session.take_back_press()
        self._show_prompts()
        return None if before.result is None else self._shown_objects.of(before.result)

    def _show_outline(self, shown: ShownObject | None) -> None:
        self.shown = shown
        if shown is None:
            self._overlay.set_object(None)
        else:
            self._overlay.set_object(shown.geometry, shown.crs)

    def _show_prompts(self) -> None:
        prompts = self.session.state.prompts if self._ground is not None else ()
        self._overlay.set_prompts([shown_prompt(prompt, self._ground) for prompt in prompts])
        if not prompts:
            self._show_outline(None)

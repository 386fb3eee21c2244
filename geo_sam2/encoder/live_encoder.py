# SPDX-License-Identifier: GPL-3.0-or-later
"""Encodes the windows that somebody looks at, while they look: those that were clicked first.

Owns the thread, what is wanted, and when nothing is to be done: while paused, after a failure, at
the end. It takes the store's turn while windows are wanted and gives it back when there are none,
so that a run of Processing can have it. Ignorant of QGIS, and of who wants windows and why.
"""

from __future__ import annotations

import statistics
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sized
from dataclasses import replace

from geo_sam2.encoder.encode_request import EncodeRequest
from geo_sam2.encoder.live_listener import LiveListener, Teller
from geo_sam2.encoder.live_run import LiveKnowledge, LiveRun
from geo_sam2.encoder.waiting import in_background
from geo_sam2.encoder.window_queue import View, WindowQueue
from geo_sam2.error_frames import let_go
from geo_sam2.errors import CancelledError, EncodeRequestError, EngineDiedError, EngineError, GeoSam2Error
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.tile_window import TileWindow

# Model, device as it was asked for, seconds a tile took.
NotePace = Callable[[str, str, float], None]

# What the caller's thread may be kept with; more windows are taken in on a thread of their own.
_AT_ONCE = 500
_PACE_TILES = 32


def _note_nothing(_model_id: str, _device: str, _seconds: float) -> None:
    pass


class LiveEncoder:
    """Encodes what is wanted of one raster into one store, on a thread of its own. Thread-safe.

    Nothing is opened, loaded or made before something is wanted. Ahead of a window that becomes
    wanted urgently is at most the tile that the engine works on and, where that ends before the
    urgent window is read, one that has been read already.

    Args:
        request: What to encode with what into which store. Windows are sent one by one, whatever
            the ``batch_size``.
        engine: Returns the client each time that work begins; called on the encoder's thread.
        listener: Who is told.
        note_pace: Told on the encoder's thread what a tile takes, with the model and the device
            that was asked for; such as ``settings.remember_tile_seconds``.

    Raises:
        EncodeRequestError: The request wants the store made anew, which is not done by the way.
    """

    def __init__(
        self,
        request: EncodeRequest,
        engine: Callable[[], EngineClient],
        listener: LiveListener,
        *,
        note_pace: NotePace = _note_nothing,
    ) -> None:
        if request.overwrite:
            raise EncodeRequestError(
                "A store is not made anew while somebody works with it.",
                "Use the algorithm “Encode raster” with OVERWRITE.",
            )
        self._request = replace(request, batch_size=1)
        self._engine = engine
        self._listener = Teller(listener)
        self._note_pace = note_pace
        self._queue = WindowQueue(is_live=True)
        self._knowledge = LiveKnowledge()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_to_open = self._is_to_restart = False
        self._is_paused = self._is_closed = False
        self._error: GeoSam2Error | None = None

    # What is wanted

    def want(self, windows: Iterable[TileWindow], *, is_urgent: bool = False) -> None:
        """Want windows of the store's grid encoded; what is there already is settled without work.

        Windows that failed before are tried again. Returns soon: a large or unsized collection, such
        as a whole ``Tiling``, is walked on another thread.

        Args:
            windows: Of level 0.
            is_urgent: Somebody waits for them: they go before all others, in the order given.
        """
        if isinstance(windows, Sized) and len(windows) <= _AT_ONCE:
            self._take_in(windows, is_urgent)
        else:
            in_background(lambda: self._take_in(windows, is_urgent), "window taker")

    def prepare(self) -> None:
        """Open or make the store and load the model, before any window is wanted."""
        with self._changed:
            self._is_to_open = True
            self._wake()

    def look_at(self, x_px: float, y_px: float, view_px: View | None = None) -> None:
        """Say where the pointer is: what is near to it goes first; cheap enough for each mouse move.

        Windows go by their distance from the pointer in whole windows, among those as far by
        whether they are in the view, then by their exact distance. Until this is called for the
        first time they go in the order in which they came.

        Args:
            x_px: Grid pixels from the left.
            y_px: Grid pixels from the top.
            view_px: (x_min, y_min, x_max, y_max) of what is seen, grid pixels; None where unknown.
        """
        self._queue.look_at(x_px, y_px, view_px)

    def forget_waiting(self) -> list[TileWindow]:
        """Want those windows no longer that are not under way; returns them."""
        return self._queue.forget_waiting()

    # When

    def pause(self) -> None:
        """Encode nothing until ``resume``; the tile under way is given up within a fraction of a second."""
        with self._changed:
            self._is_paused = True

    def resume(self) -> None:
        """Go on, also after a failure: an engine that died is started again, however often it did."""
        with self._changed:
            self._is_to_restart = isinstance(self._error, EngineDiedError)
            self._is_paused = False
            self._error = None
            self._wake()

    def close(self, timeout_s: float = 5.0) -> bool:
        """End: cancel what is under way, let go of raster and store. What is done stays done.

        Args:
            timeout_s: How long to wait for the thread. One that hangs in a read from a network goes
                on by itself afterwards and ends with that read.

        Returns:
            Whether the thread has ended.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        deadline_s = time.monotonic() + timeout_s
        self._listener.close(timeout_s)
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(max(0.0, deadline_s - time.monotonic()))
        return not thread.is_alive()

    # How it stands

    @property
    def waiting(self) -> int:
        """How many windows are wanted and not under way."""
        return self._queue.waiting

    def wanted(self) -> list[TileWindow]:
        """Return all windows that are wanted and not under way, urgent ones first."""
        return self._queue.first_waiting(self._queue.waiting)

    @property
    def encoding(self) -> TileWindow | None:
        """The window that the engine has now."""
        return self._knowledge.encoding

    @property
    def is_paused(self) -> bool:
        """Whether nothing is encoded until ``resume``: it was paused, or it failed."""
        return self._is_paused

    @property
    def error(self) -> GeoSam2Error | None:
        """What it failed with; None if it did not, or was resumed since."""
        return self._error

    def problem_of(self, window: TileWindow) -> GeoSam2Error | None:
        """Return why a window failed; None where it did not, or in an earlier session."""
        return self._knowledge.problems.get(window)

    @property
    def device(self) -> str:
        """On which the model runs, in words; empty before it is loaded."""
        return self._knowledge.device

    @property
    def precision(self) -> str:
        """In which the model runs; empty before it is loaded."""
        return self._knowledge.precision

    @property
    def notes(self) -> tuple[str, ...]:
        """What the engine does differently than asked, a sentence each."""
        return self._knowledge.notes

    # Any thread

    def _take_in(self, windows: Iterable[TileWindow], is_urgent: bool) -> None:
        self._queue.add(windows, is_urgent=is_urgent)
        with self._changed:
            self._wake()

    def _wake(self) -> None:
        """Let the thread look what there is to do; with the lock held."""
        if self._is_closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="geo_sam2 live encoder", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    # The encoder's thread

    def _work(self) -> None:
        while self._wait_for_work():
            try:
                self._encode()
            except CancelledError:
                pass  # by us: paused, closed, or nothing is wanted any more
            except GeoSam2Error as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001  the entry of a thread; told with its traceback
                self._fail(_fault(error))
            finally:
                self._queue.put_back()
            # Also if it was paused while the last tile was finished: nothing would ever say so afterwards.
            if not (self._is_closed or self._is_wanted()):
                self._listener.went_idle()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._is_closed and (self._is_paused or not self._is_wanted()):
                self._changed.wait()
            return not self._is_closed

    def _encode(self) -> None:
        engine = self._engine()
        if self._is_to_restart:
            self._is_to_restart = False
            engine.allow_restart()
        run = LiveRun(
            self._request,
            engine,
            self._queue,
            self._listener,
            self._knowledge,
            self._is_stopped,
            self._is_wanted,
        )
        try:
            run.run()
        finally:
            self._tell_pace()
        with self._changed:
            self._is_to_open = False

    def _is_stopped(self) -> bool:
        return self._is_closed or self._is_paused

    def _is_wanted(self) -> bool:
        return self._is_to_open or len(self._queue) > 0

    def _fail(self, error: GeoSam2Error) -> None:
        let_go(error)  # whoever shows it may keep it for long
        with self._changed:
            self._is_paused = True
            self._error = error
        self._listener.failed(error)

    def _tell_pace(self) -> None:
        """Note what a tile takes, but not from the first one, which also waits for the model to warm up."""
        seconds = self._knowledge.tile_seconds
        if len(seconds) > 1:
            self._knowledge.tile_seconds = [seconds[0], *seconds[1:][-_PACE_TILES:]]
            pace = statistics.median(self._knowledge.tile_seconds[1:])
            self._note_pace(self._knowledge.model_id, self._request.model.device, pace)


def _fault(error: Exception) -> GeoSam2Error:
    fault = EngineError(
        f"Encoding ended by a fault of Geo-SAM2: {error!r:.200}.", "Try again; report it with its details."
    )
    fault.details = traceback.format_exc()
    return fault

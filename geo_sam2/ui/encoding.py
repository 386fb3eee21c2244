# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding while somebody looks: which encoder works for the raster at hand, and how far it is.

Owns the live encoder of the raster and makes it when a tile is first wanted. Ignorant of prompts
and of how tiles are encoded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2 import settings
from geo_sam2.encoder.encode_request import EncodeRequest
from geo_sam2.encoder.live_encoder import LiveEncoder
from geo_sam2.encoder.progress import EncodeProgress, duration_text
from geo_sam2.errors import GeoSam2Error
from geo_sam2.feature_store import FeatureStore, TileRecord
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.tile_window import TileWindow
from geo_sam2.ui.background import Background
from geo_sam2.ui.dock_view import EncodingView
from geo_sam2.ui.live_bridge import LiveBridge
from geo_sam2.ui.tile_counts import encoded_text

#: Says what to encode where; may open files, so it is called on a worker.
MakeRequest = Callable[[], EncodeRequest]
# What ends with the plugin may take so long on the main thread.
_CLOSE_TIMEOUT_S = 5.0


class Encoding(QObject):
    """At most one live encoder at a time; main thread.

    Args:
        engine: Returns the client of the engine.
        worker: Opens files, and waits for encoders that are no longer wanted.

    Attributes:
        window: The tile that is being encoded; None while none is.
        device: On which the model runs, in words; empty before it is known.
        error: Why nothing is encoded any more until ``resume``; None while all is well.
    """

    changed = pyqtSignal()
    store_opened = pyqtSignal(object)  # FeatureStore
    tile_started = pyqtSignal(object)  # TileWindow
    tile_settled = pyqtSignal(object)  # TileRecord
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(
        self, engine: Callable[[], EngineClient], worker: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._engine = engine
        self._worker = worker
        self._make_request: MakeRequest | None = None
        self._encoder: LiveEncoder | None = None
        self._bridge: LiveBridge | None = None
        self._turn = 0
        self._is_preparing = False
        self._asked: list[tuple[Collection[TileWindow], bool]] = []  # before there was an encoder
        self._look: tuple[float, float, tuple[float, float, float, float] | None] | None = None
        self._is_paused = False
        self._progress: EncodeProgress | None = None
        self.window: TileWindow | None = None
        self.error: GeoSam2Error | None = None
        self.device = ""

    @property
    def can_encode(self) -> bool:
        """Whether there is something to encode."""
        return self._make_request is not None

    @property
    def is_running(self) -> bool:
        """Whether tiles wait or are being encoded."""
        return self._progress is not None or self._is_preparing or bool(self._asked)

    def set_target(self, make_request: MakeRequest | None) -> None:
        """Encode something else from now on, or nothing; what waited for the last raster is forgotten."""
        self._turn += 1
        self._dismiss()
        self._make_request = make_request
        self._asked, self._is_preparing, self._progress = [], False, None
        self.window, self.error, self._is_paused = None, None, False
        self.changed.emit()

    def want(self, windows: Collection[TileWindow], *, is_urgent: bool = False) -> None:
        """Have windows encoded; urgent ones first, for somebody waits for them."""
        if not windows or self._make_request is None:
            return
        if is_urgent and self.error is None and self._is_paused:
            self.pause(False)  # a click says more than the button did
        if self._encoder is not None:
            self._encoder.want(windows, is_urgent=is_urgent)
        else:
            self._asked.append((windows, is_urgent))
            self._prepare()
        self.changed.emit()

    def look_at(self, x_px: float, y_px: float, view_px: tuple[float, float, float, float] | None) -> None:
        """Say where the pointer is and what is on the screen, in grid pixels: nearest first."""
        self._look = (x_px, y_px, view_px)
        if self._encoder is not None:
            self._encoder.look_at(*self._look)

    def pause(self, is_paused: bool) -> None:
        """Stop after the tile at hand, or go on."""
        self._is_paused = is_paused
        if not is_paused:
            self.error = None
        if self._encoder is not None:
            if is_paused:
                self._encoder.pause()
            else:
                self._encoder.resume()
        elif not is_paused and self._asked:
            self._prepare()
        self.changed.emit()

    def problem_of(self, window: TileWindow) -> GeoSam2Error | None:
        """Return why a tile failed; None where it did not, or in an earlier session."""
        return None if self._encoder is None else self._encoder.problem_of(window)

    def close(self) -> None:
        """End the encoder, within a bound."""
        self._turn += 1
        self._make_request = None
        encoder, self._encoder = self._encoder, None
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None
        if encoder is not None:
            encoder.close(_CLOSE_TIMEOUT_S)

    def view(self) -> EncodingView:
        """Return what the dock shows of it."""
        progress = self._progress
        return EncodingView(
            can_encode=self.can_encode,
            is_running=self.is_running,
            is_paused=self._is_paused,
            done=progress.done if progress is not None else 0,
            total=progress.total if progress is not None else 0,
            text=self._text(),
        )

    def _text(self) -> str:
        progress = self._progress
        if self._is_paused:
            return self.tr("Paused; what is encoded is kept.") if self.is_running else ""
        if progress is None:
            return self.tr("Getting ready to encode…") if self.is_running else ""
        text = encoded_text(progress.done, progress.total)
        if progress.seconds_left is None:
            return text
        return self.tr("{tiles}, {time} left").format(tiles=text, time=duration_text(progress.seconds_left))

    # The encoder

    def _prepare(self) -> None:
        """Make the encoder; what it shall encode is found out on the worker."""
        if self._is_preparing or self._make_request is None:
            return
        self._is_preparing = True
        turn = self._turn
        self._worker.run(
            self._make_request,
            functools.partial(self._begin, turn),
            functools.partial(self._refuse, turn),
        )

    def _begin(self, turn: int, request: EncodeRequest) -> None:
        if turn != self._turn:
            return
        self._is_preparing = False
        self._bridge = LiveBridge(self)
        self._encoder = LiveEncoder(
            request, self._engine, self._bridge, note_pace=settings.remember_tile_seconds
        )
        if self._is_paused:
            self._encoder.pause()
        if self._look is not None:
            self._encoder.look_at(*self._look)
        asked, self._asked = self._asked, []
        for windows, is_urgent in asked:
            self._encoder.want(windows, is_urgent=is_urgent)
        # Until the encoder counts them: it has taken them over just now.
        self._progress = EncodeProgress(0, sum(len(windows) for windows, _ in asked), None)
        self.changed.emit()

    def _refuse(self, turn: int, error: GeoSam2Error) -> None:
        if turn == self._turn:
            self._is_preparing = False
            self._asked = []
            self.failed.emit(error)
            self.changed.emit()

    def _dismiss(self) -> None:
        """Let the encoder end by itself: its tile may take a while."""
        encoder, self._encoder = self._encoder, None
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None
        if encoder is not None:
            self._worker.run(lambda: encoder.close(_CLOSE_TIMEOUT_S), lambda _: None, lambda _: None)

    # LiveListener, on the main thread by way of the bridge

    def opened(self, store: FeatureStore) -> None:
        """The store is there."""
        if self._encoder is not None:
            self.device = self._encoder.device
        self.store_opened.emit(store)
        self.changed.emit()

    def started(self, window: TileWindow) -> None:
        """A tile is being encoded."""
        self.window = window
        self.tile_started.emit(window)

    def settled(self, record: TileRecord) -> None:
        """A tile is done, empty or failed."""
        if self.window == record.window:
            self.window = None
        self.tile_settled.emit(record)

    def progressed(self, progress: EncodeProgress) -> None:
        """So far it is."""
        self._progress = progress
        self.changed.emit()

    def encoder_failed(self, error: GeoSam2Error) -> None:
        """It has stopped."""
        self.window, self.error, self._is_paused = None, error, True
        self.failed.emit(error)
        self.changed.emit()

    def went_idle(self) -> None:
        """It is done."""
        self.window, self._progress = None, None
        if self._is_paused and self.error is None:
            self.pause(False)  # there is nothing left that could be resumed
        self.changed.emit()

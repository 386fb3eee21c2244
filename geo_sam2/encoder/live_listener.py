# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told what the live encoder does, and the way to tell without being harmed by it.

Ignorant of who listens, and of encoding.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.errors import GeoSam2Error
from geo_sam2.feature_store import FeatureStore, TileRecord
from geo_sam2.tile_window import TileWindow

LOG = logging.getLogger(__name__)


class LiveListener(Protocol):
    """Who is told.

    All methods are called on the encoder's thread, one at a time, and must return soon. None is
    called after ``LiveEncoder.close`` has returned.
    """

    def opened(self, store: FeatureStore) -> None:
        """The store is there, found or made; again when another one has taken its place."""

    def started(self, window: TileWindow) -> None:
        """The engine has been sent a window."""

    def settled(self, record: TileRecord) -> None:
        """A window is in the index as done, empty or failed, perhaps by another job's work."""

    def progressed(self, progress: EncodeProgress) -> None:
        """Tell how far the encoder is with what is wanted now, or the job that it waits for."""

    def failed(self, error: GeoSam2Error) -> None:
        """Nothing more is encoded until ``LiveEncoder.resume``; what was wanted stays wanted."""

    def went_idle(self) -> None:
        """All that was wanted is settled or forgotten, and the store's turn has been given back."""


class Teller:
    """Tells a listener until it is closed; what the listener raises is logged and harms nobody.

    Args:
        listener: Who is told.
    """

    def __init__(self, listener: LiveListener) -> None:
        self._listener = listener
        self._is_closed = False
        # The listener may close the encoder while it is being told.
        self._lock = threading.RLock()

    def close(self, timeout_s: float) -> None:
        """Tell nothing any more; waits a while for a call under way to return."""
        has_lock = self._lock.acquire(timeout=timeout_s)
        self._is_closed = True
        if has_lock:
            self._lock.release()

    def opened(self, store: FeatureStore) -> None:
        """See ``LiveListener``."""
        self._call(lambda: self._listener.opened(store))

    def started(self, window: TileWindow) -> None:
        """See ``LiveListener``."""
        self._call(lambda: self._listener.started(window))

    def settled(self, record: TileRecord) -> None:
        """See ``LiveListener``."""
        self._call(lambda: self._listener.settled(record))

    def progressed(self, progress: EncodeProgress) -> None:
        """See ``LiveListener``."""
        self._call(lambda: self._listener.progressed(progress))

    def failed(self, error: GeoSam2Error) -> None:
        """See ``LiveListener``."""
        self._call(lambda: self._listener.failed(error))

    def went_idle(self) -> None:
        """See ``LiveListener``."""
        self._call(lambda: self._listener.went_idle())

    def _call(self, tell: Callable[[], None]) -> None:
        with self._lock:
            if self._is_closed:
                return
            try:
                tell()
            except Exception:  # somebody else's code, on a thread that has to go on
                LOG.exception("A listener of the live encoder failed.")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the next windows on a thread of its own while the engine works on the last.

Owns the raster source from ``start`` on: GDAL datasets may go from thread to thread but
not be used by two at once, and one that hangs in a network read must not be closed by
somebody else. Ignorant of the engine and the store.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geo_sam2.error_frames import let_go
from geo_sam2.errors import GeoSam2Error, RasterGoneError
from geo_sam2.tile_window import TileWindow


class WindowSource(AbstractContextManager["WindowSource"], Protocol):
    """What windows are read from; leaving it closes it."""

    def read(self, window: TileWindow) -> np.ndarray | None:
        """Return (height, width, 3) uint8, or None where no pixel is valid."""


@dataclass(frozen=True)
class WindowRead:
    """One window was read.

    Attributes:
        window: Which one.
        pixels: (height, width, 3) uint8; None where no pixel is valid, or reading failed.
        error: Why reading failed; None if it did not.
    """

    window: TileWindow
    pixels: np.ndarray | None
    error: GeoSam2Error | None = None


@dataclass(frozen=True)
class ReadingEnded:
    """There are no more windows.

    Attributes:
        error: What ended the thread before its time; None when all windows were read.
    """

    error: Exception | None = None


class ReadAhead:
    """Reads windows and puts a ``WindowRead`` for each into a queue, then ``ReadingEnded``.

    Args:
        source: Where from; closed by the thread at its end.
        take: Returns the next window, as late as possible, or None when there are no more. It may
            wait; who stops the reader has to let it return.
        ahead: How many windows may be read and not yet released; bounds the memory (3 MB each).
        events: Where to tell.
    """

    def __init__(
        self,
        source: WindowSource,
        take: Callable[[], TileWindow | None],
        ahead: int,
        events: queue.SimpleQueue[object],
    ) -> None:
        self._source = source
        self._take = take
        self._events = events
        self._slots = threading.Semaphore(ahead)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="geo_sam2 window reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def release(self, count: int) -> None:
        """Say that so many windows are done with, so that as many more may be read."""
        if count:
            self._slots.release(count)

    def stop(self, timeout_s: float) -> None:
        """Read no further window; waits a while for the one that is being read.

        A thread that hangs in a network read is left to itself and closes the source when it returns.
        """
        self._is_stopped.set()
        self._slots.release()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        error = None
        try:
            with self._source:
                while True:
                    self._slots.acquire()
                    window = None if self._is_stopped.is_set() else self._take()
                    if window is None or self._is_stopped.is_set():
                        break
                    self._events.put(self._read(window))
        except Exception as caught:  # noqa: BLE001  the entry of a thread; raised again by who takes the event
            let_go(caught)
            error = caught
        self._events.put(ReadingEnded(error))

    def _read(self, window: TileWindow) -> WindowRead:
        try:
            return WindowRead(window, self._source.read(window))
        except RasterGoneError:  # not this window's fault, and no other can be read
            raise
        except GeoSam2Error as error:
            let_go(error)
            return WindowRead(window, None, error)

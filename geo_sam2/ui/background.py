# SPDX-License-Identifier: GPL-3.0-or-later
"""Work off the GUI thread, whose end comes back to it as a queued call.

Owns one worker thread and the way home from any other thread. Ignorant of what the work is.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from typing import Any

from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal

from geo_sam2.errors import GeoSam2Error


class MainThreadCaller(QObject):
    """Calls functions on the thread that made it, from any thread; after ``close`` never again."""

    _called = pyqtSignal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock = threading.Lock()
        self._is_closed = False
        self._called.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called soon; thread-safe."""
        with self._lock:  # the object underneath lives until it is closed
            if not self._is_closed:
                self._called.emit(function)

    def close(self) -> None:
        """Drop what waits and what will come; main thread."""
        with self._lock:
            self._is_closed = True

    def _run(self, function: Callable[[], None]) -> None:
        if not self._is_closed:
            function()


class Background:
    """One worker for whatever takes longer than a frame: reading indexes, joining polygons.

    Its thread is a daemon: QGIS does not wait for a network drive in order to end.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._caller = MainThreadCaller()
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name=f"geo_sam2 {name}", daemon=True)
        self._thread.start()

    def run(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[GeoSam2Error], None],
    ) -> None:
        """Do work on the worker, then go on with what it returned on the main thread; thread-safe.

        Args:
            work: Touches neither widgets nor layers.
            then: Called with its result.
            otherwise: Called with the ``GeoSam2Error`` that it raised. Anything else is a fault of
                ours: it is raised on the main thread, where QGIS shows it with its traceback.
        """

        def task() -> None:
            try:
                result = work()
            except GeoSam2Error as error:
                self._caller.call(functools.partial(otherwise, error))
            except Exception as error:  # noqa: BLE001  handed on, see above
                self._caller.call(functools.partial(_raise, error))
            else:
                self._caller.call(functools.partial(then, result))

        self._waiting.put(task)

    def close(self, timeout_s: float = 2.0) -> None:
        """End the worker after the work at hand; nothing comes back any more. Main thread."""
        self._is_closed = True
        self._caller.close()
        self._waiting.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            task = self._waiting.get()
            if task is None or self._is_closed:
                return
            task()


def _raise(error: Exception) -> None:
    raise error

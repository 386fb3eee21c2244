# SPDX-License-Identifier: GPL-3.0-or-later
"""Who writes into a store, among the jobs of this process.

A store has one writer. A second job of the same process joins the first: it follows the
first one's progress, has its turn when that one ends, and then finds in the index what is
left for it, which is nothing if both want the same. So each can be cancelled without the
other. Other processes are kept away by the store's own lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.encoder.waiting import STEP_S, IsCancelled, check
from geo_sam2.encoder.window_queue import WindowQueue


class StoreTurn:
    """One store's turn; the job that has it says how far it is.

    Attributes:
        progress: Of the job that has the turn; None before its first tile.
        queue: The windows of the job that has the turn; None before they are known. Who waits may
            let some of them go first.
    """

    def __init__(self) -> None:
        self.progress: EncodeProgress | None = None
        self.queue: WindowQueue | None = None
        self._lock = threading.Lock()
        self.jobs = 0

    @property
    def is_taken(self) -> bool:
        """Whether a job has the turn now."""
        return self._lock.locked()

    def take(self, is_cancelled: IsCancelled, on_wait: Callable[[EncodeProgress | None], None]) -> None:
        """Wait for the turn, telling in steps how far the job is that has it."""
        while not self._lock.acquire(timeout=STEP_S):
            check(is_cancelled)
            on_wait(self.progress)

    def give_back(self) -> None:
        """Let the next job have the turn."""
        self.progress = self.queue = None
        self._lock.release()


class StoreTurns:
    """The turns of all stores; thread-safe."""

    def __init__(self) -> None:
        self._turns: dict[str, StoreTurn] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def join(self, folder: Path) -> Iterator[StoreTurn]:
        """Return the turn of a store, taken or not; forgotten when the last job leaves."""
        key = os.path.normcase(os.path.realpath(folder))
        with self._lock:
            turn = self._turns.setdefault(key, StoreTurn())
            turn.jobs += 1
        try:
            yield turn
        finally:
            with self._lock:
                turn.jobs -= 1
                if not turn.jobs:
                    del self._turns[key]


TURNS = StoreTurns()

# SPDX-License-Identifier: GPL-3.0-or-later
"""At most one job on its way and one waiting, the newest: for what a moving hand asks.

Ignorant of what the jobs are. Thread-safe; runs nothing on a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

Finish = Callable[[], None]
#: Starts some work, and calls what it is given, from any thread, when that is over.
Job = Callable[[Finish], None]


class NewestWins:
    """A lane for jobs that are worth nothing once there is a newer one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_busy = False
        self._waiting: Job | None = None

    @property
    def waiting(self) -> int:
        """How many jobs wait: 0 or 1."""
        return int(self._waiting is not None)

    def offer(self, job: Job) -> None:
        """Start a job: now, or once the one on its way is over, unless a newer one comes before that."""
        with self._lock:
            if self._is_busy:
                self._waiting = job
                return
            self._is_busy = True
        self._start(job)

    def drop_waiting(self) -> None:
        """Forget the job that waits."""
        with self._lock:
            self._waiting = None

    def _start(self, job: Job) -> None:
        is_over = threading.Lock()

        def finish() -> None:
            if is_over.acquire(blocking=False):
                self._next()

        try:
            job(finish)
        except BaseException:
            finish()  # it might never say so itself
            raise

    def _next(self) -> None:
        with self._lock:
            job, self._waiting = self._waiting, None
            self._is_busy = job is not None
        if job is not None:
            self._start(job)

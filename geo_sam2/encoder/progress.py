# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job is, how long the rest takes by the pace of the last steps, and how to say it.

Pure arithmetic; the clock is handed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class EncodeProgress:
    """How far a job is.

    Attributes:
        done: Windows of ``total`` that are settled: encoded, empty or failed.
        total: Windows that the job has to do.
        seconds_left: Estimated time that the rest takes; None before it is known.
    """

    done: int
    total: int
    seconds_left: float | None


class Pace:
    """Watches steps being done and estimates the rest from the last of them.

    The last ones, not all: a laptop that goes on battery power or a region without valid pixels
    changes the pace for good. Never the first, which also waits for the engine to warm up and
    takes several times as long as any other.

    Args:
        memory: How many of the last steps count.
    """

    def __init__(self, memory: int = 32) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=memory + 1)

    def note(self, now_s: float, done: int) -> None:
        """Note that so many steps are done now, on any clock that only runs forward."""
        if not self._marks or done > self._marks[-1][1]:
            self._marks.append((now_s, done))

    def seconds_left(self, total: int) -> float | None:
        """Return the time that the steps up to ``total`` still take; None before the second is done."""
        if len(self._marks) < 2:
            return None
        (first_s, first_done), (last_s, last_done) = self._marks[0], self._marks[-1]
        return (last_s - first_s) / (last_done - first_done) * max(0, total - last_done)


def duration_text(seconds: float) -> str:
    """Return a duration for people, in the largest unit that leaves a number of at least 2."""
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def size_text(count: float) -> str:
    """Return a number of bytes for people, in decimal units as file managers show them."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1e3:.0f} kB"

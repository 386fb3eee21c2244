# SPDX-License-Identifier: GPL-3.0-or-later
"""Time alternatives in turns, so that a machine that slows down slows all of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping


def alternate(
    ways: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Run all ways in turn, round by round.

    Args:
        ways: Name → what to run; each returns the seconds that it took.
        rounds: Counted rounds.
        warm_up: Rounds before that.

    Returns:
        Seconds of each counted round by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name, way in ways.items():
            taken = way()
            if number >= warm_up:
                seconds[name].append(taken)
    return seconds


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Return a function that does the work and returns the seconds that it took."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def ratio(slower: list[float], faster: list[float]) -> float:
    """Return the median of the ratios of rounds that ran side by side."""
    return statistics.median(a / b for a, b in zip(slower, faster))


def median_ms(seconds: list[float]) -> float:
    """Return the median in milliseconds."""
    return 1000 * statistics.median(seconds)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def one_busy_core() -> Iterator[None]:
    """Keep one core busy meanwhile, as a browser or QGIS itself may."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()

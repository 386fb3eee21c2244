# SPDX-License-Identifier: GPL-3.0-or-later
"""Which window is read next: the order of those that are wanted, which may change at any time.

A job that was given a list has them in its order. Where somebody looks at the map, the windows
that they clicked on come first, then those near the pointer. Ignorant of reader, engine and store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Optional

import numpy as np

from geo_sam2.encoder.tiling import WINDOW_PX
from geo_sam2.tile_window import TileWindow

# Left, top, right, lower edge in grid pixels.
View = tuple[float, float, float, float]
_Focus = tuple[float, float, Optional[View]]


class WindowQueue:
    """Windows that wait, and windows that are under way: read or encoded just now. Thread-safe.

    Args:
        windows: Those that are wanted from the start, each once.
        is_live: More may come: whoever takes waits for them as long as any is under way.

    Attributes:
        on_urgent: Called on the thread of ``add`` or ``hurry`` after windows became urgent; for who
            would otherwise take the next window too late.
    """

    def __init__(self, windows: Iterable[TileWindow] = (), *, is_live: bool = False) -> None:
        self.on_urgent: Callable[[], None] | None = None
        self._is_live = is_live
        self._changed = threading.Condition()
        self._has_ended = False
        self._focus: _Focus | None = None
        # Windows by the time they came; places of windows that were taken stay until there are many.
        self._windows: list[TileWindow] = []
        self._bounds = np.empty((0, 4))
        self._is_waiting = np.empty(0, dtype=bool)
        self._first = 0
        self._places: dict[TileWindow, int] = {}
        self._urgent: dict[TileWindow, None] = {}
        self._under_way: dict[TileWindow, None] = {}
        self.add(windows)

    def __len__(self) -> int:
        """Count what is not settled: waiting and under way."""
        with self._changed:
            return len(self._places) + len(self._under_way)

    @property
    def waiting(self) -> int:
        """How many windows nobody has taken yet."""
        return len(self._places)

    # Who wants windows

    def add(self, windows: Iterable[TileWindow], *, is_urgent: bool = False) -> None:
        """Want windows; those that wait or are under way already are not wanted twice.

        Args:
            windows: Which.
            is_urgent: They go before all that are not, also where they wait already.
        """
        asked = list(dict.fromkeys(windows))
        bounds = _bounds_of(asked)  # not under the lock: there may be a million of them
        with self._changed:
            is_new = [window not in self._places and window not in self._under_way for window in asked]
            self._append([window for window, new in zip(asked, is_new) if new], bounds[is_new])
            if is_urgent:
                self._urgent.update(dict.fromkeys(asked))
            self._changed.notify_all()
        self._tell_urgent(is_urgent and bool(asked))

    def hurry(self, windows: Iterable[TileWindow]) -> None:
        """Let windows go first that are wanted already; others are left out."""
        with self._changed:
            found = [window for window in windows if window in self._places or window in self._under_way]
            news = [window for window in found if window not in self._urgent]
            self._urgent.update(dict.fromkeys(news))
        self._tell_urgent(bool(news))

    def look_at(self, x_px: float, y_px: float, view: View | None = None) -> None:
        """Say where the pointer is, so that windows near to it go first.

        They are ordered by their distance in windows, among those as far by whether they are in
        the view, among these by their exact distance.

        Args:
            x_px: Grid pixels from the left.
            y_px: Grid pixels from the top.
            view: What is seen of the grid; None where that is not known.
        """
        self._focus = (x_px, y_px, view)  # one assignment: no lock for what comes with each mouse move

    def forget_waiting(self) -> list[TileWindow]:
        """Want those no longer that nobody has taken; returns them."""
        with self._changed:
            forgotten = list(self._places)
            self._windows, self._places, self._first = [], {}, 0
            self._bounds, self._is_waiting = np.empty((0, 4)), np.empty(0, dtype=bool)
            self._urgent = {window: None for window in self._urgent if window in self._under_way}
            self._changed.notify_all()
            return forgotten

    # Who encodes them

    def take(self) -> TileWindow | None:
        """Return the window that goes next; it is under way from now on.

        Returns:
            None when there are no more, or when the taking was ended.
        """
        with self._changed:
            while not self._has_ended:
                window = self._next()
                if window is not None:
                    self._remove(window)
                    self._under_way[window] = None
                    return window
                if not (self._is_live and self._under_way):
                    return None
                self._changed.wait()
            return None

    def is_urgent(self, window: TileWindow) -> bool:
        """Say whether a window goes before others."""
        return window in self._urgent

    def settle(self, windows: Iterable[TileWindow]) -> None:
        """Say that windows need to be looked at no more, taken or not."""
        with self._changed:
            for window in windows:
                self._under_way.pop(window, None)
                self._urgent.pop(window, None)
                self._remove(window)
            self._changed.notify_all()

    def put_back(self, windows: Iterable[TileWindow] | None = None) -> None:
        """Let windows wait again that were taken and are not settled; all of them for None."""
        with self._changed:
            back = [window for window in (windows or list(self._under_way)) if window in self._under_way]
            for window in back:
                del self._under_way[window]
            self._append(back, _bounds_of(back))
            self._changed.notify_all()

    def end_taking(self) -> None:
        """Let ``take`` return None from now on, also where somebody waits in it."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def begin_taking(self) -> None:
        """Undo ``end_taking``."""
        with self._changed:
            self._has_ended = False

    def first_waiting(self, count: int) -> list[TileWindow]:
        """Return some windows that wait, urgent ones first, then by the time they came."""
        with self._changed:
            urgent = [window for window in self._urgent if window in self._places]
            others = (window for window in self._places if window not in self._urgent)
            return [*urgent, *(window for window, _ in zip(others, range(count)))][:count]

    def urgent_waiting(self) -> list[TileWindow]:
        """Return the urgent windows that nobody has taken."""
        with self._changed:
            return [window for window in self._urgent if window in self._places]

    # With the lock held

    def _append(self, windows: list[TileWindow], bounds: np.ndarray) -> None:
        if not windows:
            return
        start = len(self._windows)
        if start > 2 * len(self._places) + 1000:
            kept = np.flatnonzero(self._is_waiting)
            self._windows = [self._windows[place] for place in kept]
            self._bounds, self._is_waiting, self._first = self._bounds[kept], self._is_waiting[kept], 0
            self._places = {window: place for place, window in enumerate(self._windows)}
            start = len(kept)
        self._windows += windows
        self._bounds = np.concatenate((self._bounds, bounds))
        self._is_waiting = np.concatenate((self._is_waiting, np.ones(len(windows), dtype=bool)))
        self._places.update(zip(windows, range(start, start + len(windows))))

    def _remove(self, window: TileWindow) -> None:
        place = self._places.pop(window, None)
        if place is not None:
            self._is_waiting[place] = False

    def _next(self) -> TileWindow | None:
        if not self._places:
            return None
        for window in self._urgent:
            if window in self._places:
                return window
        if self._focus is not None:
            return self._windows[self._nearest(*self._focus)]
        while not self._is_waiting[self._first]:
            self._first += 1
        return self._windows[self._first]

    def _nearest(self, x: float, y: float, view: View | None) -> int:
        """Return the place of the window that waits and goes first by the order of ``look_at``."""
        places = np.flatnonzero(self._is_waiting)
        left, top, right, lower = self._bounds[places].T
        dx = np.maximum(np.maximum(left - x, x - right), 0.0)
        dy = np.maximum(np.maximum(top - y, y - lower), 0.0)
        keys = [np.maximum(dx, dy) // WINDOW_PX]
        if view is not None:
            keys.append((left >= view[2]) | (right <= view[0]) | (top >= view[3]) | (lower <= view[1]))
        keys.append(np.hypot(dx, dy))
        best = np.arange(len(places))  # a sort would take ten times as long, with Python locked
        for key in keys:
            best = best[key[best] == key[best].min()]
        return int(places[best[0]])

    def _tell_urgent(self, is_news: bool) -> None:
        tell = self.on_urgent
        if is_news and tell is not None:
            tell()


def _bounds_of(windows: list[TileWindow]) -> np.ndarray:
    """Return (n, 4) float: left, top, right and lower edges in grid pixels."""
    edges = [
        (
            window.xoff,
            window.yoff,
            window.xoff + window.width * window.pixel_size,
            window.yoff + window.height * window.pixel_size,
        )
        for window in windows
    ]
    return np.array(edges, dtype=np.float64).reshape(-1, 4)

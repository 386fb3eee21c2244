# SPDX-License-Identifier: GPL-3.0-or-later
"""Which request is next: order, cancel and newest-wins previews.

Filled by the reader thread, emptied by the main thread, looked at by the watch thread.
Ignorant of pipes, answers and models; whoever removes a request from the queue answers it.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_sam2.errors import EngineError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from geo_sam2.engine.protocol import Message

# A client that runs ahead of the engine is told so before it fills the memory.
MAX_WAITING_REQUESTS = 1024
MAX_WAITING_BYTES = 512 * 2**20


@dataclass(eq=False)
class Request:
    """One request from its arrival to its answer.

    Args:
        id: The client's number for it.
        kind: Its ``type`` field, the name of the operation.
        message: All of it.
        preview_group: Of the waiting previews with the same key only the newest is kept;
            None for requests that are not previews.
    """

    id: int
    kind: str
    message: Message
    preview_group: str | None = None
    is_interactive: bool = False
    is_cancelled: bool = False


@dataclass(frozen=True)
class Activity:
    """What the main thread works on: a request, or the import of the operations (no id)."""

    request_id: int | None
    kind: str
    since: float


class RequestQueue:
    """The requests that wait and those that run.

    Until ``classify`` is called nothing counts as interactive and all requests stay in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_arrived = threading.Condition(self._lock)
        self._waiting: list[Request] = []
        self._unfinished: dict[int, Request] = {}
        self._waiting_interactive = 0
        self._activities: list[Activity] = []
        self._is_interactive: Callable[[str], bool] = lambda _kind: False

    def classify(self, is_interactive: Callable[[str], bool]) -> None:
        """Say which kinds of requests overtake the others, those that wait already included."""
        with self._lock:
            self._is_interactive = is_interactive
            for request in self._waiting:
                request.is_interactive = is_interactive(request.kind)
            self._count_interactive()

    def add(self, request: Request) -> list[Request]:
        """Append a request and return the previews that it supersedes, for the caller to answer.

        Raises:
            ProtocolError: Its id is that of an unfinished request.
            EngineError: Too many requests wait.
        """
        with self._lock:
            if request.id in self._unfinished:
                raise ProtocolError(f"The id {request.id} belongs to a request that is not answered yet.")
            group = request.preview_group
            superseded = [r for r in self._waiting if group is not None and r.preview_group == group]
            kept = [r for r in self._waiting if r not in superseded]
            _check_room(kept, request)
            for other in superseded:
                del self._unfinished[other.id]
            request.is_interactive = self._is_interactive(request.kind)
            self._waiting = [*kept, request]
            self._unfinished[request.id] = request
            self._count_interactive()
            self._has_arrived.notify()
        return superseded

    def cancel(self, request_id: int) -> Request | None:
        """Drop a waiting request and return it, for the caller to answer; mark a running one.

        An unknown id is no error: the answer and the cancel may have crossed.
        """
        with self._lock:
            request = self._unfinished.get(request_id)
            if request is None:
                return None
            request.is_cancelled = True
            if request not in self._waiting:
                return None
            self._waiting.remove(request)
            del self._unfinished[request_id]
            self._count_interactive()
            return request

    def take(self) -> Request:
        """Wait for a request and return it: the oldest interactive one, else the oldest."""
        with self._lock:
            while not self._waiting:
                self._has_arrived.wait()
            return self._take_first(interactive_only=False)

    def take_interactive(self) -> Request | None:
        """Return the oldest interactive request that waits, if any, without waiting."""
        if not self._waiting_interactive:  # read without the lock: called between all trunk blocks
            return None
        with self._lock:
            return self._take_first(interactive_only=True) if self._waiting_interactive else None

    def finish(self, request: Request) -> None:
        """Forget a request that was taken; its id may be used again."""
        with self._lock:
            del self._unfinished[request.id]

    @contextmanager
    def activity(self, kind: str, request_id: int | None = None) -> Iterator[None]:
        """Show for the duration of a ``with`` block what the main thread works on."""
        with self._lock:
            self._activities.append(Activity(request_id, kind, time.monotonic()))
        try:
            yield
        finally:
            with self._lock:
                self._activities.pop()

    def status(self) -> tuple[Activity | None, int]:
        """Return the innermost activity, if any, and the number of requests that wait."""
        with self._lock:
            return (self._activities[-1] if self._activities else None), len(self._waiting)

    def _take_first(self, interactive_only: bool) -> Request:
        wants_interactive = interactive_only or self._waiting_interactive > 0
        request = next(r for r in self._waiting if r.is_interactive or not wants_interactive)
        self._waiting.remove(request)
        self._count_interactive()
        return request

    def _count_interactive(self) -> None:
        self._waiting_interactive = sum(request.is_interactive for request in self._waiting)


def _check_room(waiting: list[Request], request: Request) -> None:
    waiting_bytes = sum(other.message.payload_bytes for other in waiting)
    if (
        len(waiting) >= MAX_WAITING_REQUESTS
        or waiting_bytes + request.message.payload_bytes > MAX_WAITING_BYTES
    ):
        raise EngineError(
            f"{len(waiting)} requests wait for the engine already.",
            "Send fewer at once and wait for their answers.",
        )

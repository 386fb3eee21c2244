# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounded queue between the threads that send messages and the one that writes them.

Used on both sides, hence Python 3.9 and the standard library. Knows frames as lists of
buffers, not what is in them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from geo_sam2.engine.protocol import Buffer, WritableStream, write_buffers

# Short messages that must not wait (answers given by a reader thread) find room beyond the bound.
URGENT_RESERVE = 1024


class Outbox:
    """Frames on their way to a pipe, in order.

    Args:
        max_messages: Bound of the queue in frames.
        max_bytes: Bound of the queue in bytes; one frame of any size always fits an empty queue.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._has_frames = threading.Condition(self._lock)
        self._has_room = threading.Condition(self._lock)
        self._frames: deque[Sequence[Buffer]] = deque()
        self._bytes = 0
        self._is_writing = False
        self._is_closed = False

    def put(self, frame: Sequence[Buffer]) -> bool:
        """Append a frame, waiting for room; return False if the outbox was closed instead."""
        size = _size(frame)
        with self._lock:
            while not self._is_closed and not self._fits(size):
                self._has_room.wait()
            return self._append(frame, size)

    def offer(self, frame: Sequence[Buffer], is_urgent: bool = False) -> bool:
        """Append a frame if there is room for it now; return whether it was taken."""
        size = _size(frame)
        with self._lock:
            if is_urgent:
                has_room = len(self._frames) < self._max_messages + URGENT_RESERVE
            else:
                has_room = self._fits(size)
            return has_room and self._append(frame, size)

    def close(self, discard: bool = False) -> None:
        """Take no more frames; those queued are still written unless they are discarded."""
        with self._lock:
            self._is_closed = True
            if discard:
                self._frames.clear()
                self._bytes = 0
            self._has_frames.notify_all()
            self._has_room.notify_all()

    def wait_until_written(self, timeout_s: float) -> bool:
        """Wait until all frames are in the pipe; return False if that takes longer."""
        with self._lock:
            return self._has_room.wait_for(lambda: not self._frames and not self._is_writing, timeout_s)

    def write_to(self, stream: WritableStream) -> None:
        """Write frames as they come, on the calling thread, until the outbox is closed and empty.

        Raises:
            OSError: The other side is gone.
        """
        while frame := self._next_frame():
            write_buffers(stream, frame)
            del frame  # waiting for the next one must not keep the arrays of this one alive

    def _fits(self, size: int) -> bool:
        return not self._frames or (
            len(self._frames) < self._max_messages and self._bytes + size <= self._max_bytes
        )

    def _append(self, frame: Sequence[Buffer], size: int) -> bool:
        if self._is_closed:
            return False
        self._frames.append(frame)
        self._bytes += size
        self._has_frames.notify()
        return True

    def _next_frame(self) -> Sequence[Buffer] | None:
        """Mark the last frame as written and wait for the next; None when closed and empty."""
        with self._lock:
            self._is_writing = False
            self._has_room.notify_all()
            while not self._frames and not self._is_closed:
                self._has_frames.wait()
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._bytes -= _size(frame)
            self._is_writing = True
            return frame


def _size(frame: Sequence[Buffer]) -> int:
    return sum(len(buffer) for buffer in frame)

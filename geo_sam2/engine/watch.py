# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that says "busy" while the main thread works, and ends an engine nobody needs.

It wakes at a fixed interval. Everything is counted in its own steps, not by the clock,
so that a laptop that slept for the night is not taken for a stalled client.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

from geo_sam2.engine.protocol import Message, message_buffers
from geo_sam2.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from geo_sam2.engine.outbox import Outbox
    from geo_sam2.engine.protocol import MessageReader
    from geo_sam2.engine.request_queue import RequestQueue

# A frame is written in one go; one that makes no headway for so long will never end.
STALL_TIMEOUT_S = 60.0
# How long after "idle" the client may take to close the pipe.
IDLE_GRACE_S = 10.0


class Watch:
    """Looks after a server once per interval.

    Args:
        queue: Tells what is being worked on.
        reader: Tells whether a message is stuck half-way.
        outbox: Takes heartbeats and the "idle" notice; both are dropped when it is full.
        interval_s: Time between two looks, and so between two heartbeats.
        idle_timeout_s: Time without work after which the engine offers to end; None for never.
        on_stall: Called with the error when a message is stuck.
        end: Ends the process.
    """

    def __init__(
        self,
        queue: RequestQueue,
        reader: MessageReader,
        outbox: Outbox,
        *,
        interval_s: float,
        idle_timeout_s: float | None,
        on_stall: Callable[[ProtocolError], None],
        end: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._reader = reader
        self._outbox = outbox
        self._interval_s = interval_s
        self._idle_limit = None if idle_timeout_s is None else max(1, math.ceil(idle_timeout_s / interval_s))
        self._on_stall = on_stall
        self._end = end
        self._parent_pid = os.getppid()
        self._bytes_read = 0
        self._idle_steps = 0
        self._stalled_steps = 0

    def run(self) -> None:
        """Look after the server for ever; the body of a thread."""
        while True:
            time.sleep(self._interval_s)
            self.look()

    def look(self) -> None:
        """Do what one interval asks for."""
        # Closed pipes say the same sooner, unless a forked child of the client still holds them.
        if os.getppid() != self._parent_pid:
            self._end()
        has_read = self._reader.bytes_read != self._bytes_read
        self._bytes_read = self._reader.bytes_read
        activity, waiting = self._queue.status()
        is_working = activity is not None or waiting > 0
        if is_working:
            running = activity and {
                "id": activity.request_id,
                "type": activity.kind,
                "seconds": round(time.monotonic() - activity.since, 3),
            }
            self._offer({"type": "heartbeat", "running": running, "waiting": waiting})
        self._look_for_stall(has_read)
        self._look_for_idleness(is_working or has_read)

    def _look_for_stall(self, has_read: bool) -> None:
        is_stuck = self._reader.is_inside_message and not has_read
        self._stalled_steps = self._stalled_steps + 1 if is_stuck else 0
        if self._stalled_steps * self._interval_s >= STALL_TIMEOUT_S:
            self._on_stall(ProtocolError("A message began and did not go on."))

    def _look_for_idleness(self, is_needed: bool) -> None:
        if self._idle_limit is None:
            return
        self._idle_steps = 0 if is_needed else self._idle_steps + 1
        # The client closes the pipe if it has no request on its way, so that none is lost
        # in a process that is ending; one that does not understand is not waited for long.
        if self._idle_steps == self._idle_limit:
            self._offer({"type": "idle"})
        elif (self._idle_steps - self._idle_limit) * self._interval_s >= IDLE_GRACE_S:
            self._end()

    def _offer(self, fields: dict[str, object]) -> None:
        self._outbox.offer(message_buffers(Message(fields)))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the engine: requests in, futures out, from any thread.

Free of Qt and of any wait: ``request`` starts the engine in the background if need be,
queues the request and returns. Decides when an engine is dead, silent or may start
again; ``engine_process`` has the pipes.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geo_sam2 import errors
from geo_sam2.engine.protocol import PROTOCOL_VERSION, Array, Buffer, Message, message_buffers, read_field
from geo_sam2.runtime.engine_command import EngineCommand
from geo_sam2.runtime.engine_death import DeathRecord, copy_error, error_of_end, silence_error
from geo_sam2.runtime.engine_future import (
    EngineFuture,
    EngineResult,
    Outcome,
    error_from,
    own_fields,
    result_from,
)
from geo_sam2.runtime.engine_log import EngineLog
from geo_sam2.runtime.engine_process import EngineProcess, ProcessEnd

START_TIMEOUT_S = 120.0
SILENCE_TIMEOUT_S = 60.0
# Two deaths within this time stop the restarts.
DEATH_WINDOW_S = 60.0
# Silence is counted in steps, not by the clock: a laptop may sleep in one of them.
_STEPS_PER_TIMEOUT = 4

ProgressCallback = Callable[[int, int, str], None]
PartCallback = Callable[[Message], None]


class EngineState(enum.Enum):
    """Where the engine process stands."""

    STOPPED = "stopped"
    STARTING = "starting"  # until it has said hello
    LOADING = "loading"  # until torch and the operations are imported; requests wait in it
    READY = "ready"
    FAILED = "failed"  # died twice in a short time; see allow_restart


@dataclass(frozen=True)
class _Pending:
    future: EngineFuture
    on_progress: ProgressCallback | None
    on_part: PartCallback | None


class EngineClient:
    """Sends requests to one engine process, which it starts when it is first needed.

    The process ends with this one, however this one ends. A context manager: leaving
    closes it.

    Args:
        command: How to start the engine, see ``engine_command``.
        log_path: File for what the engine prints; kept between starts, bounded in size.
        start_timeout_s: Time that the engine may stay silent until its libraries are imported.
        silence_timeout_s: Time that it may stay silent afterwards while requests are pending;
            it sends a sign of life every two seconds while it works.
        death_window_s: Two deaths within this time stop the restarts.
        on_state: Called with each new ``EngineState``, on any thread; ask ``state`` where the
            order of two quick changes matters.
        on_heartbeat: Called with the fields of each sign of life, on the reader thread.
    """

    def __init__(
        self,
        command: EngineCommand,
        log_path: Path,
        *,
        start_timeout_s: float = START_TIMEOUT_S,
        silence_timeout_s: float = SILENCE_TIMEOUT_S,
        death_window_s: float = DEATH_WINDOW_S,
        on_state: Callable[[EngineState], None] | None = None,
        on_heartbeat: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._command = command
        self._log = EngineLog(log_path)
        self._start_timeout_s = start_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._on_state = on_state
        self._on_heartbeat = on_heartbeat
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        # All pending requests belong to the current process; when it goes, they go with it.
        self._process: EngineProcess | None = None
        self._pending: dict[int, _Pending] = {}
        self._state = EngineState.STOPPED
        self._deaths = DeathRecord(death_window_s)
        self._is_closed = False

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> EngineState:
        """Return where the engine process stands now."""
        return self._state

    def request(
        self,
        fields: Mapping[str, Any],
        arrays: Mapping[str, Array] | None = None,
        *,
        on_progress: ProgressCallback | None = None,
        on_part: PartCallback | None = None,
    ) -> EngineFuture:
        """Send a request and return at once; thread-safe.

        Args:
            fields: ``type`` names the operation; ``preview`` and ``preview_group`` mark what a
                newer request of the group replaces; the rest is the operation's.
            arrays: Not copied; leave them unchanged until the future is done.
            on_progress: Called with (done, total, text), on the reader thread.
            on_part: Called with each intermediate answer, on the reader thread. Callbacks
                must return soon; what one raises fails the future and cancels the request.

        Returns:
            A future that ends with an ``EngineResult`` or with an error of ``geo_sam2.errors``.

        Raises:
            ProtocolError: The request cannot travel.
        """
        future = EngineFuture(next(self._ids), self._send_cancel)
        frame = message_buffers(Message({**fields, "id": future.request_id}, dict(arrays or {})))
        with self._changing():
            error = self._refusal()
            if error is None:
                process = self._process or self._start()
                error = self._send(process, frame, _Pending(future, on_progress, on_part))
        if error is not None:
            future.set_exception(error)
        return future

    def start(self) -> EngineFuture:
        """Start the engine ahead of the first request, also after it failed; the result is its ``hello``."""
        self.allow_restart()
        return self.request({"type": "hello"})

    def allow_restart(self) -> None:
        """Forget the deaths that stopped the restarts; for the user's "Start again" button."""
        with self._changing():
            self._deaths.clear()
            if self._state is EngineState.FAILED:
                self._state = EngineState.STOPPED

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the engine within about ``timeout_s``; pending requests end as cancelled.

        The next request starts it again. Not to be called from a callback of the client.
        """
        with self._changing():
            process, pending = self._detach()
        for request in pending:
            request.future.set_result(EngineResult(Outcome.CANCELLED))
        if process is not None:
            process.stop(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the engine as ``stop`` does, and refuse all further requests."""
        with self._lock:
            self._is_closed = True
        self.stop(timeout_s)

    def _send_cancel(self, request_id: int) -> None:
        frame = message_buffers(Message({"type": "cancel", "id": request_id}))
        with self._lock:
            if request_id in self._pending and self._process is not None:
                self._process.send(frame, is_urgent=True)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, and tell of a new state after it is released, so that who is told may ask back."""
        with self._lock:
            before = self._state
            yield
            after = self._state
        if after is not before:
            self._call_back(self._on_state, after)

    def _call_back(self, callback: Callable[..., None] | None, *arguments: object) -> Exception | None:
        """Call a function of the user's and return what it raised, which must not end our thread."""
        if callback is not None:
            try:
                callback(*arguments)
            except Exception as error:  # noqa: BLE001  somebody else's code
                self._log.write(traceback.format_exc().encode("utf-8", errors="replace"))
                return error
        return None

    # With the lock held

    def _refusal(self) -> errors.GeoSam2Error | None:
        if self._is_closed:
            return errors.EngineError("The engine was closed.", "Run it again; what is done is kept.")
        if self._state is EngineState.FAILED and self._deaths.last is not None:
            return copy_error(self._deaths.last)
        return None

    def _start(self) -> EngineProcess:
        process = EngineProcess(self._command, self._log, self._receive, self._process_ended)
        self._process = process
        self._state = EngineState.STARTING
        process.start()
        threading.Thread(
            target=self._watch, args=(process,), name="geo_sam2 engine watch", daemon=True
        ).start()
        hello = EngineFuture(next(self._ids), self._send_cancel)
        hello.add_done_callback(lambda future: self._check_hello(process, future))
        frame = message_buffers(Message({"type": "hello", "id": hello.request_id}))
        self._send(process, frame, _Pending(hello, None, None))
        return process

    def _send(
        self, process: EngineProcess, frame: list[Buffer], pending: _Pending
    ) -> errors.GeoSam2Error | None:
        if not process.send(frame):
            return errors.EngineError(
                "Too many requests wait for the engine.", "Send fewer at once and wait for their answers."
            )
        self._pending[pending.future.request_id] = pending
        return None

    def _detach(self) -> tuple[EngineProcess | None, list[_Pending]]:
        """Give up the current process and return it with the requests that were pending on it."""
        process, pending = self._process, list(self._pending.values())
        self._process = None
        self._pending = {}
        if self._state is not EngineState.FAILED:
            self._state = EngineState.STOPPED
        return process, pending

    # Reader thread of the process

    def _receive(self, process: EngineProcess, message: Message) -> None:
        """Handle one message from the engine.

        Raises:
            ProtocolError: The message makes no sense.
        """
        kind = read_field(message.fields, "type", str)
        if kind == "error":
            answer: EngineResult | errors.GeoSam2Error | None = error_from(message.fields)
        else:
            answer = result_from(kind, message)
        pending = self._find_pending(process, message, is_last=answer is not None)
        if pending is not None:
            if isinstance(answer, errors.GeoSam2Error):
                pending.future.set_exception(answer)
            elif answer is not None:
                pending.future.set_result(answer)
            else:
                self._call_back_for(pending, kind, message)
        elif isinstance(answer, errors.GeoSam2Error) and message.fields.get("id") is None:
            # It could not tell which request it refuses, so one would wait for ever.
            self._give_up(process, answer)
        elif kind == "heartbeat":
            self._call_back(self._on_heartbeat, message.fields)
        elif kind == "ready":
            self._enter(process, EngineState.READY)
        elif kind == "idle":
            self._let_go(process)
        # Else the answer to a request whose callback failed.

    def _find_pending(self, process: EngineProcess, message: Message, is_last: bool) -> _Pending | None:
        """Return the request that a message belongs to; it is pending no more if the message is its last."""
        if message.fields.get("id") is None:
            return None
        request_id = read_field(message.fields, "id", int)
        with self._lock:
            if process is not self._process:
                return None
            return self._pending.pop(request_id, None) if is_last else self._pending.get(request_id)

    def _call_back_for(self, pending: _Pending, kind: str, message: Message) -> None:
        """Hand over progress or a part; a callback that fails ends its request."""
        error = None
        if kind == "progress":
            done, total = (read_field(message.fields, name, int) for name in ("done", "total"))
            error = self._call_back(pending.on_progress, done, total, read_field(message.fields, "text", str))
        elif kind == "part":
            error = self._call_back(pending.on_part, Message(own_fields(message), message.arrays))
        if error is not None:
            request_id = pending.future.request_id
            self._send_cancel(request_id)
            with self._lock:
                is_pending = self._pending.pop(request_id, None) is not None
            if is_pending:
                pending.future.set_exception(error)

    def _check_hello(self, process: EngineProcess, future: Future[EngineResult]) -> None:
        if future.exception() is not None or not future.result().is_done:
            return
        fields = future.result().fields
        if fields.get("protocol") == PROTOCOL_VERSION:
            self._enter(process, EngineState.LOADING)
            return
        self._give_up(
            process,
            errors.EngineError(
                f"The engine of Geo-SAM2 {fields.get('version')} does not fit this one.", "Restart QGIS."
            ),
        )

    def _enter(self, process: EngineProcess, state: EngineState) -> None:
        with self._changing():
            if process is self._process:
                self._state = state

    def _let_go(self, process: EngineProcess) -> None:
        """Let an idle engine end, unless a request is on its way to it."""
        with self._changing():
            if process is not self._process or self._pending:
                return
            self._detach()
        process.close_input()

    # Deaths: on the reader or the watch thread

    def _process_ended(self, process: EngineProcess, end: ProcessEnd) -> None:
        """Handle the end of a process, expected or not."""
        has_said_hello = self._state is not EngineState.STARTING
        self._bury(process, error_of_end(end, has_said_hello))

    def _give_up(self, process: EngineProcess, error: errors.GeoSam2Error) -> None:
        """End a process that is of no use any more."""
        self._bury(process, error)
        process.kill()

    def _bury(self, process: EngineProcess, error: errors.GeoSam2Error) -> None:
        """Fail what was pending on a process that died; without effect on one that was given up before."""
        with self._changing():
            if process is not self._process:
                return
            error.details = error.details or self._log.tail()
            # A missing or broken environment is no death: once it is repaired the next request works.
            is_final = not isinstance(error, errors.EnvironmentMissingError) and self._deaths.add(error)
            _, pending = self._detach()
            if is_final:
                self._state = EngineState.FAILED
        for request in pending:
            request.future.set_exception(copy_error(error))

    def _watch(self, process: EngineProcess) -> None:
        """Give up an engine that is silent while requests are pending; the body of a thread."""
        step_s = min(self._start_timeout_s, self._silence_timeout_s) / _STEPS_PER_TIMEOUT
        heard_bytes = -1
        silent_steps = 0
        while not process.has_ended.wait(step_s):
            bytes_read = process.bytes_read
            with self._lock:
                if process is not self._process:
                    return
                is_silent = bool(self._pending) and bytes_read == heard_bytes
                is_ready = self._state is EngineState.READY
            heard_bytes = bytes_read
            silent_steps = silent_steps + 1 if is_silent else 0
            # A request may have come at any time within the first of the silent steps.
            timeout_s = self._silence_timeout_s if is_ready else self._start_timeout_s
            if (silent_steps - 1) * step_s >= timeout_s:
                self._give_up(process, silence_error(timeout_s, is_ready))

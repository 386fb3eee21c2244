# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves requests from one pipe to another: who runs what on which thread.

The reader thread parses, answers ``hello``, handles ``cancel`` and ends the process at
the end of input, whatever the others are doing. The writer thread empties the outbox.
The watch thread sends heartbeats. The main thread imports the operations after the first
message and runs all handlers, so that all torch calls come from one thread.

Messages from the client (``id`` is a whole number, unique among the unanswered ones):

- ``{"type": "hello", "id"}``
- ``{"type": "cancel", "id"}`` with the id of the request to cancel; has no answer of its own
- ``{"type": <operation>, "id", ...}``, with ``"preview": true, "preview_group": <str>`` if it
  is to be dropped unseen when a newer one of the same group arrives before its turn

Messages to the client. Each request but "cancel" gets exactly one of the first four:

- ``{"type": "result", "id", ...}`` and the arrays of the handler's answer
- ``{"type": "error", "id", "error": <class>, "text", "hint", "details"}``; the id is null
  where the message that it answers had none that could be used; a ``DamagedTileError`` has the
  name of its ``file`` in the store as well, where that is known
- ``{"type": "cancelled", "id"}`` and ``{"type": "superseded", "id"}``
- ``{"type": "progress", "id", "done", "total", "text"}``
- ``{"type": "part", "id", ...}`` and arrays
- ``{"type": "ready", "operations": [...], "seconds"}`` once the operations are imported;
  requests may be sent before
- ``{"type": "heartbeat", "running": {"id", "type", "seconds"} | null, "waiting"}`` at a fixed
  interval while there is work
- ``{"type": "idle"}`` where an idle time was asked for and is over: close the pipe, or send
  a request
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import geo_sam2
from geo_sam2 import errors
from geo_sam2.engine.error_reply import environment_error, error_fields
from geo_sam2.engine.outbox import Outbox
from geo_sam2.engine.process_exit import EXIT_FAULT, EXIT_FRAMING, EXIT_OK, end_process
from geo_sam2.engine.protocol import (
    PROTOCOL_VERSION,
    FramingError,
    Message,
    MessageReader,
    message_buffers,
    read_field,
)
from geo_sam2.engine.request_queue import Request, RequestQueue
from geo_sam2.engine.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geo_sam2.engine.operation import Operations
    from geo_sam2.engine.protocol import Array, ReadableStream, WritableStream

LOG = logging.getLogger("geo_sam2.engine")

HEARTBEAT_INTERVAL_S = 2.0
# Answers wait here while the client is slow; beyond it a handler that sends parts is held back.
OUTBOX_MESSAGES = 256
OUTBOX_BYTES = 64 * 2**20
_FLUSH_TIMEOUT_S = 2.0
_MAX_ID = 2**53
_OWN_FIELDS = {"type", "id"}


def load_operations() -> Operations:
    """Import what the engine serves, torch and all."""
    operations: Operations = importlib.import_module("geo_sam2.engine.operations").create_operations()
    return operations


class Server:
    """One client's server.

    Args:
        input_stream: Where requests come from; raw, so that nothing waits for a full buffer.
        output_stream: Where answers go; raw likewise.
        load: Returns the operations; called once, on the main thread, after the first message.
        heartbeat_interval_s: Time between two signs of life while there is work.
        idle_timeout_s: Time without work after which the engine offers to end; None for never.
    """

    def __init__(
        self,
        input_stream: ReadableStream,
        output_stream: WritableStream,
        load: Callable[[], Operations] = load_operations,
        *,
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
        idle_timeout_s: float | None = None,
    ) -> None:
        self._reader = MessageReader(input_stream)
        self._output_stream = output_stream
        self._load = load
        self._outbox = Outbox(OUTBOX_MESSAGES, OUTBOX_BYTES)
        self._queue = RequestQueue()
        self._has_first_message = threading.Event()
        self._operations: Operations | None = None
        self._load_error: dict[str, Any] = {}
        self._watch = Watch(
            self._queue,
            self._reader,
            self._outbox,
            interval_s=heartbeat_interval_s,
            idle_timeout_s=idle_timeout_s,
            on_stall=self._end_for_framing,
            end=functools.partial(end_process, EXIT_OK),
        )

    def run(self) -> NoReturn:
        """Serve until the input ends; called on the main thread, never returns."""
        for name, body in (
            ("reader", self._read),
            ("writer", self._write),
            ("watch", self._watch.run),
        ):
            threading.Thread(target=_guarded, args=(body,), name=name, daemon=True).start()
        _guarded(self._serve)
        end_process(EXIT_FAULT)

    # Reader thread

    def _read(self) -> None:
        while self._read_one():
            self._has_first_message.set()
        end_process(EXIT_OK)

    def _read_one(self) -> bool:
        """Read and handle one message; False at the end of input.

        A function of its own, so that no name keeps a message alive while the next is waited for.
        """
        try:
            message = self._reader.read()
        except FramingError as error:
            self._end_for_framing(error)
        except errors.ProtocolError as error:
            self._send_urgent(error_fields(None, error))
            return True
        if message is None:
            return False
        request_id = None
        try:
            request_id = read_field(message.fields, "id", int)
            if not 0 <= request_id < _MAX_ID:
                request_id = None
                raise errors.ProtocolError("The id of a message is not between 0 and 2⁵³.")
            self._receive(message, request_id, read_field(message.fields, "type", str))
        except errors.GeoSam2Error as error:
            self._send_urgent(error_fields(request_id, error))
        return True

    def _receive(self, message: Message, request_id: int, kind: str) -> None:
        if kind == "hello":
            self._send_urgent({"type": "result", "id": request_id, **_describe_engine()})
            return
        if kind == "cancel":
            dropped = self._queue.cancel(request_id)
            if dropped is not None:
                self._send_urgent({"type": "cancelled", "id": dropped.id})
            return
        group = None
        if read_field(message.fields, "preview", bool, False):
            group = read_field(message.fields, "preview_group", str)
        for superseded in self._add(Request(request_id, kind, message, group)):
            self._send_urgent({"type": "superseded", "id": superseded.id})

    def _add(self, request: Request) -> list[Request]:
        try:
            return self._queue.add(request)
        except errors.ProtocolError as error:
            # With its id the client would take the refusal for the answer to the first request.
            self._send_urgent(error_fields(None, error))
            return []

    def _send_urgent(self, fields: dict[str, Any]) -> None:
        """Send a short answer without waiting: waiting, this thread would miss the end of input."""
        if not self._outbox.offer(message_buffers(Message(fields)), is_urgent=True):
            LOG.error("The client sends messages but does not read their answers.")
            end_process(EXIT_FRAMING)

    def _end_for_framing(self, error: errors.ProtocolError) -> NoReturn:
        LOG.error("%s", error)
        self._outbox.offer(message_buffers(Message(error_fields(None, error))), is_urgent=True)
        self._outbox.close()
        self._outbox.wait_until_written(_FLUSH_TIMEOUT_S)
        end_process(EXIT_FRAMING)

    # Writer thread

    def _write(self) -> None:
        try:
            self._outbox.write_to(self._output_stream)
        except OSError:  # the client is gone
            end_process(EXIT_OK)

    # Main thread

    def _serve(self) -> None:
        self._has_first_message.wait()
        self._import_operations()
        while True:
            self.serve(self._queue.take())

    def _import_operations(self) -> None:
        started = time.monotonic()
        names: list[str] = []
        with self._queue.activity("import"):
            try:
                self._operations = self._load()
                names = sorted(self._operations.handlers)
            except BaseException as error:  # noqa: BLE001  a broken library may raise anything
                LOG.exception("The operations could not be loaded.")
                self._load_error = error_fields(None, environment_error(error))
        self._queue.classify(self._is_interactive)
        ready = {"type": "ready", "operations": names, "seconds": round(time.monotonic() - started, 3)}
        self._outbox.put(message_buffers(Message(ready)))

    def _is_interactive(self, kind: str) -> bool:
        operation = self._operations.handlers.get(kind) if self._operations else None
        # What can only be refused need not wait for a tile.
        return operation is None or operation.is_interactive

    def serve(self, request: Request) -> None:
        """Run one request and send its answer; also called in the middle of another one."""
        with self._queue.activity(request.kind, request.id):
            try:
                frame = message_buffers(self._answer(request))
            except errors.CancelledError:
                frame = message_buffers(Message({"type": "cancelled", "id": request.id}))
            except BaseException as error:  # noqa: BLE001  the entry of a request, see engine.operation
                # The traceback of what has no sentence for the user goes to the log as well.
                has_sentence = isinstance(error, errors.GeoSam2Error)
                LOG.warning("Request %d (%s): %s", request.id, request.kind, error, exc_info=not has_sentence)
                frame = message_buffers(Message(error_fields(request.id, error)))
        self._queue.finish(request)
        self._outbox.put(frame)

    def serve_waiting(self) -> None:
        """Run the interactive requests that wait; called by the context of a background request."""
        while (request := self._queue.take_interactive()) is not None:
            self.serve(request)

    def _answer(self, request: Request) -> Message:
        if request.is_cancelled:
            raise errors.CancelledError("Cancelled.")
        if self._operations is None:
            return Message({**self._load_error, "id": request.id})
        operation = self._operations.handlers.get(request.kind)
        if operation is None:
            raise errors.ProtocolError(f"The engine knows no request “{request.kind[:80]}”.")
        answer = operation.handler(request.message, _Context(self, request))
        return _envelope("result", request.id, answer.fields, answer.arrays)

    def send(self, message: Message, can_be_dropped: bool) -> None:
        """Send a message of a running request, waiting for room unless it can be dropped."""
        frame = message_buffers(message)
        if can_be_dropped:
            self._outbox.offer(frame)
        else:
            self._outbox.put(frame)


class _Context:
    """The ``RequestContext`` of one request; see there."""

    def __init__(self, server: Server, request: Request) -> None:
        self._server = server
        self._request = request

    @property
    def id(self) -> int:
        return self._request.id

    def check_cancelled(self) -> None:
        if self._request.is_cancelled:
            raise errors.CancelledError("Cancelled.")

    def progress(self, done: int, total: int, text: str = "") -> None:
        fields = {"type": "progress", "id": self.id, "done": done, "total": total, "text": text}
        self._server.send(Message(fields), can_be_dropped=True)

    def send_part(self, fields: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        self._server.send(_envelope("part", self.id, fields, arrays or {}), can_be_dropped=False)

    def serve_waiting(self) -> None:
        if not self._request.is_interactive:
            self._server.serve_waiting()
        self.check_cancelled()


def _envelope(kind: str, request_id: int, fields: Mapping[str, Any], arrays: Mapping[str, Array]) -> Message:
    if not _OWN_FIELDS.isdisjoint(fields):
        raise errors.EngineError("An answer has a field “type” or “id”, which are the server's.")
    return Message({"type": kind, "id": request_id, **fields}, dict(arrays))


def _describe_engine() -> dict[str, Any]:
    return {
        "protocol": PROTOCOL_VERSION,
        "version": geo_sam2.__version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "pid": os.getpid(),
    }


def _guarded(body: Callable[[], None]) -> None:
    """Run the body of a thread; a fault of the server itself ends the process with a traceback."""
    try:
        body()
    except BaseException:  # noqa: BLE001  without this thread the client would wait for ever
        LOG.critical("The engine has a fault.", exc_info=True)
        end_process(EXIT_FAULT)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between the server and what it serves.

The server (``geo_sam2.engine.server``) knows pipes, ids, order and cancel, and nothing
of models. ``geo_sam2.engine.operations`` knows models and nothing of pipes; the server
imports it on the main thread after ``hello`` and calls its ``create_operations()`` once::

    def create_operations() -> Operations:
        return Operations({
            "encode": Operation(encode),
            "decode": Operation(decode, is_interactive=True),
        })

A handler gets the request as a ``Message`` whose ``fields`` are those that the client
sent, ``type`` and ``id`` among them, and returns a ``Message`` with fields of its own
choice (``type`` and ``id`` are the server's). All handlers run on the main thread, one
at a time, so they may share state without locks; ``serve_waiting`` is the only place
where another handler runs in the middle of one.

What a handler raises becomes the answer: a ``GeoSam2Error`` as itself with text, hint
and details; ``CancelledError`` as the outcome "cancelled"; ``MemoryError`` as
``DeviceMemoryError``; anything else, ``SystemExit`` too, as ``EngineError`` with the
traceback in its details and in the log. The engine lives on in all cases.

Returned and sent arrays are written by another thread without a copy: a handler must
not change them afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geo_sam2.engine.protocol import Array, Message


class RequestContext(Protocol):
    """What a handler may ask of the server while it works; main thread only."""

    @property
    def id(self) -> int:
        """Return the id of the request."""

    def check_cancelled(self) -> None:
        """Raise ``CancelledError`` if the client has cancelled this request; costs well under 1 µs."""

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Report ``done`` of ``total`` steps; never waits, and is dropped if the client does not read."""

    def send_part(self, fields: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        """Send an intermediate answer with the id of this request; waits while the client lags behind."""

    def serve_waiting(self) -> None:
        """Run the interactive requests that wait, oldest first, then check for cancel.

        Called by background operations between costly steps (trunk blocks, decoder
        batches). Inside an interactive operation it only checks for cancel. Costs
        about 1 µs when nothing waits. Errors of the requests served go to their own
        clients, never to the caller.
        """


# mypy reads this as a type; at run time nothing of the protocol need be imported for it.
if TYPE_CHECKING:
    Handler = Callable[[Message, RequestContext], Message]


@dataclass(frozen=True)
class Operation:
    """One kind of request.

    Args:
        handler: Called as ``handler(message, context)``; returns the answer.
        is_interactive: True where a person waits for milliseconds (decode): it overtakes
            waiting background requests and is served in the middle of running ones.
    """

    handler: Handler
    is_interactive: bool = False


@dataclass(frozen=True)
class Operations:
    """All operations by the ``type`` of their requests; "hello" and "cancel" are the server's own."""

    handlers: Mapping[str, Operation]

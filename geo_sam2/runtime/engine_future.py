# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client of the engine holds while it waits, what it gets, and how messages become that."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from geo_sam2 import errors
from geo_sam2.engine.protocol import Array, Message, read_field


class Outcome(enum.Enum):
    """How a request ended that did not fail; the values are the types of the engine's answers."""

    DONE = "result"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class EngineResult:
    """The answer to a request.

    Being cancelled and being superseded by a newer preview are ordinary outcomes: look at
    ``outcome`` before reading fields. Failures are exceptions of ``geo_sam2.errors``.

    Args:
        outcome: Whether the request was carried out.
        fields: What the operation answered; empty unless the outcome is ``DONE``.
        arrays: Its arrays; C-contiguous, writable, owned by the receiver.
    """

    outcome: Outcome
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Return whether the request was carried out."""
        return self.outcome is Outcome.DONE


class EngineFuture(Future[EngineResult]):
    """The future ``EngineResult`` of one request.

    It counts as running from the start, so ``cancel()`` of the base class returns False and
    does nothing; use ``cancel_request``. Callbacks run on a thread of the client and must
    return soon; they may send requests but not close the client.

    Args:
        request_id: The number of the request.
        send_cancel: Called with it to tell the engine.
    """

    def __init__(self, request_id: int, send_cancel: Callable[[int], None]) -> None:
        super().__init__()
        self.request_id = request_id
        self._send_cancel = send_cancel
        self.set_running_or_notify_cancel()

    def cancel_request(self) -> None:
        """Ask the engine to drop the request or to stop it at the next occasion; returns at once.

        The future then ends as ``Outcome.CANCELLED``, or as ``DONE`` where the answer was
        on its way already.
        """
        self._send_cancel(self.request_id)


def own_fields(message: Message) -> dict[str, Any]:
    """Return the fields that the operation put in."""
    return {name: value for name, value in message.fields.items() if name not in ("type", "id")}


def result_from(kind: str, message: Message) -> EngineResult | None:
    """Return the result that a message brings, or None if it brings something else."""
    try:
        outcome = Outcome(kind)
    except ValueError:
        return None
    return EngineResult(outcome, own_fields(message), message.arrays)


def error_from(fields: Mapping[str, Any]) -> errors.GeoSam2Error:
    """Rebuild the error of an error message.

    Raises:
        ProtocolError: The message lacks a part of it.
    """
    name, text, hint, details = (read_field(fields, key, str) for key in ("error", "text", "hint", "details"))
    error = errors.error_from_name(name, text, hint)
    error.details = details
    if isinstance(error, errors.DamagedTileError):
        error.file = read_field(fields, "file", str, "")
    return error

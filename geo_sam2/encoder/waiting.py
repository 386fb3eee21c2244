# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait in short steps, so that a cancel is seen within a tenth of a second.

For threads without an event loop (Processing's, scripts'); nothing here runs one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from geo_sam2.error_frames import let_go
from geo_sam2.errors import CancelledError
from geo_sam2.runtime.engine_future import EngineFuture, EngineResult

IsCancelled = Callable[[], bool]

STEP_S = 0.1

_T = TypeVar("_T")


def check(is_cancelled: IsCancelled) -> None:
    """Raise CancelledError if the user wants no more."""
    if is_cancelled():
        raise CancelledError("It was cancelled.", "Run it again to go on.")


def result_of(future: Future[_T], is_cancelled: IsCancelled) -> _T:
    """Return the result of a future, or raise what it raised.

    Raises:
        CancelledError: The user cancelled first.
    """
    while True:
        try:
            return future.result(timeout=STEP_S)
        except FutureTimeoutError:
            # On Python 3.11 this is the builtin TimeoutError, which the work itself may raise too.
            if future.done():
                return future.result()
            check(is_cancelled)


def answer_of(future: EngineFuture, is_cancelled: IsCancelled) -> EngineResult:
    """Return the answer to a request that was carried out; cancels the request if the user cancels.

    Raises:
        CancelledError: The user cancelled, or the request was cancelled on its way.
    """
    try:
        result = result_of(future, is_cancelled)
    except CancelledError:
        future.cancel_request()
        raise
    if not result.is_done:
        raise CancelledError("The engine was stopped.", "Run it again to go on.")
    return result


def in_background(work: Callable[[], _T], name: str) -> Future[_T]:
    """Run something on a thread of its own that ends with the process, and return its future.

    For calls that cannot be interrupted: who waits for it may go away, the thread ends by itself.
    """
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()

    def body() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  the entry of a thread; raised again by the future
            let_go(error)
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=body, name=f"geo_sam2 {name}", daemon=True).start()
    return future

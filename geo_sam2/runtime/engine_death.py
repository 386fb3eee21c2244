# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user is told about an engine that died, and when it may start again."""

from __future__ import annotations

import time
from collections import deque

from geo_sam2 import errors
from geo_sam2.runtime.engine_process import ProcessEnd
from geo_sam2.runtime.process_end import describe_end

_REPAIR_HINT = "Repair or reinstall it in the settings of Geo-SAM2."


def error_of_end(end: ProcessEnd, has_said_hello: bool) -> errors.GeoSam2Error:
    """Return the error for a process that ended while it was not asked to."""
    if end.start_error is not None:
        return errors.EnvironmentMissingError(
            f"The engine's Python could not be started: {end.start_error}.", _REPAIR_HINT
        )
    if end.protocol_error is not None:
        return errors.ProtocolError(
            f"The engine sent what cannot be read: {end.protocol_error.text}",
            "Restart QGIS if Geo-SAM2 was upgraded.",
        )
    exit_code = end.exit_code or 0
    sentence, hint = describe_end(exit_code)
    if not has_said_hello and 0 < exit_code < 128:
        # Python itself refused: no such module, wrong version, damaged files.
        return errors.EnvironmentMissingError(
            f"The engine's environment cannot be used. {sentence}", _REPAIR_HINT
        )
    return errors.EngineDiedError(sentence, hint)


def silence_error(timeout_s: float, is_ready: bool) -> errors.EngineTimeoutError:
    """Return the error for an engine that was given up because nothing was heard of it."""
    if is_ready:
        return errors.EngineTimeoutError(
            f"The engine gave no sign of life for {timeout_s:.0f} s and was stopped."
        )
    return errors.EngineTimeoutError(
        f"The engine did not start within {timeout_s:.0f} s.",
        "A virus scanner may hold it up; repair the environment in the settings if this stays so.",
    )


def copy_error(error: errors.GeoSam2Error) -> errors.GeoSam2Error:
    """Return an equal error: one raised by several futures would collect their tracebacks."""
    copy = type(error)(error.text, error.hint)
    copy.details = error.details
    return copy


class DeathRecord:
    """Counts deaths: two within a short time, and the engine is not started again by itself.

    Not thread-safe.

    Args:
        window_s: The short time.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=2)
        self.last: errors.GeoSam2Error | None = None

    def add(self, error: errors.GeoSam2Error) -> bool:
        """Count a death, say in the error's hint what follows, and return whether restarts stop."""
        self._times.append(time.monotonic())
        is_final = len(self._times) == 2 and self._times[1] - self._times[0] <= self._window_s
        follows = "It is not started again by itself." if is_final else "The next request starts it again."
        error.hint = f"{error.hint} {follows}".strip()
        self.last = error
        return is_final

    def clear(self) -> None:
        """Forget all deaths."""
        self._times.clear()
        self.last = None

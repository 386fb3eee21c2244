# SPDX-License-Identifier: GPL-3.0-or-later
"""Exceptions of the engine as fields of an answer, with a sentence for the person."""

from __future__ import annotations

import traceback
from typing import Any

from geo_sam2 import errors

_MAX_TEXT = 300
_MAX_DETAILS = 64 * 1024


def environment_error(error: BaseException) -> BaseException:
    """Return what is told when the operations cannot be imported."""
    if isinstance(error, errors.GeoSam2Error):
        return error
    wrapped = errors.EnvironmentMissingError(
        f"The engine's environment cannot be used: {_first_line(error)}.",
        "Repair or reinstall it in the settings of Geo-SAM2.",
    )
    wrapped.__cause__ = error
    return wrapped


def _as_known_error(error: BaseException) -> errors.GeoSam2Error:
    """Return what a user is told about an exception."""
    if isinstance(error, errors.GeoSam2Error):
        return error
    if isinstance(error, MemoryError):
        return errors.DeviceMemoryError(
            "The engine ran out of memory.", "Close other programs, or choose a smaller model."
        )
    return errors.EngineError(
        f"The engine failed: {_first_line(error)}.", "The log of the engine has the details."
    )


def error_fields(request_id: int | None, error: BaseException) -> dict[str, Any]:
    """Return the fields of the error message that answers a request; the id is None if it has none."""
    known = _as_known_error(error)
    # The client rebuilds the error by its name, so it is one of the common tree, not a subclass of ours.
    name = next(cls.__name__ for cls in type(known).__mro__ if cls.__module__ == errors.__name__)
    details = known.details or "".join(traceback.format_exception(type(error), error, error.__traceback__))
    fields: dict[str, Any] = {
        "type": "error",
        "id": request_id,
        "error": name,
        "text": known.text,
        "hint": known.hint,
        "details": details[-_MAX_DETAILS:],
    }
    if isinstance(known, errors.DamagedTileError) and known.file:
        fields["file"] = known.file
    return fields


def _first_line(error: BaseException) -> str:
    """Return the class and the first line of the text; also for errors whose text cannot be made."""
    lines = "".join(traceback.format_exception_only(type(error), error)).splitlines()
    # A SyntaxError begins with the place, indented.
    first = next((line for line in lines if not line.startswith(" ")), type(error).__name__)
    return first[:_MAX_TEXT].rstrip(".: ")

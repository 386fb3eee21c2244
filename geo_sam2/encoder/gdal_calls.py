# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls into GDAL whose failures come back as values, whatever the process has switched on.

QGIS, its plugins and Python consoles share one GDAL. ``gdal.UseExceptions`` would change how
it fails for all of them, so it is never called here: both ways of failing are understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from osgeo import gdal


@contextmanager
def gdal_messages() -> Iterator[list[str]]:
    """Collect what GDAL complains about on this thread instead of printing it."""
    messages: list[str] = []

    def keep(severity: int, _number: int, text: str) -> None:
        if severity >= gdal.CE_Failure:
            messages.append(text)

    gdal.PushErrorHandler(keep)
    try:
        yield messages
    finally:
        gdal.PopErrorHandler()


def ask(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, str]:
    """Call a function of GDAL.

    Returns:
        Its result, None when it failed by an exception; and GDAL's last complaint, if any.
    """
    with gdal_messages() as messages:
        try:
            result = function(*args, **options)
        except RuntimeError as error:
            return None, str(error)
    return result, messages[-1] if messages else ""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the exceptions that nobody caught, which QGIS would show in a box and forget."""

from __future__ import annotations

import sys
import threading
import traceback

from qgis.core import Qgis, QgsApplication

_tracebacks: list[str] = []


def watch() -> None:
    """Note exceptions of slots and of threads, and Python errors that QGIS catches itself."""
    usual = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: object) -> None:
        _tracebacks.append("".join(traceback.format_exception(kind, error, trace)))
        usual(kind, error, trace)

    sys.excepthook = note
    threading.excepthook = lambda facts: note(facts.exc_type, facts.exc_value, facts.exc_traceback)
    QgsApplication.messageLog().messageReceived[str, str, Qgis.MessageLevel].connect(_message)


def _message(text: str, tag: str, level: Qgis.MessageLevel) -> None:
    if level == Qgis.MessageLevel.Critical and "Traceback" in text:
        _tracebacks.append(f"{tag}: {text}")


def tracebacks() -> list[str]:
    """Return what has gone wrong so far."""
    return list(_tracebacks)

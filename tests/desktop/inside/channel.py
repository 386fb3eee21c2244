# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the channel that lies in QGIS: calls functions by name on the thread of the widgets.

A line of JSON asks, ``{"function": "module:name", "arguments": {…}}``; a line answers, ``{"value": …}``
or ``{"error": traceback}``. A question is answered while a modal box is open, too: its event loop
serves the socket as well.
"""

from __future__ import annotations

import importlib
import json
import traceback

from qgis.PyQt.QtNetwork import QLocalServer

_open: list[QLocalServer] = []


def open_at(path: str) -> None:
    """Listen on a socket at a path until QGIS ends.

    Raises:
        RuntimeError: Nothing can be listened to there.
    """
    server = QLocalServer()
    server.newConnection.connect(lambda: _serve(server.nextPendingConnection()))
    if not server.listen(path):
        raise RuntimeError(server.errorString())
    _open.append(server)


def _serve(socket: object) -> None:
    socket.readyRead.connect(lambda: _answer(socket))


def _answer(socket: object) -> None:
    while socket.canReadLine():
        socket.write(_answer_to(**json.loads(bytes(socket.readLine()))) + b"\n")
        socket.flush()


def _answer_to(function: str, arguments: dict[str, object]) -> bytes:
    module, _, name = function.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(**arguments)
        return json.dumps({"value": value}).encode()
    except Exception:  # noqa: BLE001  # whoever asked gets it
        return json.dumps({"error": traceback.format_exc()}).encode()

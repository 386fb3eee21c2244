# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the channel that lies in QGIS: calls functions by name on the thread of the widgets.

A line of JSON asks, ``{"function": "module:name", "arguments": {…}}``; a line answers, ``{"value": …}``
or ``{"error": traceback}``. A thread waits for questions, so that nothing of Qt's own sockets is
needed; a question is answered while a modal box is open, too.
"""

from __future__ import annotations

import importlib
import json
import queue
import socket
import threading
import traceback

from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal

_open: list[Channel] = []


class Channel(QObject):
    """Serves one client.

    Args:
        path: Of the socket to listen on.
    """

    asked = pyqtSignal(str)

    def __init__(self, path: str) -> None:
        super().__init__()
        self._answers: queue.Queue[bytes] = queue.Queue()
        # From the thread that waits to that of the widgets.
        self.asked.connect(self._answer, Qt.ConnectionType.QueuedConnection)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        threading.Thread(target=self._serve, name="tests-channel", daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                self.asked.emit(line.decode())
                connection.sendall(self._answers.get() + b"\n")

    def _answer(self, question: str) -> None:
        self._answers.put(_answer_to(**json.loads(question)))


def open_at(path: str) -> None:
    """Listen on a socket at a path until QGIS ends."""
    _open.append(Channel(path))


def _answer_to(function: str, arguments: dict[str, object]) -> bytes:
    module, _, name = function.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(**arguments)
        return json.dumps({"value": value}).encode()
    except Exception:  # noqa: BLE001  # whoever asked gets it
        return json.dumps({"error": traceback.format_exc()}).encode()

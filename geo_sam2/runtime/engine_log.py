# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's log: a bounded file that is kept between starts, and its tail.

The engine's standard error is a pipe that one thread reads, so that neither a chatty
library nor a crash loop fills the disk and the last lines are at hand when the engine
dies, even where the file could not be written.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import threading
from pathlib import Path
from typing import BinaryIO

MAX_FILE_BYTES = 2**20
TAIL_BYTES = 8 * 2**10


class EngineLog:
    """Appends to ``path``; when full the file moves to ``<path>.1`` and a new one begins.

    What cannot be written is left out: a full disk must not end the engine. Thread-safe.
    """

    def __init__(self, path: Path, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path
        self._max_file_bytes = max_file_bytes
        self._lock = threading.Lock()
        self._tail = b""

    def begin(self, title: str) -> None:
        """Write a dated line that separates this start from the last, and empty the tail."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        with self._lock:
            self._tail = b""
            self._append(f"--- {now} {title}\n".encode())

    def write(self, chunk: bytes) -> None:
        """Append what the engine printed."""
        with self._lock:
            self._tail = (self._tail + chunk)[-TAIL_BYTES:]
            self._append(chunk)

    def copy_from(self, stream: BinaryIO | io.FileIO) -> None:
        """Append all that comes from a raw stream until it ends; the body of a thread."""
        while chunk := stream.read(64 * 1024):
            self.write(chunk)

    def tail(self) -> str:
        """Return the last lines since ``begin``."""
        with self._lock:
            tail = self._tail
        if len(tail) == TAIL_BYTES:
            tail = tail.partition(b"\n")[2] or tail  # the first line is a rest of one
        return tail.decode("utf-8", errors="replace").replace("\r\n", "\n")

    def _append(self, chunk: bytes) -> None:
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size + len(chunk) > self._max_file_bytes:
                self._rotate()
            with self.path.open("ab") as file:
                file.write(chunk)

    def _rotate(self) -> None:
        try:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        except OSError:
            # Windows, while another QGIS has the file open or it is shown in an editor.
            self.path.write_bytes(b"")

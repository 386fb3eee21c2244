# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring what was written to a file onto the disk without holding up the thread that writes.

What has been handed to the system survives the end of the process at once; that it survives the end
of the machine takes the disk some ten milliseconds, which a hand would feel. Standard library only.
"""

from __future__ import annotations

import os
import threading


class LateFlush:
    """Flushes one open file on a thread of its own; several wishes meanwhile are one.

    Args:
        descriptor: Of the file; it must stay open until ``close`` has returned.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._is_wanted = self._is_ended = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="geo_sam2 journal", daemon=True)
        self._thread.start()

    def want(self) -> None:
        """Have all that was written so far flushed soon.

        Raises:
            OSError: A flush before this one failed; said once.
        """
        with self._changed:
            self._is_wanted = True
            self._changed.notify()
            error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Flush what is still wanted, and end the thread; waits for the disk once at most."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted or self._is_ended)
                if not self._is_wanted:
                    return
                self._is_wanted = False
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                with self._changed:
                    self._error = error

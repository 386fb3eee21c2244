# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate between a test and another process: who waits where is known, nothing sleeps."""

from __future__ import annotations

import contextlib
import socket

# Only reached by a test that fails.
PATIENCE_S = 30.0


class Gate:
    """A local socket at which another process stops until the test lets it go on."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(PATIENCE_S)
        self._connection = None
        self.port = self._server.getsockname()[1]

    def wait_until_reached(self):
        connection, _ = self._server.accept()
        if self._connection is not None:
            self._connection.close()
        self._connection = connection
        self._connection.settimeout(PATIENCE_S)

    def is_reached(self):
        """Return whether somebody stands at the gate already."""
        self._server.settimeout(0)
        try:
            self.wait_until_reached()
        except BlockingIOError:
            return False
        finally:
            self._server.settimeout(PATIENCE_S)
        return True

    def open(self):
        """Let who waits go on."""
        self._connection.sendall(b"!")

    def wait_until_gone(self):
        """Wait until the process at the gate has ended; the gate is never opened for it."""
        with contextlib.suppress(ConnectionResetError):  # ended by force
            assert self._connection.recv(1) == b""

    def close(self):
        self._server.close()
        if self._connection is not None:
            self._connection.close()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake engine without a client: bytes in, messages out."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from pathlib import Path

from gates import PATIENCE_S

from geo_sam2.engine.protocol import Message, MessageReader, message_buffers
from geo_sam2.runtime.engine_command import engine_command

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")
FAST_HEARTBEAT = ("--heartbeat", "0.05")


def fake_engine_command(environ=None, options=FAST_HEARTBEAT, **more):
    """Return the command that starts the fake engine on the Python of the tests."""
    return engine_command(
        Path(sys.executable), launcher=FAKE_ENGINE, options=tuple(options), environ=environ or {}, **more
    )


def frame(fields, arrays=None):
    return b"".join(message_buffers(Message(fields, arrays or {})))


class RawEngine:
    """A fake engine process whose messages are collected in order."""

    def __init__(self, environ=None, options=()):
        command = fake_engine_command(environ, options)
        self.process = subprocess.Popen(
            command.arguments,
            env=command.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._messages = queue.Queue()
        self.log = b""
        self._threads = [threading.Thread(target=body) for body in (self._read, self._read_log)]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def _read(self):
        reader = MessageReader(self.process.stdout)
        while (message := reader.read()) is not None:
            self._messages.put(message)
        self._messages.put(None)

    def _read_log(self):
        while chunk := self.process.stderr.read(65536):
            self.log += chunk

    def send(self, fields, arrays=None):
        self.send_bytes(frame(fields, arrays))

    def send_bytes(self, raw):
        view = memoryview(raw)
        while len(view):
            view = view[self.process.stdin.write(view) :]

    def end_input(self):
        self.process.stdin.close()

    def receive(self, *kinds):
        """Return the next message, of one of the given types if there are any; None at the end."""
        while True:
            message = self._messages.get(timeout=PATIENCE_S)
            if message is None or not kinds or message.fields["type"] in kinds:
                return message

    def receive_rest(self):
        """Return all messages up to the end of the output."""
        messages = []
        while (message := self.receive()) is not None:
            messages.append(message)
        return messages

    def wait(self):
        """Wait for the end of the process and return its exit code."""
        return self.process.wait(PATIENCE_S)

# SPDX-License-Identifier: GPL-3.0-or-later
"""One engine process: its pipes, the threads on them, and its end.

Knows how to send frames and hand over messages, not what they mean. The thread that
writes also starts the process, since that can take seconds under a virus scanner.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from geo_sam2.engine.outbox import Outbox
from geo_sam2.engine.protocol import Buffer, Message, MessageReader
from geo_sam2.errors import ProtocolError
from geo_sam2.runtime.engine_command import EngineCommand
from geo_sam2.runtime.engine_log import EngineLog

# Requests wait here while the engine does not read; a caller that is further ahead is refused.
OUTBOX_MESSAGES = 1024
OUTBOX_BYTES = 512 * 2**20
# From the end of its output to the end of the process; from the process's end to its last log line.
_EXIT_TIMEOUT_S = 5.0
_LOG_TIMEOUT_S = 1.0
# After a kill: the system may need a moment to take back gigabytes.
_KILL_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class ProcessEnd:
    """How a process ended.

    Args:
        exit_code: ``Popen.returncode``; None if it never started or cannot be ended.
        start_error: Why it could not be started.
        protocol_error: What was wrong with its output, if it was ended for that.
    """

    exit_code: int | None = None
    start_error: OSError | None = None
    protocol_error: ProtocolError | None = None


class EngineProcess:
    """A child process that speaks the protocol on its standard input and output.

    Args:
        command: What to start.
        log: Takes its standard error.
        on_message: Called on the reader thread with each message; ends the process by raising.
        on_end: Called once, on some thread, when the process has ended. Frames are taken
            until it returns.
    """

    def __init__(
        self,
        command: EngineCommand,
        log: EngineLog,
        on_message: Callable[[EngineProcess, Message], None],
        on_end: Callable[[EngineProcess, ProcessEnd], None],
    ) -> None:
        self._command = command
        self._log = log
        self._on_message = on_message
        self._on_end = on_end
        self._outbox = Outbox(OUTBOX_MESSAGES, OUTBOX_BYTES)
        self._popen: subprocess.Popen[bytes] | None = None
        self._reader: MessageReader | None = None
        self.has_ended = threading.Event()

    @property
    def bytes_read(self) -> int:
        """Return the number of bytes of output seen so far: a sign of life when it grows."""
        return self._reader.bytes_read if self._reader else 0

    def start(self) -> None:
        """Start the process in the background."""
        self._start_thread("writer", self._run)

    def send(self, frame: Sequence[Buffer], is_urgent: bool = False) -> bool:
        """Queue a frame and return at once; False if too much waits already."""
        return self._outbox.offer(frame, is_urgent)

    def close_input(self) -> None:
        """Close its standard input, which ends it, once the frame that is being written is through."""
        self._outbox.close(discard=True)

    def stop(self, timeout_s: float) -> None:
        """Close its input, wait for its end, and kill it after ``timeout_s``; bounded in any case."""
        self.close_input()
        if not self.has_ended.wait(timeout_s):
            self.kill()
            self.has_ended.wait(_KILL_TIMEOUT_S)

    def kill(self) -> None:
        """End the process by force; returns at once."""
        self.close_input()
        if self._popen is not None:  # else it is not started yet and will find its input closed
            self._popen.kill()

    def _start_thread(self, name: str, body: Callable[..., None], *arguments: object) -> threading.Thread:
        # Daemons: an interpreter that ends without close() must not wait for the engine, which
        # ends itself when the pipes close.
        thread = threading.Thread(target=body, args=arguments, name=f"geo_sam2 engine {name}", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        command = self._command
        self._log.begin(" ".join(command.arguments))
        try:
            popen = subprocess.Popen(  # noqa: S603  the user's own interpreter, no shell
                command.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                close_fds=True,
                env=dict(command.environment),
                cwd=command.working_folder,
                creationflags=command.creation_flags,
                start_new_session=command.has_own_session,
            )
        except OSError as error:
            self._finish(ProcessEnd(start_error=error))
            return
        # bufsize=0 makes the pipes raw files
        stdin, stdout, stderr = (cast(io.FileIO, pipe) for pipe in (popen.stdin, popen.stdout, popen.stderr))
        self._reader = MessageReader(stdout)
        self._popen = popen
        log_thread = self._start_thread("log", self._copy_log, stderr)
        self._start_thread("reader", self._read, popen, self._reader, log_thread)
        with contextlib.suppress(OSError):  # the process is gone; the reader finds out why
            self._outbox.write_to(stdin)
        with contextlib.suppress(OSError):
            stdin.close()

    def _read(
        self, popen: subprocess.Popen[bytes], reader: MessageReader, log_thread: threading.Thread
    ) -> None:
        protocol_error = None
        try:
            while self._read_one(reader):
                pass
        except ProtocolError as error:
            protocol_error = error
            popen.kill()
        except Exception as error:  # noqa: BLE001  the entry of a thread without which all would wait for ever
            protocol_error = ProtocolError(f"{type(error).__name__}: {error}.")
            popen.kill()
        try:
            popen.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # it closed its output and lives on
            popen.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                popen.wait(_KILL_TIMEOUT_S)
        if popen.stdout is not None:
            popen.stdout.close()
        log_thread.join(_LOG_TIMEOUT_S)
        self._finish(ProcessEnd(popen.returncode, protocol_error=protocol_error))

    def _copy_log(self, stderr: io.FileIO) -> None:
        with stderr:
            self._log.copy_from(stderr)

    def _read_one(self, reader: MessageReader) -> bool:
        """Read and hand over one message; the name must not keep it alive while the next is waited for."""
        message = reader.read()
        if message is None:
            return False
        self._on_message(self, message)
        return True

    def _finish(self, end: ProcessEnd) -> None:
        self._on_end(self, end)
        self._outbox.close(discard=True)
        self.has_ended.set()

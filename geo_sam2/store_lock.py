# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a store's one writer, which ends with its holder however the holder ends.

The operating system locks ``writer.lock``; what stands in it tells others who that is:
computer, process, when that process started and when the lock was taken. The text matters only
where the system's lock cannot decide: on file systems without locks, and on those that do not
tell other computers.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from geo_sam2.errors import GeoSam2Error, StoreError, StoreLockedError
from geo_sam2.json_record import JsonRecord
from geo_sam2.store_manifest import LOCK_NAME, inside, no_store
from geo_sam2.store_process import process_start

# What file systems without locks (some network drives) answer.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
# Windows keeps others from reading what is locked, so the lock lies far behind the text.
_LOCKED_BYTE = 1 << 30
_MAX_TEXT_BYTES = 4096
# A writer on another computer touches the file with every batch; none takes this long.
_FOREIGN_STALE_S = 1800.0


@dataclass(frozen=True)
class LockHolder(JsonRecord):
    """Who writes to a store.

    Attributes:
        host: Name of the computer.
        pid: Of the process.
        process_start: When the process started, as its system counts; tells a process from a
            later one of the same number. Empty where that is not known.
        taken_at: When the lock was taken, UTC.
    """

    host: str
    pid: int
    process_start: str
    taken_at: str

    @classmethod
    def this_process(cls) -> LockHolder:
        """Return this process as the holder, from now on."""
        taken_at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        return cls(socket.gethostname(), os.getpid(), process_start(os.getpid()) or "", taken_at)

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs, as far as this computer can know."""
        if self.host != socket.gethostname():
            return True
        start = process_start(self.pid)
        return start is not None and (not self.process_start or start == self.process_start)

    def in_words(self) -> str:
        """Name the holder for a sentence."""
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"process {self.pid}{where}, since {self.taken_at} UTC"


class WriterLock:
    """The lock of one store; use as a context manager, one thread at a time.

    Args:
        folder: The store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: FileIO | None = None

    def __enter__(self) -> WriterLock:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> None:
        """Take the lock; at once or not at all.

        Raises:
            StoreLockedError: Another process has it, or another writer of this one.
            StoreError: The folder cannot be written.
        """
        path = inside(self._folder, LOCK_NAME)
        while self._stream is None:
            stream = _open(path)
            try:
                self._decide(stream)
                # Somebody may have deleted the file between opening and locking: that lock is nobody's.
                if _is_same_file(stream, path):
                    _write(stream, LockHolder.this_process())
                    self._stream = stream
            finally:
                if self._stream is not stream:
                    stream.close()

    def touch(self) -> None:
        """Show other computers that the writer is at work."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                os.utime(self._folder / LOCK_NAME)

    def release(self) -> None:
        """Give the lock back. The file stays, empty: deleting it would let two processes lock two files."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.truncate(0)
            stream.close()

    def _decide(self, stream: FileIO) -> None:
        """Raise StoreLockedError unless the lock is ours now; what a dead holder left does not count."""
        is_locked = _lock(stream)
        holder = _read(stream)
        if is_locked is False:
            raise self._refusal(holder)
        if holder is None:
            return
        if holder.host != socket.gethostname():
            age_s = time.time() - os.fstat(stream.fileno()).st_mtime
            if age_s < _FOREIGN_STALE_S:
                raise self._refusal(holder)
        elif is_locked is None and holder.is_alive:
            raise self._refusal(holder)

    def _refusal(self, holder: LockHolder | None) -> StoreLockedError:
        who = holder.in_words() if holder else "another process"
        hint = "Wait until it ends, or cancel it there."
        if holder and holder.host != socket.gethostname():
            hint = f"Wait until it ends; if it no longer runs, delete {self._folder / LOCK_NAME}."
        return StoreLockedError(f"The store {self._folder} is being written by {who}.", hint)


def _open(path: Path) -> FileIO:
    try:
        # Without a buffer, so that closing writes nothing and cannot fail on a full disk.
        return path.open("ab+", buffering=0)
    except FileNotFoundError as error:
        raise no_store(path.parent) from error
    except OSError as error:
        raise StoreError(
            f"The store {path.parent} cannot be written: {error.strerror or error}.",
            "Copy it to a folder that can be written, or encode into another one.",
        ) from error


def _lock(stream: FileIO) -> bool | None:
    """Lock a file; False when somebody else holds it, None where files cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(_LOCKED_BYTE)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _NO_LOCKS and sys.platform != "win32" else False
    return True


def _read(stream: FileIO) -> LockHolder | None:
    """Return who stands in the file; None when it is empty or damaged."""
    try:
        stream.seek(0)
        return LockHolder.from_json(json.loads(stream.read(_MAX_TEXT_BYTES)))
    except (OSError, ValueError, RecursionError, GeoSam2Error):
        return None


def _write(stream: FileIO, holder: LockHolder) -> None:
    # A full disk does not unlock the file; others only cannot name the holder then.
    with contextlib.suppress(OSError):
        stream.truncate(0)
        stream.write(json.dumps(asdict(holder)).encode())
        stream.flush()


def _is_same_file(stream: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except OSError:
        return False

# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock between processes that ends with its holder, however the holder ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from geo_sam2.errors import InstallError

# What file systems without locks (some network drives) answer.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


def _take(stream: BinaryIO) -> bool:
    """Lock a file; False when another process holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Without locks two installs still never share a folder; they only waste each other's work.
        return error.errno in _NO_LOCKS and sys.platform != "win32"
    return True


@contextlib.contextmanager
def held(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock; InstallError when another process does, or when the folder is not writable.

    The file stays: deleting it would let two processes lock two files of one name. Children do
    not inherit the descriptor, so that a uv that outlives us holds nothing.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab+")
    except OSError as error:
        raise InstallError(
            f"{path.parent} cannot be written ({error.strerror}).", "Choose another folder."
        ) from error
    with stream:
        if not _take(stream):
            raise InstallError(
                f"{doing} is not possible now: another install or removal is under way in {path.parent}.",
                "Wait until it ends.",
            )
        with contextlib.suppress(OSError):
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n".encode())
            stream.flush()
        yield

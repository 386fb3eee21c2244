# SPDX-License-Identifier: GPL-3.0-or-later
"""Write files that are either whole or not there, whatever happens in between.

Standard library only; used by both processes.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from geo_sam2.errors import StoreError

# Windows refuses to replace a file that a virus scanner or an indexer has open; they let go in seconds.
_RETRY_S = 5.0
_RETRY_STEP_S = 0.1


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, flush it to disk and rename it.

    Raises:
        StoreError: The disk is full, the folder cannot be written, or the file stays held by
            another program; the temporary file is gone then and the old one untouched.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = error.strerror or str(error)
        raise StoreError(
            f"{path} cannot be written: {reason}.", "Check free space, permissions and other programs."
        ) from error


def _replace(source: Path, target: Path) -> None:
    deadline = time.monotonic() + _RETRY_S
    while True:
        try:
            source.replace(target)
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_STEP_S)
        else:
            return

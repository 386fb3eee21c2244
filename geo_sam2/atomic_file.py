# SPDX-License-Identifier: GPL-3.0-or-later
"""Write files that are either whole or not there, whatever happens in between.

Standard library only; used by both processes.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from geo_sam2.errors import StoreError
from geo_sam2.held_files import patiently

#: The names that ``unfinished_path`` gives.
UNFINISHED_NAME = re.compile(r".+\.\d+\.tmp")


def unfinished_path(path: Path) -> Path:
    """Return where this process writes a file before it gets its name."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in the same folder, flush it to disk and rename it.

    Raises:
        StoreError: The disk is full, the folder cannot be written, or the file stays held by
            another program; the temporary file is gone then and the old one untouched.
    """
    temporary = unfinished_path(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        patiently(lambda: temporary.replace(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = error.strerror or str(error)
        raise StoreError(
            f"{path} cannot be written: {reason}.", "Check free space, permissions and other programs."
        ) from error

# SPDX-License-Identifier: GPL-3.0-or-later
"""Free room, used room, and files that appear or vanish whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import Any, Callable

from geo_sam2.errors import InstallError

# Disk full, quota used up, file larger than the process may write.
NO_SPACE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EFBIG, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else []))
)

_REMOVE_TRIES = 5
_REMOVE_PAUSE_S = 0.2


def free_bytes(folder: Path) -> int:
    """Return the room left for the user where ``folder`` is or will be."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return shutil.disk_usage(existing).free


def refuse_small(folder: Path, needed_bytes: int, what: str) -> None:
    """Raise InstallError when there is less room than needed, before anything is fetched."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise InstallError(
            f"There is no space for {what} in {folder}: {needed_bytes / 1e9:.1f} GB are needed, and "
            f"{free / 1e9:.1f} GB are free.",
            "Free some space or choose another folder, then try again.",
        )


def used_bytes(folder: Path) -> int:
    """Return the sum of file sizes below a folder; a file linked twice counts once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                facts = (Path(parent) / name).lstat()
                key = (facts.st_dev, facts.st_ino)
                if not stat.S_ISLNK(facts.st_mode) and key not in seen:
                    seen.add(key)
                    total += facts.st_size
    return total


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file by temporary name, flush and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON object; an absent or damaged file gives an empty one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _make_writable(function: Callable[..., Any], path: str, _: object) -> None:
    """Retry a removal that Windows refused for a read-only file."""
    with contextlib.suppress(OSError):
        Path(path).chmod(stat.S_IWRITE | stat.S_IREAD | stat.S_IEXEC)
        function(path)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def remove_tree(path: Path) -> bool:
    """Delete a folder, file or link as far as possible; True when nothing of it is left.

    Tried again for a second: a virus scanner, or an installer that outlived its parent, may
    still hold or write a file. What a link leads to is not touched.
    """
    for attempt in range(_REMOVE_TRIES):
        if attempt:
            time.sleep(_REMOVE_PAUSE_S)
        if path.is_symlink() or path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()
        elif path.exists():
            if sys.version_info >= (3, 12):
                shutil.rmtree(path, onexc=_make_writable)
            else:
                shutil.rmtree(path, onerror=_make_writable)
        if not _is_there(path):
            return True
    return False

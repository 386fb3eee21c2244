# SPDX-License-Identifier: GPL-3.0-or-later
"""When a process started: with its number, that tells it from a later one of the same number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def process_start(pid: int) -> str | None:
    """Return when a process of this computer started, in a form that only equality is asked of.

    Returns:
        None when there is no such process; an empty text when it exists but does not tell.
    """
    if pid <= 0:
        return None
    if sys.platform == "win32":
        return _windows_start(pid)
    if sys.platform.startswith("linux"):
        return _linux_start(pid)
    return _posix_start(pid)


def _linux_start(pid: int) -> str | None:
    """Read the start in clock ticks since the machine's start, and which start of the machine that was."""
    try:
        # The name, in parentheses, may hold spaces; start time is field 22, the 20th behind it (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def _posix_start(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    try:
        found = subprocess.run(  # noqa: S603  # a fixed program and a number
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() or None


def _windows_start(pid: int) -> str | None:
    import ctypes

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    kernel32.OpenProcess.restype = ctypes.c_void_p
    query_limited_information, access_denied, still_active = 0x1000, 5, 259
    handle = kernel32.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return "" if ctypes.get_last_error() == access_denied else None  # type: ignore[attr-defined, unused-ignore]
    try:
        code = ctypes.c_ulong()
        created, ended, kernel, user = (ctypes.c_ulonglong() for _ in range(4))
        process = ctypes.c_void_p(handle)
        if kernel32.GetExitCodeProcess(process, ctypes.byref(code)) and code.value != still_active:
            return None
        times = (ctypes.byref(value) for value in (created, ended, kernel, user))
        return str(created.value) if kernel32.GetProcessTimes(process, *times) else ""
    finally:
        kernel32.CloseHandle(ctypes.c_void_p(handle))

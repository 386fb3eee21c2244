# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a process ended, in words: exit codes, signals, Windows status codes."""

from __future__ import annotations

import signal
import sys

from geo_sam2.engine.process_exit import EXIT_FAULT, EXIT_FRAMING

_MEMORY = (
    "probably because the computer ran out of memory",
    "Close other programs, or choose a smaller model.",
)
_CRASH_HINT = "Its log may tell more; if it happens again, repair the environment in the settings."
_REPAIR_HINT = "Repair or reinstall the environment in the settings."

_BY_SIGNAL = {
    "SIGKILL": _MEMORY,
    "SIGILL": ("because this processor lacks an instruction that PyTorch uses", _REPAIR_HINT),
    "SIGTERM": ("because it was told to end", ""),
}
# https://learn.microsoft.com/windows/win32/debug/getexceptioncode and ntstatus.h
_BY_WINDOWS_STATUS = {
    0xC0000005: ("because of an access violation", _CRASH_HINT),
    0xC0000017: _MEMORY,
    0xC000012D: _MEMORY,  # STATUS_COMMITMENT_LIMIT
    0xC000001D: _BY_SIGNAL["SIGILL"],
    0xC0000135: ("because a DLL is missing", _REPAIR_HINT),
    0xC0000139: ("because a DLL does not fit the others", _REPAIR_HINT),
    0xC0000142: ("because a DLL could not be loaded", _REPAIR_HINT),
    0xC00000FD: ("because of a stack overflow", _CRASH_HINT),
    0xC0000374: ("because of a damaged heap", _CRASH_HINT),
    0xC0000409: ("because a library aborted it", _CRASH_HINT),
    0xC000013A: ("because it was interrupted", ""),
}
_BY_EXIT_CODE = {
    EXIT_FRAMING: ("because it could not read what it was sent", "Restart QGIS."),
    EXIT_FAULT: ("because of a fault of its own", "Its log has the details; please report it."),
}


def describe_end(exit_code: int, platform: str = sys.platform) -> tuple[str, str]:
    """Return a sentence about how the engine ended and a hint.

    Args:
        exit_code: ``Popen.returncode``: on POSIX minus the signal's number if one ended it,
            on Windows an NTSTATUS if it crashed, as unsigned or signed number.
        platform: A ``sys.platform``.
    """
    how = f"ended with exit code {exit_code}"
    why, hint = _BY_EXIT_CODE.get(exit_code, ("", _CRASH_HINT))
    if platform == "win32":
        status = exit_code & 0xFFFFFFFF
        if status > 0xFFFF:
            how = f"ended with code 0x{status:08X}"
            why, hint = _BY_WINDOWS_STATUS.get(status, ("", _CRASH_HINT))
    elif signal_name := _signal_name(exit_code):
        how = f"was ended by {signal_name}"
        why, hint = _BY_SIGNAL.get(signal_name, ("", _CRASH_HINT))
    return f"The engine {how}{', ' * bool(why)}{why}.", hint


def _signal_name(exit_code: int) -> str:
    # A shell or wrapper in between reports a signal as 128 + its number.
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""

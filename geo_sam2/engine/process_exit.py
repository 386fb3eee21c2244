# SPDX-License-Identifier: GPL-3.0-or-later
"""How the engine process ends itself, and the exit codes that tell why.

Standard library and Python 3.9: the client reads the codes.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

EXIT_OK = 0
# The client sent what cannot be read, or does not read its answers.
EXIT_FRAMING = 3
# An exception in the server itself; EX_SOFTWARE of sysexits.h.
EXIT_FAULT = 70


def end_process(exit_code: int) -> NoReturn:
    """End the process at once, from any thread, in the middle of anything."""
    if sys.platform == "win32":
        # ExitProcess runs the clean-up of all libraries and can wait for a lock that a
        # thread held when it was stopped, the loader's during an import for one.
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        kernel32.TerminateProcess.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        kernel32.TerminateProcess(kernel32.GetCurrentProcess(), exit_code)
    os._exit(exit_code)

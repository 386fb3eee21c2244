# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the engine: ``python -I launcher.py [--heartbeat S] [--idle-timeout S]``.

Runs as a script on the private environment's Python. Before anything that is not of the
standard library is imported it takes the pipes of the protocol out of the reach of
libraries, which from then on read nothing from standard input and print to the log; it
makes ``geo_sam2`` importable and nothing beside it; and it makes itself the process that
gives way, to others' work and to the out-of-memory killer.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import io
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geo_sam2.engine.operation import Operations

_NICENESS = 5
_WINDOWS_BELOW_NORMAL_PRIORITY_CLASS = 0x4000


def take_over_pipes() -> tuple[io.FileIO, io.FileIO]:
    """Return standard input and output as raw streams and put others in their place.

    Descriptor 0 becomes the null device and descriptor 1 the same as 2, so that a library
    that reads sees the end of input and one that prints, from C too, prints to the log.
    The returned descriptors are not inherited by child processes.
    """
    input_fd, output_fd = os.dup(0), os.dup(1)
    null_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.dup2(2, 1)
    os.close(null_fd)
    if sys.platform == "win32":
        _take_over_windows_handles(input_fd, output_fd)
    if isinstance(sys.stdout, io.TextIOWrapper):  # None under pythonw
        sys.stdout.reconfigure(line_buffering=True)  # what is still buffered at the end is lost
    return io.FileIO(input_fd, "rb"), io.FileIO(output_fd, "wb")


if sys.platform == "win32":

    def _take_over_windows_handles(input_fd: int, output_fd: int) -> None:
        """Do for the standard handles what dup2 did for the descriptors; C libraries use both."""
        import ctypes
        import msvcrt

        for fd in (input_fd, output_fd):
            msvcrt.setmode(fd, os.O_BINARY)
        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.SetStdHandle.argtypes = [ctypes.c_ulong, ctypes.c_void_p]
        for standard_handle, fd in ((-10, 0), (-11, 1)):  # STD_INPUT_HANDLE, STD_OUTPUT_HANDLE
            kernel32.SetStdHandle(standard_handle & 0xFFFFFFFF, msvcrt.get_osfhandle(fd))


def register_package(folder: Path) -> None:
    """Make the package in ``folder`` importable as ``geo_sam2``.

    Its parent stays off ``sys.path``: that is the folder of all QGIS plugins, or a source
    tree, whose modules would shadow those of the environment.
    """
    spec = importlib.util.spec_from_file_location(
        "geo_sam2", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not a Python package")
    module = importlib.util.module_from_spec(spec)
    sys.modules["geo_sam2"] = module
    spec.loader.exec_module(module)


def give_way() -> None:
    """Lower the priority and stand first in line for the out-of-memory killer."""
    if sys.platform == "win32":
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        kernel32.SetPriorityClass.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
        kernel32.SetPriorityClass(kernel32.GetCurrentProcess(), _WINDOWS_BELOW_NORMAL_PRIORITY_CLASS)
        return
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness < _NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    if sys.platform == "linux":
        try:
            Path("/proc/self/oom_score_adj").write_text("1000")
        except OSError as error:  # a sandbox without /proc; the engine works all the same
            logging.getLogger("geo_sam2.engine").warning("oom_score_adj: %s", error)


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="geo_sam2 engine", description="Serves on standard input and output."
    )
    parser.add_argument(
        "--heartbeat", type=float, default=None, metavar="S", help="interval of signs of life"
    )
    parser.add_argument("--idle-timeout", type=float, default=None, metavar="S", help="end after idle time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str], load: Callable[[], Operations] | None = None) -> NoReturn:
    """Serve until the input ends.

    Args:
        arguments: The command line without the program.
        load: Returns what is served, in place of ``geo_sam2.engine.operations``; for tests.
    """
    options = parse_options(arguments)
    input_stream, output_stream = take_over_pipes()
    faulthandler.enable()  # a crash in C leaves the Python stack in the log
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal of QGIS is meant for QGIS
    give_way()
    register_package(Path(__file__).absolute().parent.parent)

    # NumPy is imported here, before the reader thread exists: on Windows it hangs while
    # another thread waits for piped input (https://github.com/numpy/numpy/issues/24290).
    from geo_sam2.engine import server

    server.Server(
        input_stream,
        output_stream,
        load or server.load_operations,
        heartbeat_interval_s=options.heartbeat or server.HEARTBEAT_INTERVAL_S,
        idle_timeout_s=options.idle_timeout,
    ).run()


if __name__ == "__main__":
    main(sys.argv[1:])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that end with the one that started them, however that one ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Linux ends the program when the thread that started it ends; a `finally` does not run in a killed test.
_TIED = ("setpriv", "--pdeathsig", "KILL")


def start(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, **options: object
) -> subprocess.Popen[bytes]:
    """Start a program that is killed when the starting thread ends.

    Args:
        arguments: The program and its arguments.
        environment: All of its environment variables.
        log: Gets what it prints.
        options: Of ``subprocess.Popen``.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  # programs of the tests
            [*_TIED, *arguments], env=dict(environment), stdout=output, stderr=subprocess.STDOUT, **options
        )


def end(process: subprocess.Popen[bytes], patience_s: float = 5.0) -> None:
    """Ask a program to end, and kill it when it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def kill(pid: int) -> None:
    """Send SIGKILL to a process that may have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Return whether a process is there and is more than an entry that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run, and theirs."""
    found: list[int] = []
    try:
        for task in list(Path(f"/proc/{pid}/task").iterdir()):
            for child in map(int, (task / "children").read_text(encoding="ascii").split()):
                found += [child, *children(child)]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found

# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs for the installer: clean environment, lines as they happen, cancel by group.

Ignorant of uv and of what is installed. No shell, no console window on Windows; each child
leads its own process group, so that cancelling takes its own children along.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable

from geo_sam2.errors import CancelledError

OnLine = Callable[[str], None]
OnSilence = Callable[[], None]
IsCancelled = Callable[[], bool]

# What a QGIS start script or an activated environment leaves behind: it would lead the
# new interpreter to QGIS's libraries, Python modules or projection data.
_DROPPED = re.compile(
    r"PYTHON.*|VIRTUAL_ENV.*|CONDA_.*|_CONDA_.*|QT_.*|QGIS_.*|GDAL_.*|OGR_.*|PROJ_.*|OSGEO4W_.*|"
    r"LD_LIBRARY_PATH|LD_PRELOAD|DYLD_.*|__PYVENV_LAUNCHER__",
    re.IGNORECASE,
)
_POLL_S = 0.1
_SILENCE_S = 2.0
_PIPE_GRACE_S = 2.0
_TERMINATE_GRACE_S = 3.0
_KEPT_LINES = 400


def never_cancelled() -> bool:
    """Return False: the default of everything that can be cancelled."""
    return False


def no_line(line: str) -> None:
    """Drop a line: the default of everything that reports lines."""


def no_silence() -> None:
    """Do nothing while a program is silent: the default."""


def system_path(environ: Mapping[str, str], platform: str) -> str:
    """Return a PATH of system folders only; QGIS puts its own DLL folders in front."""
    if platform == "win32":
        root = environ.get("SYSTEMROOT") or environ.get("SystemRoot") or r"C:\Windows"  # noqa: SIM112
        return ";".join([rf"{root}\System32", root, rf"{root}\System32\Wbem"])
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def clean_environment(environ: Mapping[str, str], platform: str = sys.platform) -> dict[str, str]:
    """Return ``environ`` without what would lead a private interpreter astray.

    Proxies, certificates, HOME, locale and temporary folders stay.
    """
    kept = {key: value for key, value in environ.items() if not _DROPPED.fullmatch(key)}
    for key in [key for key in kept if key.upper() == "PATH"]:
        del kept[key]
    kept["PATH"] = system_path(environ, platform)
    kept["PYTHONUTF8"] = "1"
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    # On a busy machine spinning OpenMP threads made one step eleven times slower.
    kept["OMP_WAIT_POLICY"] = "PASSIVE"
    return kept


@dataclass(frozen=True)
class Finished:
    """How a program ended: exit status (negative signal number on POSIX) and its last lines."""

    returncode: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The kept lines as one text."""
        return "\n".join(self.lines)


def _start(
    command: Sequence[str], environ: Mapping[str, str], folder: Path | None
) -> subprocess.Popen[bytes]:
    options: dict[str, object] = {}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # noqa: S603
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        cwd=folder,
        **options,
    )


def _signal_group(process: subprocess.Popen[bytes], force: bool) -> None:
    """Send the end signal to a child and to everything that it started."""
    if sys.platform == "win32":
        root = os.environ.get("SYSTEMROOT", r"C:\Windows")
        subprocess.run(  # noqa: S603
            [rf"{root}\System32\taskkill.exe", "/T", "/F", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if force else signal.SIGTERM)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a child with its whole group: asked first, killed after three seconds."""
    _signal_group(process, force=False)
    try:
        process.wait(_TERMINATE_GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(process, force=True)
        process.wait()


def _read_lines(stream: IO[bytes], lines: queue.Queue[str | None]) -> None:
    """Move a child's output into ``lines``; None marks its end. Runs on its own thread, owns the stream."""
    with stream:
        # A program may redraw one line with carriage returns: each state is a line.
        for raw in stream:
            for part in raw.decode("utf-8", "replace").replace("\r", "\n").split("\n"):
                if part.strip():
                    lines.put(part.rstrip())
    lines.put(None)


def run_lines(
    command: Sequence[str],
    environ: Mapping[str, str],
    on_line: OnLine = no_line,
    is_cancelled: IsCancelled = never_cancelled,
    folder: Path | None = None,
    on_silence: OnSilence = no_silence,
) -> Finished:
    """Run a program to its end and report each line of its output as it happens.

    ``on_line`` is called on the calling thread, and so is ``on_silence``, every two seconds in
    which no line came. Raises CancelledError, after the whole group has ended, when
    ``is_cancelled`` says so; OSError when the program cannot be started.
    """
    process = _start(command, environ, folder)
    incoming: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(process.stdout, incoming), daemon=True).start()
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    last_news = time.monotonic()
    ended_at: float | None = None
    try:
        while True:
            if is_cancelled():
                raise CancelledError("The installation was cancelled.")
            try:
                line = incoming.get(timeout=_POLL_S)
            except queue.Empty:
                now = time.monotonic()
                if process.poll() is not None:
                    ended_at = ended_at or now
                    # A grandchild may hold the pipe open after the child itself is gone; what the
                    # child wrote last has arrived after a while.
                    if now - ended_at >= _PIPE_GRACE_S:
                        break
                elif now - last_news >= _SILENCE_S:
                    on_silence()
                    last_news = now
                continue
            if line is None:
                break
            last_news = time.monotonic()
            kept.append(line)
            on_line(line)
        return Finished(process.wait(), tuple(kept))
    finally:
        if process.poll() is None:
            stop_group(process)

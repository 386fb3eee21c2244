# SPDX-License-Identifier: GPL-3.0-or-later
"""How the engine process is started: command line, environment, folder, flags.

Pure functions of the interpreter, the environment and the platform; starts nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).absolute().parent.parent / "engine" / "launcher.py"

# What QGIS, its start scripts, Conda and a terminal set for themselves makes another
# Python load the wrong libraries.
_REMOVED_PREFIXES = ("PYTHON", "CONDA_", "QT_", "GDAL_", "PROJ_", "DYLD_")
_REMOVED_NAMES = (
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PATH",
    # macOS: a framework Python tells its children with it to pose as itself
    "__PYVENV_LAUNCHER__",
)
# glibc gives every array of megabytes back to the system when it is freed and faults it in again,
# page by page, for the next one: 5000 faults and a quarter of the time of a click. Up to this many
# bytes stay with the process instead.
_KEPT_BYTES = str(256 * 2**20)
_POSIX_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_WINDOWS_CREATE_NO_WINDOW = 0x08000000
_WINDOWS_BELOW_NORMAL_PRIORITY_CLASS = 0x00004000


@dataclass(frozen=True)
class EngineCommand:
    """What a process is started with.

    Args:
        arguments: The interpreter and all that follows it.
        environment: All of its environment variables.
        working_folder: Never the plugin's, which Windows could not replace while it is in use.
        creation_flags: Windows only, 0 elsewhere.
        has_own_session: POSIX only; keeps Ctrl+C in the terminal of QGIS away from the engine.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_folder: str
    creation_flags: int
    has_own_session: bool


def engine_command(
    interpreter: Path,
    *,
    idle_timeout_s: float | None = None,
    launcher: Path = LAUNCHER,
    options: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> EngineCommand:
    """Return how to start the engine.

    Args:
        interpreter: The Python of the private environment, an absolute path.
        idle_timeout_s: Time without work after which the engine ends; None for never.
        launcher: The script to run.
        options: More options for the launcher.
        environ: The environment to clean; that of this process by default.
        platform: A ``sys.platform``.
    """
    idle = () if idle_timeout_s is None else ("--idle-timeout", str(idle_timeout_s))
    is_windows = platform == "win32"
    return EngineCommand(
        # UTF-8 mode: the log is read as UTF-8, whatever the code page. -I ignores PYTHONUTF8.
        arguments=(str(interpreter), "-I", "-X", "utf8", str(launcher), *idle, *options),
        environment=engine_environment(os.environ if environ is None else environ, platform),
        working_folder=str(interpreter.parent),
        creation_flags=_WINDOWS_CREATE_NO_WINDOW | _WINDOWS_BELOW_NORMAL_PRIORITY_CLASS if is_windows else 0,
        has_own_session=not is_windows,
    )


def engine_environment(environ: Mapping[str, str], platform: str = sys.platform) -> dict[str, str]:
    """Return ``environ`` without what would mislead the engine's Python, and with a short PATH."""
    is_windows = platform == "win32"
    kept = {}
    for name, value in environ.items():
        known_as = name.upper() if is_windows else name  # "Path" on Windows
        if known_as not in _REMOVED_NAMES and not known_as.startswith(_REMOVED_PREFIXES):
            kept[name] = value
    kept["PATH"] = _windows_path(kept) if is_windows else _POSIX_PATH
    # OpenMP threads that spin while they wait made one encoder step 11 times slower on a busy machine.
    kept["OMP_WAIT_POLICY"] = "PASSIVE"
    if platform.startswith("linux"):
        kept["MALLOC_MMAP_THRESHOLD_"] = kept["MALLOC_TRIM_THRESHOLD_"] = _KEPT_BYTES
    return kept


def _windows_path(environ: Mapping[str, str]) -> str:
    roots = [value for name, value in environ.items() if name.upper() == "SYSTEMROOT"]
    root = roots[0] if roots else "C:\\Windows"
    return f"{root}\\System32;{root};{root}\\System32\\Wbem"

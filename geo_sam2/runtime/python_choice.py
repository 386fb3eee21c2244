# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interpreter the private environment is built on.

On Windows and macOS a CPython managed by uv, never the one inside QGIS; on Linux the
distribution's own, since its packages keep it patched, else the managed one. What is first
on PATH is not asked: it may be conda, pyenv or QGIS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from geo_sam2.errors import InstallError
from geo_sam2.runtime import pins
from geo_sam2.runtime.child_process import clean_environment, run_lines
from geo_sam2.runtime.machine import LINUX, MACOS, WINDOWS, X86_64, Machine

_QUESTION = (
    "import json, platform, sys, sysconfig; print(json.dumps({"
    "'version': sys.version_info[:3], 'implementation': sys.implementation.name, "
    "'bits': 64 if sys.maxsize > 2**32 else 32, 'libc': platform.libc_ver(), "
    "'free_threaded': bool(sysconfig.get_config_var('Py_GIL_DISABLED'))}))"
)

# torch's wheels are manylinux_2_28.
GLIBC_MIN = (2, 28)


@dataclass(frozen=True)
class Interpreter:
    """What a Python program says about itself."""

    path: Path
    version: tuple[int, ...]
    implementation: str = "cpython"
    bits: int = 64
    libc: tuple[str, str] = ("glibc", "2.36")
    free_threaded: bool = False

    @property
    def minor(self) -> str:
        """``3.11`` and so on."""
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class ManagedPython:
    """A CPython that uv is to install; ``request`` is in uv's words, down to the architecture."""

    request: str


PythonChoice = Union[Interpreter, ManagedPython]


def examine(path: Path) -> Interpreter | None:
    """Ask an interpreter what it is; None when it does not run."""
    try:
        answer = run_lines([str(path), "-I", "-c", _QUESTION], clean_environment(os.environ))
        facts = json.loads(answer.lines[-1]) if answer.returncode == 0 and answer.lines else None
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict):
        return None
    return Interpreter(
        path,
        tuple(facts["version"]),
        facts["implementation"],
        facts["bits"],
        tuple(facts["libc"]),
        facts["free_threaded"],
    )


def _range_text() -> str:
    return "{}.{} to {}.{}".format(*pins.PYTHON_MIN, *pins.PYTHON_MAX)


def why_not(interpreter: Interpreter | None, wanted_minor: str = "") -> str:
    """Return why an environment cannot be built on an interpreter; empty when it can."""
    if interpreter is None:
        return "it does not run"
    if interpreter.implementation != "cpython" or interpreter.free_threaded or interpreter.bits != 64:
        return "it is not an ordinary 64-bit CPython"
    if not pins.PYTHON_MIN <= interpreter.version[:2] <= pins.PYTHON_MAX:
        return f"it is Python {interpreter.minor}, and {_range_text()} is needed"
    if wanted_minor and interpreter.minor != wanted_minor:
        return f"it is Python {interpreter.minor}, and {wanted_minor} is needed"
    return ""


def managed_request(machine: Machine) -> str:
    """Return the managed CPython for a machine as uv names it.

    On ARM64 Windows the x86_64 build: torch and rasterio of one version exist together only
    for that one, and Windows runs it.
    """
    if machine.system == WINDOWS:
        return f"cpython-{pins.MANAGED_PYTHON}-windows-{X86_64}-none"
    system, libc = (MACOS, "none") if machine.system == MACOS else (LINUX, "gnu")
    return f"cpython-{pins.MANAGED_PYTHON}-{system}-{machine.architecture}-{libc}"


def distribution_pythons(wanted_minor: str = "") -> list[Path]:
    """Return the places of a Linux distribution's interpreters, the default one first."""
    names = [f"python{wanted_minor}"] if wanted_minor else []
    names.append("python3")
    names.extend(f"python3.{minor}" for minor in range(pins.PYTHON_MAX[1], pins.PYTHON_MIN[1] - 1, -1))
    return [Path("/usr/bin") / name for name in dict.fromkeys(names)]


def choose(
    machine: Machine,
    *,
    asked_for: Path | None = None,
    wanted_minor: str = "",
    candidates: Sequence[Path] | None = None,
) -> PythonChoice:
    """Choose an interpreter.

    Args:
        machine: What the choice is made for.
        asked_for: The person's own choice; refused with a reason when it does not serve.
        wanted_minor: ``3.11`` when wheels for only that version are at hand (offline kit).
        candidates: Instead of the distribution's places.

    Raises:
        InstallError: ``asked_for`` does not serve.
    """
    if asked_for is not None:
        interpreter = examine(asked_for)
        reason = why_not(interpreter, wanted_minor)
        if interpreter is None or reason:
            raise InstallError(
                f"{asked_for} cannot be used: {reason}.", "Name another Python or leave the choice open."
            )
        return interpreter
    if machine.system == LINUX:
        for path in distribution_pythons(wanted_minor) if candidates is None else candidates:
            interpreter = examine(path) if path.exists() else None
            if interpreter is not None and not why_not(interpreter, wanted_minor):
                return interpreter
    return ManagedPython(managed_request(machine))


def refuse_old_libc(interpreter: Interpreter) -> None:
    """Raise InstallError on a Linux whose C library torch's wheels do not run with."""
    name, version = interpreter.libc
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "glibc" and numbers and numbers < GLIBC_MIN:
        raise InstallError(
            f"This Linux has glibc {version}, and PyTorch needs 2.28 or later.",
            "A system from 2019 or later is needed (Debian 10, Ubuntu 18.10, RHEL 8).",
        )

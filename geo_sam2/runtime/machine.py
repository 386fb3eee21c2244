# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine is: system, architecture, and whether torch has a build for it.

The architecture is asked of the machine and not of this process: QGIS may be an Intel
program on an Apple Silicon Mac (Rosetta), or an x64 program on an ARM64 Windows.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from geo_sam2.errors import InstallError

LINUX, WINDOWS, MACOS = "linux", "windows", "macos"
X86_64, AARCH64 = "x86_64", "aarch64"

# torch's wheels carry macosx_14_0 in their names.
MACOS_MIN = (14, 0)


@dataclass(frozen=True)
class Machine:
    """System and architecture in uv's words; ``macos_version`` is (0, 0) elsewhere."""

    system: str
    architecture: str
    macos_version: tuple[int, int] = (0, 0)


def _normal_architecture(name: str) -> str:
    low = name.strip().lower()
    return {"amd64": X86_64, "x64": X86_64, "arm64": AARCH64}.get(low, low)


def _sysctl_says_arm64() -> bool:
    """Ask the macOS kernel: 1 on Apple Silicon, under Rosetta too."""
    try:
        answer = subprocess.run(  # noqa: S603
            ["/usr/sbin/sysctl", "-n", "hw.optional.arm64"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.strip() == "1"


def windows_architecture(environ: Mapping[str, str]) -> str:
    """Return the machine's architecture from what Windows tells each process.

    A 32-bit process sees PROCESSOR_ARCHITEW6432; an x64 process on ARM64 is told AMD64
    and only the processor's name betrays it (``ARMv8 (64-bit) Family 8 ...``).
    """
    if environ.get("PROCESSOR_IDENTIFIER", "").upper().startswith("ARM"):
        return AARCH64
    name = environ.get("PROCESSOR_ARCHITEW6432") or environ.get("PROCESSOR_ARCHITECTURE", "AMD64")
    return _normal_architecture(name)


def _macos_version() -> tuple[int, int]:
    parts = (platform.mac_ver()[0] or "0.0").split(".")
    return int(parts[0]), int(parts[1]) if len(parts) > 1 else 0


def detect() -> Machine:
    """Return the machine that this process runs on."""
    if sys.platform == "win32":
        return Machine(WINDOWS, windows_architecture(os.environ))
    if sys.platform == "darwin":
        architecture = AARCH64 if _sysctl_says_arm64() else _normal_architecture(platform.machine())
        return Machine(MACOS, architecture, _macos_version())
    return Machine(LINUX, _normal_architecture(platform.machine()))


def refuse_unsupported(machine: Machine) -> None:
    """Raise InstallError, before anything is downloaded, where torch has no build."""
    if machine.system == MACOS and machine.architecture != AARCH64:
        raise InstallError(
            "This Mac has an Intel processor, and PyTorch no longer has a build for it.",
            "Encode on another machine and copy the feature store here, or use Geo-SAM2 on Apple Silicon.",
        )
    # A process built against an old SDK is told 10.16 whatever the system is.
    if machine.system == MACOS and (10, 16) != machine.macos_version < MACOS_MIN:
        version = ".".join(map(str, machine.macos_version))
        raise InstallError(
            f"This is macOS {version}, and PyTorch needs macOS {MACOS_MIN[0]} or later.",
            "Update macOS, then install again.",
        )
    if machine.architecture not in (X86_64, AARCH64):
        raise InstallError(
            f"PyTorch has no build for a {machine.architecture} processor.",
            "A 64-bit x86 or ARM machine is needed.",
        )

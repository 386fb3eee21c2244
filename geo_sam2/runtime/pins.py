# SPDX-License-Identifier: GPL-3.0-or-later
"""Every version that the private environment is made of, each with the reason for it.

The set is closed: together with torch it holds all that its members need, so that
installs run without dependency resolution and give the same environment every time.
All versions have wheels for Python 3.10 to 3.14 on Linux (x86_64, aarch64; glibc 2.28),
Windows (x86_64) and macOS (arm64); where a project left Python 3.10 behind, the last
version for it stands beside. Ignorant of how anything is installed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """One package at one version; ``marker`` is a PEP 508 environment marker or empty."""

    name: str
    version: str
    marker: str = ""

    @property
    def requirement(self) -> str:
        """The line of a requirements file."""
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")


@dataclass(frozen=True)
class PinnedFile:
    """One file of a package index; ``sha256`` in lower-case hex."""

    name: str
    size_bytes: int
    sha256: str


# What the demo model was trained and the parity tests were run with. 2.13 has CUDA 12.6,
# 13.0 and 13.2 builds; PyPI holds the 13.0 build for Linux and CPU builds for the others.
TORCH = Pin("torch", "2.13.0")

# The only release of SAM 2.1's code on PyPI; a source distribution.
SAM2 = Pin("sam2", "1.1.0")

_PYTHON_310 = "python_version < '3.11'"
_LATER = "python_version >= '3.11'"
_WINDOWS = "sys_platform == 'win32'"

# Installed as wheels, in one call, before torch.
WHEELS: tuple[Pin, ...] = (
    # Builds the source distributions below; torch wants >= 77.0.3 at run time as well.
    Pin("setuptools", "84.2.1"),
    # The engine's arrays; 2.2.6 is the last for Python 3.10.
    Pin("numpy", "2.4.6", _LATER),
    Pin("numpy", "2.2.6", _PYTHON_310),
    # Outlines; 1.3.2 is the last for Python 3.10.
    Pin("contourpy", "1.3.3", _LATER),
    Pin("contourpy", "1.3.2", _PYTHON_310),
    # Tile files; one abi3 wheel per platform.
    Pin("safetensors", "0.8.0"),
    # rasterio.features; 1.4.4 is the last for Python 3.10 and the first with wheels for 3.14.
    Pin("rasterio", "1.4.4"),
    # What rasterio needs (it excludes click 8.2).
    Pin("affine", "3.0.1"),
    Pin("attrs", "26.1.0"),
    Pin("certifi", "2026.10.18"),
    Pin("click", "8.5.1"),
    Pin("click-plugins", "1.1.1.2"),
    Pin("cligj", "0.7.2"),
    Pin("pyparsing", "3.3.3"),
    # What torch needs on every platform.
    Pin("filelock", "4.2.11", _LATER),
    Pin("filelock", "4.1.0", _PYTHON_310),
    Pin("typing-extensions", "4.16.0"),
    Pin("sympy", "1.14.0"),
    Pin("mpmath", "1.3.0"),  # sympy wants < 1.4
    Pin("networkx", "3.6.1", _LATER),
    Pin("networkx", "3.4.2", _PYTHON_310),
    Pin("jinja2", "3.1.6"),
    Pin("markupsafe", "3.0.4"),
    Pin("fsspec", "2026.9.0"),
    # What sam2 needs. hydra wants omegaconf < 2.4, both want antlr4 4.9.
    Pin("hydra-core", "1.3.8"),
    Pin("omegaconf", "2.3.1"),
    Pin("packaging", "26.3"),
    Pin("pyyaml", "6.0.3"),
    Pin("tqdm", "4.70.1"),
    Pin("portalocker", "4.4.2"),
    Pin("pillow", "12.3.0"),  # 13 has no wheels for Python 3.10; sam2 only imports it
    Pin("colorama", "0.4.6", _WINDOWS),  # tqdm and click import it on Windows
)

# Source distributions only: built after torch, without isolation (sam2's build
# requirements would pull a second torch of several GB).
SDISTS: tuple[Pin, ...] = (
    Pin("antlr4-python3-runtime", "4.9.3"),
    Pin("iopath", "0.1.10"),
    SAM2,
)

# Makes wheels of everything for an offline kit; never part of an environment.
PIP = Pin("pip", "26.3")

# sam2 asks for it, its model code never imports it, and its wheels must match torch's exactly.
NOT_INSTALLED: tuple[str, ...] = ("torchvision",)

# Interpreters that all of the above have wheels for.
PYTHON_MIN = (3, 10)
PYTHON_MAX = (3, 14)

# The managed CPython (Windows, macOS, old Linux). uv 0.13.9 knows this release and its digest;
# 3.12 is in the middle of the range above.
MANAGED_PYTHON = "3.12.16"

# Drives everything. Another uv on PATH is accepted within the same minor series only:
# its options and messages change between minor versions.
UV_VERSION = "0.13.9"
UV_SERIES = (0, 13)
UV_WHEELS: dict[tuple[str, str], PinnedFile] = {
    ("linux", "x86_64"): PinnedFile(
        "uv-0.13.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        17606939,
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    ("linux", "aarch64"): PinnedFile(
        "uv-0.13.9-py3-none-manylinux_2_28_aarch64.whl",
        16864124,
        "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
    ),
    ("windows", "x86_64"): PinnedFile(
        "uv-0.13.9-py3-none-win_amd64.whl",
        15662317,
        "6a44b2ed8111d2f60d2b92627c5dccda3f7ed7570b18ce115e569cd68c28246b",
    ),
    ("windows", "aarch64"): PinnedFile(
        "uv-0.13.9-py3-none-win_arm64.whl",
        15841844,
        "eeb92051c2123b9730c46b04cc843cfa4bc7d7b0aec56df431a2215ef4cb0273",
    ),
    ("macos", "aarch64"): PinnedFile(
        "uv-0.13.9-py3-none-macosx_11_0_arm64.whl",
        14660755,
        "66c512266d633bef48384a1f53003f41f2a8e7b36fe6e7fbfd3e0fd52d96fa63",
    ),
    ("macos", "x86_64"): PinnedFile(
        "uv-0.13.9-py3-none-macosx_10_12_x86_64.whl",
        17529974,
        "c16ed11e013557536b3e60065f1b912f6407bd6518e041b961e23ef9e6b4fbf5",
    ),
}


def pins_id() -> str:
    """Return eight hex digits that change whenever a pin does; environments carry it."""
    lines = [pin.requirement for pin in (TORCH, *WHEELS, *SDISTS)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]

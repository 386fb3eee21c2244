# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of torch a machine gets, why, and where it can be taken from.

Variants are named as uv names torch backends (``cpu``, ``cu126``, ``cu130``, ...), and
``apple`` for macOS, whose one build has MPS. The choice is made from what the NVIDIA driver
says and carries its reason, which the interface shows.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geo_sam2.errors import InstallError
from geo_sam2.runtime import pins
from geo_sam2.runtime.child_process import clean_environment, run_lines
from geo_sam2.runtime.install_settings import AUTO
from geo_sam2.runtime.machine import LINUX, MACOS, WINDOWS, Machine

CPU, APPLE, CUDA = "cpu", "apple", "cuda"

# Backends that torch 2.13 is built for (its RELEASE.md): 12.6 for cards from Maxwell to Hopper,
# 13.0 for Turing to Blackwell; 13.2 is experimental and only taken when asked for.
CUDA_BACKENDS = ("cu126", "cu130", "cu132")
OTHER_BACKENDS = ("rocm7.2", "xpu")

# The build of torch's Linux wheel on PyPI, whose CUDA libraries are on PyPI as well.
PYPI_CUDA = "cu130"

# Room on disk that a finished environment takes, measured for cpu on Linux, read from wheel
# sizes for the others, with a quarter added; downloads are linked into place, not copied.
_NEEDED_BYTES = {CPU: 1_400_000_000, APPLE: 1_200_000_000}
_NEEDED_BYTES_GPU = 9_000_000_000


@dataclass(frozen=True)
class Card:
    """One NVIDIA card: ``compute_capability`` such as (8, 6); ``driver`` such as (580, 65)."""

    name: str
    driver: tuple[int, int]
    compute_capability: tuple[int, int]


@dataclass(frozen=True)
class TorchVariant:
    """The chosen build, with the sentence that says why."""

    name: str
    reason: str

    @property
    def is_cuda(self) -> bool:
        """Whether the build is for NVIDIA cards."""
        return self.name in CUDA_BACKENDS

    @property
    def needed_bytes(self) -> int:
        """Room on disk that an environment of this variant takes."""
        return _NEEDED_BYTES.get(self.name, _NEEDED_BYTES_GPU)


@dataclass(frozen=True)
class TorchSource:
    """One way to get torch: what is asked of ``uv pip install``, and its name for the log."""

    label: str
    requirement: str
    arguments: tuple[str, ...] = ()


def _numbers(text: str) -> tuple[int, int]:
    parts = [int(part) for part in re.findall(r"\d+", text)[:2]]
    return (parts[0], parts[1] if len(parts) > 1 else 0) if parts else (0, 0)


def parse_nvidia_smi(output: str) -> list[Card]:
    """Read ``nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader``."""
    cards = []
    for line in output.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3 and re.match(r"\d+\.\d+", fields[1]) and re.match(r"\d+\.\d+", fields[2]):
            cards.append(Card(fields[0], _numbers(fields[1]), _numbers(fields[2])))
    return cards


def _nvidia_smi_places() -> list[str]:
    if os.name == "nt":
        root = os.environ.get("SYSTEMROOT", r"C:\Windows")
        programs = os.environ.get("PROGRAMFILES", r"C:\Program Files")
        return [
            rf"{root}\System32\nvidia-smi.exe",
            rf"{programs}\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
        ]
    # The last one is where the Windows driver shows itself under WSL.
    return ["/usr/bin/nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"]


def nvidia_cards() -> list[Card]:
    """Ask the NVIDIA driver for its cards; empty without driver or card."""
    on_path = shutil.which("nvidia-smi")
    for program in [*_nvidia_smi_places(), *([on_path] if on_path else [])]:
        if not Path(program).is_file():
            continue
        query = ["--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
        try:
            answer = run_lines([program, *query], clean_environment(os.environ))
        except OSError:
            continue
        if answer.returncode == 0:
            return parse_nvidia_smi(answer.text)
    return []


def backend_for_card(card: Card, system: str) -> tuple[str, str]:
    """Return the backend for a card, or an empty string, and the reason in either case.

    Driver bounds: CUDA 13 needs 580; CUDA 12.6 runs on 525.60 (Linux) or 528.33 (Windows)
    by minor-version compatibility (NVIDIA, CUDA toolkit release notes, table 2).
    """
    driver = ".".join(map(str, card.driver))
    if card.compute_capability >= (7, 5) and card.driver >= (580, 0):
        return "cu130", f"{card.name} with driver {driver}"
    oldest = (528, 33) if system == WINDOWS else (525, 60)
    if (5, 0) <= card.compute_capability <= (9, 0) and card.driver >= oldest:
        return "cu126", f"{card.name} with driver {driver}"
    if card.compute_capability < (5, 0):
        return "", f"PyTorch no longer supports {card.name}"
    needed = "580" if card.compute_capability > (9, 0) else ".".join(map(str, oldest))
    return "", f"{card.name} has driver {driver}, and {needed} or later is needed"


def choose(asked_for: str, machine: Machine, cards: Sequence[Card] | None = None) -> TorchVariant:
    """Choose the variant; ``cards`` are asked of the driver when they are needed and not given.

    Raises InstallError for a name that torch has no build for, or that the machine cannot use.
    """
    name = asked_for.strip().lower()
    if machine.system == MACOS:
        if name in (AUTO, APPLE, CPU):
            return TorchVariant(APPLE, "the one build for macOS, with MPS")
        raise InstallError(f"There is no {asked_for} build of PyTorch for macOS.", "Leave the choice open.")
    if name == CPU:
        return TorchVariant(CPU, "asked for")
    if name in (*CUDA_BACKENDS, *OTHER_BACKENDS):
        return TorchVariant(name, "asked for")
    if name not in (AUTO, CUDA):
        known = ", ".join((AUTO, CPU, CUDA, *CUDA_BACKENDS, *OTHER_BACKENDS))
        raise InstallError(f"{asked_for} is not a variant of PyTorch.", f"Choose one of {known}.")
    found = nvidia_cards() if cards is None else cards
    refusals = []
    for card in found:
        backend, reason = backend_for_card(card, machine.system)
        if backend:
            return TorchVariant(backend, reason)
        refusals.append(reason)
    if name == CUDA:
        if refusals:
            raise InstallError(f"CUDA cannot be used: {refusals[0]}.", "Update the NVIDIA driver.")
        return TorchVariant(PYPI_CUDA, "asked for; no NVIDIA driver answers on this machine")
    return TorchVariant(CPU, refusals[0] if refusals else "no NVIDIA card found")


def sources(
    variant: TorchVariant, machine: Machine, *, torch_index: str = "", has_own_places: bool = False
) -> list[TorchSource]:
    """Return where to look for torch, in order.

    Args:
        variant: The build.
        machine: The machine it is for.
        torch_index: The person's own index, page of links or folder: nothing else is asked.
        has_own_places: Whether find-links or other indexes are configured: they are asked first.
    """
    plain = pins.TORCH.requirement
    if variant.name == APPLE or (variant.name == CPU and machine.system == WINDOWS):
        # PyPI's own builds. A local version such as 2.13.0+cpu satisfies this as well.
        arguments = _index_arguments(torch_index) if torch_index else ()
        return [TorchSource(torch_index or "the package index", plain, arguments)]
    local = f"{plain}+{variant.name}"
    if torch_index:
        return [TorchSource(torch_index, local, _index_arguments(torch_index))]
    found = []
    if has_own_places:
        found.append(TorchSource("the configured indexes and folders", local))
    found.append(TorchSource("download.pytorch.org", local, ("--torch-backend", variant.name)))
    if variant.name == PYPI_CUDA and machine.system == LINUX:
        found.append(TorchSource("PyPI", plain))
    return found


def _index_arguments(place: str) -> tuple[str, ...]:
    """Say a place in uv's words: folders and pages of links are not indexes."""
    if "://" not in place or place.lower().endswith((".html", ".htm")):
        return ("--find-links", place)
    return ("--index", place)


def is_closed(variant: TorchVariant) -> bool:
    """Tell whether a build needs no package beyond the pins."""
    return variant.name in (CPU, APPLE)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device and which precision the model runs in, and what it means to ask for one.

Knows torch's devices; ignorant of models and requests.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from geo_sam2.errors import DeviceError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ComputePlan:
    """A device and a precision that are there.

    Attributes:
        device: The torch device.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        is_automatic: The precision was chosen by us, so it has to prove itself against
            fp32 before it is trusted (see ``encode.PrecisionGuard``).
    """

    device: torch.device
    precision: str
    is_automatic: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The torch dtype of the precision."""
        return _DTYPES[self.precision]


def choose_device(name: str = "auto") -> torch.device:
    """Return the device asked for.

    Args:
        name: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises:
        DeviceError: The device is not here, or the name is none of these.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return torch.device("cpu")
    if kind == "mps" and not index:
        if torch.backends.mps.is_available():
            return torch.device("mps")
        raise DeviceError("This machine has no Apple GPU that PyTorch can use.", "Choose cpu or auto.")
    if kind == "cuda" and (index.isdecimal() or not index):
        return _cuda_device(int(index or 0))
    raise DeviceError(
        f"There is no device called “{name}”.", "Choose auto, cpu, mps, cuda or cuda: with a number."
    )


def _cuda_device(index: int) -> torch.device:
    if not torch.cuda.is_available():
        if torch.version.cuda is None:
            raise DeviceError(
                "The installed PyTorch has no CUDA support.",
                "Install the engine environment again with a CUDA variant, or choose cpu.",
            )
        raise DeviceError("No CUDA device was found.", "Check the NVIDIA driver, or choose cpu.")
    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(
            f"There is no CUDA device {index}; this machine has {count}, counted from 0.",
            "Choose a smaller number, or auto.",
        )
    return torch.device("cuda", index)


def has_bf16_units(device: torch.device) -> bool:
    """Say whether the device multiplies bf16 in hardware; emulation, which is slower, does not count."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def choose_precision(device: torch.device, name: str = "auto") -> ComputePlan:
    """Return the plan for a device and a precision.

    ``auto`` takes bf16 where the device has units for it, fp16 on older CUDA devices,
    else fp32. On Apple GPUs ``auto`` stays with fp32: low precision is untested there.

    Raises:
        DeviceError: The name is unknown, or the device would only emulate it.
    """
    if name not in PRECISIONS:
        raise DeviceError(f"There is no precision called “{name}”.", "Choose auto, fp32, bf16 or fp16.")
    if name == "auto":
        if has_bf16_units(device):
            return ComputePlan(device, "bf16", is_automatic=True)
        return ComputePlan(device, "fp16" if device.type == "cuda" else "fp32", device.type == "cuda")
    if name == "bf16" and device.type != "mps" and not has_bf16_units(device):
        raise DeviceError(f"This {_device_word(device)} has no units for bf16.", "Choose auto or fp32.")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("A CPU has no units for fp16.", "Choose auto, fp32 or bf16.")
    return ComputePlan(device, name)


def _device_word(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else "GPU"


def describe_device(device: torch.device) -> str:
    """Return the device's name for people, such as ``NVIDIA GeForce RTX 3060 (cuda:0)``."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    if device.type == "mps":
        return "Apple GPU (mps)"
    name = torch.cpu.get_capabilities().get("cpu_name") or "CPU"
    return f"{name}, {torch.get_num_threads()} threads (cpu)"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device and precision a name stands for, on machines that this one is not."""

from __future__ import annotations

import pytest
import torch

from geo_sam2.engine.device import choose_device, choose_precision, has_bf16_units
from geo_sam2.errors import DeviceError

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes torch see another machine."""

    def pretend(*, cuda=0, capability=(9, 0), mps=False, bf16=False, cuda_build=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.version, "cuda", "13.0" if cuda_build else None)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": bf16})

    return pretend


@pytest.mark.parametrize(
    ("there", "name", "expected"),
    [
        ({}, "auto", "cpu"),
        ({"mps": True}, "auto", "mps"),
        ({"cuda": 1, "mps": True}, "auto", "cuda:0"),
        ({"cuda": 2}, "cuda:1", "cuda:1"),
        ({"cuda": 2}, "cuda", "cuda:0"),
        ({"cuda": 2}, "cpu", "cpu"),
    ],
)
def test_device_by_name(machine, there, name, expected):
    machine(**there)
    assert str(choose_device(name)) == expected


@pytest.mark.parametrize(
    ("there", "name", "words"),
    [
        ({}, "cuda", "No CUDA device"),
        ({"cuda_build": False}, "cuda:0", "no CUDA support"),
        ({"cuda": 2}, "cuda:2", "no CUDA device 2"),
        ({}, "mps", "no Apple GPU"),
        ({}, "gpu", "no device called"),
        ({}, "cuda:x", "no device called"),
        ({}, "cpu:0", "no device called"),
        ({}, "", "no device called"),
    ],
)
def test_device_that_is_not_here_is_said(machine, there, name, words):
    machine(**there)
    with pytest.raises(DeviceError, match=words):
        choose_device(name)


@pytest.mark.parametrize(
    ("there", "device", "name", "expected"),
    [
        ({"bf16": True}, CPU, "auto", ("bf16", True)),
        ({}, CPU, "auto", ("fp32", False)),
        ({"bf16": True}, CPU, "fp32", ("fp32", False)),
        ({"bf16": True}, CPU, "bf16", ("bf16", False)),
        ({"cuda": 1}, CUDA, "auto", ("bf16", True)),
        ({"cuda": 1, "capability": (7, 5)}, CUDA, "auto", ("fp16", True)),
        ({"cuda": 1, "capability": (7, 5)}, CUDA, "fp16", ("fp16", False)),
    ],
)
def test_precision_by_name(machine, there, device, name, expected):
    machine(**there)
    plan = choose_precision(device, name)
    assert (plan.precision, plan.is_automatic) == expected


@pytest.mark.parametrize(
    ("there", "device", "name"),
    [
        ({}, CPU, "bf16"),
        ({"bf16": True}, CPU, "fp16"),
        ({"cuda": 1, "capability": (7, 5)}, CUDA, "bf16"),
        ({}, CPU, "int8"),
    ],
)
def test_precision_that_would_be_emulated_is_refused(machine, there, device, name):
    machine(**there)
    with pytest.raises(DeviceError):
        choose_precision(device, name)


def test_emulated_bf16_does_not_count(machine):
    machine(bf16=False)  # AVX-512 alone, where oneDNN emulates
    assert not has_bf16_units(CPU)

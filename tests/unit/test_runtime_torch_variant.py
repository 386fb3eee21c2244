# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of torch a machine gets, and where it is looked for."""

from __future__ import annotations

import sys

import pytest

from geo_sam2.errors import InstallError
from geo_sam2.runtime import pins, torch_variant
from geo_sam2.runtime.machine import Machine
from geo_sam2.runtime.torch_variant import Card, TorchVariant, choose, parse_nvidia_smi, sources

LINUX = Machine("linux", "x86_64")
ARM_LINUX = Machine("linux", "aarch64")
WINDOWS = Machine("windows", "x86_64")
MAC = Machine("macos", "aarch64", (15, 0))
TORCH = f"torch=={pins.TORCH.version}"


def card(capability: tuple[int, int], driver: tuple[int, int], name: str = "NVIDIA X") -> Card:
    return Card(name, driver, capability)


def test_cards_are_read_from_nvidia_smi():
    output = (
        "NVIDIA GeForce RTX 4090, 580.65.06, 8.9\n"
        "Quadro P1000, 535.183, 6.1\n"
        "\n"
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
        "Some card, [N/A], 9.0\n"
    )
    assert parse_nvidia_smi(output) == [
        Card("NVIDIA GeForce RTX 4090", (580, 65), (8, 9)),
        Card("Quadro P1000", (535, 183), (6, 1)),
    ]


@pytest.mark.parametrize(
    ("machine", "cards", "name", "words"),
    [
        (LINUX, [card((8, 9), (580, 65))], "cu130", "NVIDIA X with driver 580.65"),
        (LINUX, [card((7, 5), (580, 0))], "cu130", ""),
        (LINUX, [card((9, 0), (560, 35))], "cu126", ""),
        (LINUX, [card((6, 1), (580, 65))], "cu126", ""),  # CUDA 13 has no Pascal
        (LINUX, [card((6, 1), (525, 60))], "cu126", ""),
        (LINUX, [card((6, 1), (525, 59))], "cpu", "525.60 or later"),
        (WINDOWS, [card((8, 6), (528, 24))], "cpu", "528.33 or later"),
        (WINDOWS, [card((8, 6), (528, 33))], "cu126", ""),
        (LINUX, [card((12, 0), (570, 86))], "cpu", "580 or later"),  # CUDA 12.6 has no Blackwell
        (LINUX, [card((3, 5), (470, 1))], "cpu", "no longer supports"),
        (LINUX, [card((3, 5), (580, 65)), card((8, 6), (580, 65), "B")], "cu130", "B with driver"),
        (LINUX, [], "cpu", "no NVIDIA card found"),
        (MAC, [], "apple", "MPS"),
    ],
)
def test_auto_follows_card_and_driver_and_says_why(machine, cards, name, words):
    chosen = choose("auto", machine, cards)
    assert chosen.name == name
    assert words in chosen.reason


@pytest.mark.parametrize("name", ["cpu", "cu126", "cu130", "cu132", "rocm7.2", "xpu", " CPU "])
def test_variant_asked_for_is_taken_without_looking_at_cards(name):
    assert choose(name, LINUX, [card((3, 5), (470, 1))]).name == name.strip().lower()


def test_cuda_means_the_best_for_the_driver():
    assert choose("cuda", LINUX, [card((6, 1), (580, 65))]).name == "cu126"
    assert choose("cuda", LINUX, []).name == "cu130"
    with pytest.raises(InstallError, match="no longer supports"):
        choose("cuda", LINUX, [card((3, 5), (470, 1))])


@pytest.mark.parametrize(("name", "machine"), [("cu999", LINUX), ("", LINUX), ("cu130", MAC)])
def test_unknown_variant_is_refused(name, machine):
    with pytest.raises(InstallError) as caught:
        choose(name, machine, [])
    assert caught.value.hint


def labels(found: list[torch_variant.TorchSource]) -> list[tuple[str, tuple[str, ...]]]:
    return [(source.requirement, source.arguments) for source in found]


@pytest.mark.parametrize(
    ("name", "machine", "options", "expected"),
    [
        ("cpu", LINUX, {}, [(f"{TORCH}+cpu", ("--torch-backend", "cpu"))]),
        (
            "cpu",
            ARM_LINUX,
            {"has_own_places": True},
            [(f"{TORCH}+cpu", ()), (f"{TORCH}+cpu", ("--torch-backend", "cpu"))],
        ),
        # PyPI's wheels for Windows and macOS are the builds wanted.
        ("cpu", WINDOWS, {}, [(TORCH, ())]),
        ("apple", MAC, {}, [(TORCH, ())]),
        # PyPI's wheel for Linux is the CUDA 13.0 build, and a way past an unreachable PyTorch index.
        ("cu130", LINUX, {}, [(f"{TORCH}+cu130", ("--torch-backend", "cu130")), (TORCH, ())]),
        ("cu130", WINDOWS, {}, [(f"{TORCH}+cu130", ("--torch-backend", "cu130"))]),
        ("cu126", LINUX, {}, [(f"{TORCH}+cu126", ("--torch-backend", "cu126"))]),
        (
            "cu126",
            LINUX,
            {"torch_index": "https://m.example/whl/cu126", "has_own_places": True},
            [(f"{TORCH}+cu126", ("--index", "https://m.example/whl/cu126"))],
        ),
        (
            "cpu",
            LINUX,
            {"torch_index": "https://m.example/links.html"},
            [(f"{TORCH}+cpu", ("--find-links", "https://m.example/links.html"))],
        ),
        ("cpu", LINUX, {"torch_index": "/opt/wheels"}, [(f"{TORCH}+cpu", ("--find-links", "/opt/wheels"))]),
        ("cpu", WINDOWS, {"torch_index": r"D:\wheels"}, [(TORCH, ("--find-links", r"D:\wheels"))]),
    ],
)
def test_torch_is_looked_for_in_order(name, machine, options, expected):
    assert labels(sources(TorchVariant(name, ""), machine, **options)) == expected


def test_only_gpu_builds_bring_packages_beyond_the_pins_and_need_much_room():
    closed = {
        name for name in ("cpu", "apple", "cu126", "xpu") if torch_variant.is_closed(TorchVariant(name, ""))
    }
    assert closed == {"cpu", "apple"}
    assert TorchVariant("cpu", "").needed_bytes < 2e9 < TorchVariant("cu130", "").needed_bytes


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for nvidia-smi")
def test_driver_that_does_not_answer_is_no_card(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setattr(torch_variant, "_nvidia_smi_places", lambda: [str(tmp_path / "absent"), str(program)])
    monkeypatch.setenv("PATH", "")
    program.write_text("#!/bin/sh\necho 'NVIDIA T4, 580.1, 7.5'\nexit 9\n")
    program.chmod(0o755)
    assert torch_variant.nvidia_cards() == []
    program.write_text("#!/bin/sh\necho 'NVIDIA T4, 580.1, 7.5'\n")
    assert torch_variant.nvidia_cards() == [Card("NVIDIA T4", (580, 1), (7, 5))]

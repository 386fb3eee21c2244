# SPDX-License-Identifier: GPL-3.0-or-later
"""The weights that ship fit the architecture that ships, and nothing else is in the file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from demo_training.model import DEMO_FOLDER, MEMORY_PREFIXES, build_demo_model  # noqa: E402

WEIGHTS = DEMO_FOLDER / "demo.safetensors"
MAX_BYTES = 13_000_000


def test_weights_are_small_and_say_what_they_are():
    assert WEIGHTS.stat().st_size <= MAX_BYTES
    with safe_open(WEIGHTS, "pt") as stored:
        metadata = stored.metadata()
    assert metadata["licence"] == "GPL-3.0-or-later"
    assert "not for work" in metadata["purpose"]


def test_weights_are_finite_float16_of_all_that_an_image_needs():
    with safe_open(WEIGHTS, "pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    expected = {
        name: tensor.shape
        for name, tensor in build_demo_model().state_dict().items()
        if not name.startswith(MEMORY_PREFIXES)
    }
    assert {name: tensor.shape for name, tensor in tensors.items()} == expected
    assert "no_mem_embed" in expected


def test_trunk_has_one_to_two_million_parameters():
    trunk = build_demo_model().image_encoder.trunk
    assert 1e6 < sum(parameter.numel() for parameter in trunk.parameters()) < 2e6

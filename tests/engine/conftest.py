# SPDX-License-Identifier: GPL-3.0-or-later
"""Models and upstream's predictor for the tests that run in the private environment."""

from __future__ import annotations

import os

# Spinning OpenMP threads slow everything down when something else runs (see runtime.engine_command).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

from geo_sam2.engine.device import choose_device
from geo_sam2.engine.sam2_model import load_model
from tests.engine import two_tiles, upstream


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory):
    """Return a function that writes an official architecture with seeded random weights to a .pt file."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def write(architecture: str):
        path = folder / f"{architecture}.pt"
        if not path.exists():
            torch.save({"model": upstream.random_model(architecture).state_dict()}, path)
        return path

    return write


@pytest.fixture(scope="session", params=["tiny", "base_plus", "demo"])
def model_pair(request, random_checkpoint):
    """Return (our model, upstream's model) with the same weights."""
    if request.param == "demo":
        return load_model(upstream.DEMO_WEIGHTS, choose_device("cpu")), upstream.demo_model()
    path = random_checkpoint(request.param)
    return load_model(path, choose_device("cpu")), upstream.random_model(request.param)


@pytest.fixture(scope="session")
def tiny_model(random_checkpoint):
    return load_model(random_checkpoint("tiny"), choose_device("cpu"))


@pytest.fixture(scope="session")
def pond_store(tmp_path_factory):
    """Return (store, its records by window); see ``two_tiles``."""
    return two_tiles.make_store(tmp_path_factory.mktemp("ponds") / "ponds.demo.geosam2")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Fused layers are used where they compute rightly, and plain ones give the same."""

from __future__ import annotations

import pytest
import torch

from geo_sam2.engine import fused_linear
from geo_sam2.engine.fused_linear import FusedLinear, has_fused_linear, products


@pytest.fixture(autouse=True)
def asked_anew():
    has_fused_linear.cache_clear()
    yield
    has_fused_linear.cache_clear()


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("way", ["__call__", "gelu", "relu", "add"])
def test_fused_layer_gives_what_the_plain_one_gives(rows, way):
    if not has_fused_linear():
        pytest.skip("this build of torch has no oneDNN")
    torch.manual_seed(rows)
    x, weight, bias = torch.randn(rows, 32), torch.randn(16, 32), torch.randn(16)
    arguments = (x, torch.randn(rows, 16)) if way == "add" else (x,)
    fused, plain = (
        getattr(FusedLinear(weight, bias, torch.float32, fused=fused), way) for fused in (True, False)
    )
    with torch.inference_mode():
        torch.testing.assert_close(fused(*arguments), plain(*arguments))
        torch.testing.assert_close(products(x, weight, fused=True), products(x, weight, fused=False))


def test_operator_that_computes_wrongly_is_not_used(monkeypatch):
    monkeypatch.setattr(fused_linear, "products", lambda x, rows, *, fused: torch.zeros(2, 4))
    assert not has_fused_linear()


def test_operator_that_fails_is_not_used(monkeypatch):
    def missing(*_):
        raise RuntimeError("not implemented for this backend")

    monkeypatch.setattr(FusedLinear, "gelu", missing)
    assert not has_fused_linear()


def test_build_without_onednn_is_noticed(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_fused_linear()

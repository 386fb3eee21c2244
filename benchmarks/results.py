# SPDX-License-Identifier: GPL-3.0-or-later
"""The flat file of figures, and what the machine was that they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results.json"


def read_results() -> dict[str, Any]:
    """Return all figures measured so far; empty before the first run."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def add_results(figures: Mapping[str, Any]) -> None:
    """Put figures into the file; those of other benchmarks stay."""
    merged = {**read_results(), **figures}
    text = json.dumps(dict(sorted(merged.items())), indent=1)
    RESULTS.write_text(text + "\n", encoding="utf-8")


def machine_facts() -> dict[str, Any]:
    """Return what the figures were measured on."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    units = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if capabilities.get(name)]
    return {
        "machine_cpu": capabilities.get("cpu_name") or platform.processor() or platform.machine(),
        "machine_units": " ".join(units),
        "machine_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine_system": platform.platform(),
        "machine_torch": torch.__version__,
        "machine_threads": torch.get_num_threads(),
    }

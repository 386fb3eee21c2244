# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that an environment does the engine's work, by commands run on its own interpreter."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geo_sam2.errors import InstallError
from geo_sam2.runtime.child_process import (
    Finished,
    IsCancelled,
    OnLine,
    clean_environment,
    never_cancelled,
    no_line,
    run_lines,
)
from geo_sam2.runtime.torch_variant import APPLE, CPU, TorchVariant

CPU_DEVICE = "cpu"

_ENGINE = Path(__file__).resolve().parents[1] / "engine"
PROOF_SCRIPT = _ENGINE / "environment_proof.py"
SELF_TEST_SCRIPT = _ENGINE / "self_test.py"


def device_for(variant: TorchVariant) -> str:
    """Return the torch device that a variant is there for."""
    if variant.name == CPU:
        return CPU_DEVICE
    if variant.name == APPLE:
        return "mps"
    return "xpu" if variant.name == "xpu" else "cuda"  # ROCm's builds call theirs cuda as well


def commands(
    python: Path, device: str, scripts: Sequence[Path] = (PROOF_SCRIPT, SELF_TEST_SCRIPT)
) -> list[list[str]]:
    """Return the commands that prove an environment; each prints a JSON object as its last line."""
    return [[str(python), "-I", str(script), "--device", device] for script in scripts if script.is_file()]


def answer_of(finished: Finished) -> dict[str, Any]:
    """Read the JSON object of a proof's last line; what is not one becomes its error."""
    last = finished.lines[-1] if finished.lines else ""
    try:
        answer = json.loads(last)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"error": last or f"ended with status {finished.returncode} and no message"}
    if finished.returncode != 0:
        answer.setdefault("error", f"ended with status {finished.returncode}")
    return answer


def prove(
    python: Path,
    device: str,
    on_line: OnLine = no_line,
    is_cancelled: IsCancelled = never_cancelled,
) -> dict[str, Any]:
    """Run all proofs and return their merged facts; InstallError says what does not work."""
    facts: dict[str, Any] = {}
    environ = clean_environment(os.environ)
    for command in commands(python, device):
        try:
            finished = run_lines(command, environ, on_line, is_cancelled, folder=python.parent)
        except OSError as error:
            raise InstallError(
                f"The environment's Python does not start ({error.strerror}).", "Install again."
            ) from error
        answer = answer_of(finished)
        if "error" in answer:
            raise InstallError(
                f"The environment was installed but does not work: {answer['error']}.",
                "Install again; if it stays so, the log has the whole report.",
            )
        facts.update(answer)
    return facts


def facts_of(python: Path) -> dict[str, Any]:
    """Ask an environment for versions and devices; its answer may hold ``error`` instead."""
    try:
        return answer_of(
            run_lines([str(python), "-I", str(PROOF_SCRIPT), "--facts-only"], clean_environment(os.environ))
        )
    except OSError as error:
        return {"error": str(error)}

# SPDX-License-Identifier: GPL-3.0-or-later
"""How an environment is proved: the commands, and how their answers are read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from geo_sam2.errors import InstallError
from geo_sam2.runtime import proof
from geo_sam2.runtime.child_process import Finished
from geo_sam2.runtime.torch_variant import TorchVariant


@pytest.mark.parametrize(
    ("variant", "device"),
    [("cpu", "cpu"), ("apple", "mps"), ("cu130", "cuda"), ("rocm7.2", "cuda"), ("xpu", "xpu")],
)
def test_each_variant_is_proved_on_the_device_that_it_is_there_for(variant, device):
    assert proof.device_for(TorchVariant(variant, "")) == device


def test_scripts_that_are_there_are_run_isolated_and_in_order(tmp_path):
    first, absent, last = (tmp_path / name for name in ("first.py", "absent.py", "last.py"))
    first.touch()
    last.touch()
    python = tmp_path / "python"
    assert proof.commands(python, "cuda", (first, absent, last)) == [
        [str(python), "-I", str(first), "--device", "cuda"],
        [str(python), "-I", str(last), "--device", "cuda"],
    ]
    assert proof.PROOF_SCRIPT.is_file()


@pytest.mark.parametrize(
    ("returncode", "lines", "error"),
    [
        (0, ("a warning", '{"device": "cpu"}'), None),
        (1, ('{"error": "import of torch: ImportError"}',), "import of torch: ImportError"),
        (1, ('{"device": "cpu"}',), "ended with status 1"),
        (-11, (), "ended with status -11 and no message"),
        (0, ("Segmentation fault",), "Segmentation fault"),
        (0, ("[1, 2]",), "[1, 2]"),
    ],
)
def test_answer_is_the_last_line_and_anything_else_is_an_error(returncode, lines, error):
    assert proof.answer_of(Finished(returncode, lines)).get("error") == error


def write_script(path: Path, answer: dict[str, object], status: int = 0) -> Path:
    path.write_text(f"import sys\nprint({json.dumps(answer)!r}, flush=True)\nsys.exit({status})\n")
    return path


def test_answers_of_all_scripts_are_merged(tmp_path, monkeypatch):
    scripts = (
        write_script(tmp_path / "a.py", {"python": "3.11.2", "tile_seconds": 2}),
        write_script(tmp_path / "b.py", {"tile_seconds": 1}),
    )
    monkeypatch.setattr(proof.commands, "__defaults__", (scripts,))
    assert proof.prove(Path(sys.executable), "cpu") == {"python": "3.11.2", "tile_seconds": 1}


def test_failed_proof_says_what_does_not_work(tmp_path, monkeypatch):
    script = write_script(tmp_path / "a.py", {"error": "import of torch: OSError: no libc10"}, 1)
    monkeypatch.setattr(proof.commands, "__defaults__", ((script,),))
    with pytest.raises(InstallError, match="does not work: import of torch: OSError: no libc10"):
        proof.prove(Path(sys.executable), "cpu")
    monkeypatch.setattr(proof, "PROOF_SCRIPT", script)
    assert "no libc10" in proof.facts_of(Path(sys.executable))["error"]


def test_interpreter_that_does_not_start_is_an_error_and_no_traceback(tmp_path):
    assert "error" in proof.facts_of(tmp_path / "python")
    with pytest.raises(InstallError, match="does not start"):
        proof.prove(tmp_path / "python", "cpu")

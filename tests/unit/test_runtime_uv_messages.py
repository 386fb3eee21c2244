# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person is told when uv fails; the outputs in uv_output/ are uv 0.13.9's own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from geo_sam2.runtime.child_process import Finished
from geo_sam2.runtime.uv_messages import NO_SPACE, cause_of, explain, package_in, without_password_in_text

OUTPUTS = Path(__file__).parent / "uv_output"


def failed(name: str, returncode: int = 1) -> Finished:
    return Finished(returncode, tuple((OUTPUTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()))


CASES = [
    ("no_network", "no network", "numpy", "pypi.org cannot be reached"),
    ("closed_proxy", "no network", "numpy", "pypi.org cannot be reached"),
    ("untrusted_certificate", "certificate", "numpy", "the certificate of pypi.org is not trusted"),
    ("no_such_version", "no version", "numpy", "does not have this version"),
    ("torch_index_unreachable", "no network", "torch", "download.pytorch.org cannot be reached"),
    ("no_usable_wheel", "wrong Python", "rasterio", "no build for this Python"),
    ("not_in_kit", "no version", "torch", "mirror or kit does not have"),
    ("truncated_wheel", "damaged", "numpy", "a file is damaged"),
    ("no_space_in_cache", NO_SPACE, "numpy", "no space left"),
    ("no_space_in_environment", NO_SPACE, "numpy", "no space left"),
    ("file_too_large", NO_SPACE, "numpy", "no space left"),
    ("no_build_tool", "build failed", "iopath", "could not be built"),
    ("other_python", "wrong Python", "torch", "no build for this Python"),
    ("other_platform", "wrong Python", "torch", "no build for this Python"),
    ("index_asks_for_password", "refused", "numpy", "127.0.0.1:8765 refuses access"),
    ("index_forbids", "refused", "numpy", "127.0.0.1:8765 refuses access"),
    ("server_error", "server", "numpy", "127.0.0.1:8765 answers with an error"),
    ("proxy_asks_for_password", "proxy", "numpy", "the proxy asks for a user name"),
    ("python_mirror_empty", "no version", "cpython", "mirror or kit does not have"),
    ("read_only", "not permitted", "numpy", "cannot be written"),
]


@pytest.mark.parametrize(("name", "cause", "package", "words"), CASES)
def test_failure_names_its_package_and_its_cause(name, cause, package, words):
    finished = failed(name)
    assert cause_of(finished) == cause
    error = explain(finished, "The packages")
    assert f"The packages ({package}) could not be installed" in error.text
    assert words in error.text
    assert error.hint


def test_every_output_is_in_the_table():
    assert {path.stem for path in OUTPUTS.glob("*.txt")} == {case[0] for case in CASES}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_end_by_the_file_size_signal_is_no_space_for_the_download_under_way():
    lines = ("Downloading rasterio (34.2MiB)", "Downloading numpy (16.1MiB)", " Downloaded rasterio")
    finished = Finished(-signal.SIGXFSZ, lines)
    assert cause_of(finished) == NO_SPACE
    assert explain(finished, "The packages").text.startswith("The packages (numpy) could not be installed")


def test_end_by_another_signal_is_told_as_such():
    error = explain(Finished(-9, ("Resolved 1 package in 5ms",)), "PyTorch")
    assert error.text == "PyTorch could not be installed: the installer was ended by signal 9."


def test_unknown_failure_shows_the_last_words():
    error = explain(Finished(2, ("error: the moon is full", "")), "PyTorch")
    assert error.text == "PyTorch could not be installed: error: the moon is full"


def test_successes_before_the_error_are_not_taken_for_causes():
    lines = ("Downloading torch (2.0GiB)", "warning: connection reset, retrying", "error: odd")
    assert cause_of(Finished(1, lines)) is None


def test_passwords_in_addresses_are_not_shown():
    line = "error: Failed to fetch: https://ada:secret@mirror.example/simple/numpy/ (https://x.example/a)"
    shown = without_password_in_text(line)
    assert "secret" not in shown
    assert "ada" not in shown
    assert "https://mirror.example/simple/numpy/" in shown
    error = explain(Finished(1, (line, "  cause: client error (Connect)")), "The packages")
    assert "secret" not in str(error)
    assert "mirror.example cannot be reached" in error.text
    unknown = explain(Finished(1, ("error: odd answer of https://ada:secret@mirror.example/",)), "PyTorch")
    assert "secret" not in str(unknown)
    assert "mirror.example" in unknown.text


def test_output_without_a_package_names_none():
    assert package_in("error: something else") == ""

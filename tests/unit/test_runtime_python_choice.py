# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python the environment is built on, per system and per what is found."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from geo_sam2.errors import InstallError
from geo_sam2.runtime import pins
from geo_sam2.runtime.machine import Machine
from geo_sam2.runtime.python_choice import (
    Interpreter,
    ManagedPython,
    choose,
    distribution_pythons,
    examine,
    managed_request,
    refuse_old_libc,
    why_not,
)

LINUX = Machine("linux", "x86_64")
MAC = Machine("macos", "aarch64", (15, 0))


def interpreter(*version: int, **facts: object) -> Interpreter:
    return Interpreter(Path("/usr/bin/python3"), version, **facts)


@pytest.mark.parametrize(
    ("found", "wanted_minor", "words"),
    [
        (interpreter(3, 9, 2), "", "Python 3.9, and 3.10 to 3.14"),
        (interpreter(3, 15, 0), "", "Python 3.15, and 3.10 to 3.14"),
        (interpreter(3, 12, 1), "3.11", "Python 3.12, and 3.11"),
        (interpreter(3, 11, 2, implementation="pypy"), "", "ordinary 64-bit CPython"),
        (interpreter(3, 11, 2, bits=32), "", "ordinary 64-bit CPython"),
        (interpreter(3, 14, 0, free_threaded=True), "", "ordinary 64-bit CPython"),
        (None, "", "does not run"),
        (interpreter(3, 10, 0), "", ""),
        (interpreter(3, 14, 2), "", ""),
        (interpreter(3, 11, 2), "3.11", ""),
    ],
)
def test_unfit_interpreters_are_refused_with_a_reason(found, wanted_minor, words):
    reason = why_not(found, wanted_minor)
    assert (words in reason) if words else reason == ""


@pytest.mark.parametrize(
    ("machine", "request_"),
    [
        (Machine("windows", "x86_64"), "windows-x86_64-none"),
        (Machine("windows", "aarch64"), "windows-x86_64-none"),
        (MAC, "macos-aarch64-none"),
        (LINUX, "linux-x86_64-gnu"),
        (Machine("linux", "aarch64"), "linux-aarch64-gnu"),
    ],
)
def test_managed_python_is_asked_for_down_to_the_architecture(machine, request_):
    assert managed_request(machine) == f"cpython-{pins.MANAGED_PYTHON}-{request_}"


@pytest.mark.parametrize("machine", [MAC, Machine("windows", "x86_64")])
def test_windows_and_macos_never_take_a_python_that_is_lying_about(machine):
    assert choose(machine, candidates=[Path(sys.executable)]) == ManagedPython(managed_request(machine))


def fake_python(path: Path, version: tuple[int, ...], **facts: object) -> Path:
    """Write a program that answers as an interpreter of that version would."""
    answer = {"version": version, "implementation": "cpython", "bits": 64, "libc": ["glibc", "2.36"]}
    answer.update({"free_threaded": False, **facts})
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for interpreters")
def test_linux_takes_the_first_of_the_distribution_that_serves(tmp_path):
    old = fake_python(tmp_path / "old", (3, 9, 2))
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    good = fake_python(tmp_path / "good", (3, 12, 3))
    other = fake_python(tmp_path / "other", (3, 11, 2))
    candidates = [tmp_path / "absent", old, broken, good, other]
    assert choose(LINUX, candidates=candidates).path == good
    assert choose(LINUX, candidates=candidates, wanted_minor="3.11").path == other
    assert choose(LINUX, candidates=[old, broken]) == ManagedPython(managed_request(LINUX))


def test_distribution_pythons_begin_with_the_one_wanted_and_never_ask_path(monkeypatch):
    monkeypatch.setenv("PATH", "/opt/conda/bin")
    assert [path.name for path in distribution_pythons()[:2]] == ["python3", "python3.14"]
    assert distribution_pythons("3.11")[0] == Path("/usr/bin/python3.11")
    assert {path.parent for path in distribution_pythons()} == {Path("/usr/bin")}


def test_interpreter_asked_for_is_examined_for_real(tmp_path):
    found = examine(Path(sys.executable))
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert choose(MAC, asked_for=Path(sys.executable)) == found
    with pytest.raises(InstallError, match="it does not run"):
        choose(LINUX, asked_for=tmp_path / "nothing")


@pytest.mark.parametrize("answer", ["", "Python 3.11", "[1, 2]"])
@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for interpreters")
def test_program_that_answers_nonsense_is_no_interpreter(tmp_path, answer):
    path = tmp_path / "python3"
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    assert examine(path) is None


@pytest.mark.parametrize(
    ("libc", "refused"),
    [(("glibc", "2.27"), True), (("glibc", "2.28"), False), (("glibc", "2.36"), False), (("", ""), False)],
)
def test_old_c_library_is_refused_before_any_download(libc, refused):
    found = interpreter(3, 11, 2, libc=libc)
    if refused:
        with pytest.raises(InstallError, match=r"glibc 2\.27"):
            refuse_old_libc(found)
    else:
        refuse_old_libc(found)

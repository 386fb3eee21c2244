# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of process the engine is: its pipes, paths, environment, priority."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from gates import PATIENCE_S
from raw_engine import FAKE_ENGINE, RawEngine, fake_engine_command

import geo_sam2
from geo_sam2.runtime.engine_command import engine_command

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def description(client):
    return client.request({"type": "describe"}).result(PATIENCE_S).fields


def test_noise_on_standard_output_goes_to_the_log_and_input_is_empty():
    with RawEngine() as engine:
        engine.send({"type": "make_noise", "id": 1})
        assert engine.receive("result", "error").fields == {
            "type": "result",
            "id": 1,
            "stdin": "",
            "fd_0": 0,
            "child": 0,
        }
        engine.send({"type": "echo", "id": 2, "value": "in step"})
        assert engine.receive("result").fields["echo"] == "in step"
        engine.end_input()
        engine.wait()
    log = engine.log.decode()
    for noise in (
        "noise from print",
        "noise from descriptor 1",
        "noise from a child",
        *(["noise from C"] if sys.platform != "win32" else []),
    ):
        assert noise in log


def test_engine_starts_from_a_folder_of_any_name(make_client, tmp_path):
    folder = tmp_path / "plug ins für 湖" / "geo_sam2"
    shutil.copytree(REPOSITORY / "geo_sam2", folder, ignore=shutil.ignore_patterns("models", "__pycache__"))
    command = engine_command(Path(sys.executable), launcher=folder / "engine" / "launcher.py", environ={})
    hello = make_client(command).start().result(PATIENCE_S)
    assert hello.fields["version"] == geo_sam2.__version__


def test_only_the_package_is_importable(description):
    folders = {Path(entry).resolve() for entry in description["path"] if entry}
    assert not folders & {REPOSITORY, REPOSITORY / "geo_sam2", FAKE_ENGINE.parent, Path.cwd()}


def test_working_folder_is_not_the_plugins(description):
    plugin = REPOSITORY / "geo_sam2"
    assert plugin not in (Path(description["folder"]), *Path(description["folder"]).parents)


def test_environment_is_the_one_of_the_command(description):
    command = fake_engine_command()
    # LC_CTYPE is Python's own: coercion of the C locale
    assert {k: v for k, v in description["environment"].items() if k != "LC_CTYPE"} == dict(
        command.environment
    )


@pytest.mark.skipif(sys.platform == "win32", reason="niceness is POSIX")
def test_priority_is_below_normal(description):
    assert description["niceness"] == max(os.getpriority(os.PRIO_PROCESS, 0), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="oom_score_adj is Linux")
def test_engine_is_first_in_line_for_the_out_of_memory_killer(description):
    assert description["oom_score_adj"] == 1000


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_engine_has_a_session_of_its_own(description):
    assert os.getsid(description["pid"]) != os.getsid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_children_do_not_inherit_the_pipes_of_the_protocol(description):
    inheritable = [
        entry.name
        for entry in Path(f"/proc/{description['pid']}/fdinfo").iterdir()
        if not int(entry.read_text().split("flags:")[1].split()[0], 8) & os.O_CLOEXEC
    ]
    assert sorted(inheritable) == ["0", "1", "2"]

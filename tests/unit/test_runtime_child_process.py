# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs run by the installer: clean environment, lines as they happen, cancel by group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from geo_sam2.errors import CancelledError
from geo_sam2.runtime import child_process
from geo_sam2.runtime.child_process import clean_environment, run_lines, system_path

LIMIT_S = 20.0
ROOT = Path(__file__).resolve().parents[2]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX process groups")


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-u", "-c", code, *arguments]


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@pytest.mark.parametrize(
    "name",
    [
        "PYTHONHOME",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "QT_PLUGIN_PATH",
        "QGIS_PREFIX_PATH",
        "GDAL_DATA",
        "PROJ_LIB",
        "PROJ_DATA",
        "OSGEO4W_ROOT",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "DYLD_LIBRARY_PATH",
        "__PYVENV_LAUNCHER__",
    ],
)
def test_what_qgis_or_conda_leave_behind_is_dropped(name):
    assert name not in clean_environment({name: "x", "HOME": "/home/ada"}, "linux")


@pytest.mark.parametrize(
    "name",
    ["HOME", "LANG", "TMPDIR", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "UV_INDEX", "PIP_INDEX_URL"],
)
def test_what_says_how_to_reach_the_world_stays(name):
    assert clean_environment({name: "x"}, "linux")[name] == "x"


def test_path_is_reduced_to_system_folders():
    assert clean_environment({"PATH": "/opt/conda/bin:/usr/bin"}, "linux")["PATH"].startswith(
        "/usr/local/sbin:"
    )
    windows = clean_environment({"Path": r"C:\OSGeo4W\bin", "SYSTEMROOT": r"D:\Win"}, "win32")
    assert "Path" not in windows
    assert windows["PATH"] == r"D:\Win\System32;D:\Win;D:\Win\System32\Wbem"
    assert system_path({}, "win32").startswith(r"C:\Windows\System32;")


def test_lines_come_as_they_happen_and_in_order(tmp_path):
    """The child waits after its first line for what only the report of that line creates."""
    gate = tmp_path / "gate"
    code = (
        "import pathlib, sys, time\n"
        "print('one')\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
        "print('two', file=sys.stderr); print('')\n"
        "sys.stdout.write('50%\\r100%\\n'); sys.exit(3)\n"
    )
    seen: list[str] = []
    threads = set()

    def on_line(line: str) -> None:
        seen.append(line)
        threads.add(threading.get_ident())
        gate.touch()

    finished = run_lines(python(code, str(gate)), os.environ, on_line)
    assert seen == ["one", "two", "50%", "100%"]
    assert finished.lines == tuple(seen)
    assert finished.returncode == 3
    assert threads == {threading.get_ident()}


def test_child_runs_where_and_with_what_it_is_told(tmp_path):
    code = "import os; print(os.getcwd(), os.environ.get('MARK'))"
    finished = run_lines(python(code), {**os.environ, "MARK": "yes"}, folder=tmp_path)
    assert finished.text == f"{tmp_path} yes"


def test_child_does_not_read_what_is_meant_for_us():
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from geo_sam2.runtime.child_process import run_lines\n"
        "reader = [sys.executable, '-c', 'import sys; print(repr(sys.stdin.read()))']\n"
        "print(run_lines(reader, os.environ).text, sys.stdin.read())\n"
    )
    ran = subprocess.run(
        python(code, str(ROOT)), input="ours", capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert ran.stdout == "'' ours\n"


def test_bytes_that_are_not_utf8_do_not_stop_the_reader():
    finished = run_lines(python("import os; os.write(1, b'caf\\xe9\\nend\\n')"), os.environ)
    assert finished.lines == ("caf\ufffd", "end")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@posix_only
@pytest.mark.parametrize("stubborn", [False, True])
def test_cancel_ends_the_child_and_its_own_children(tmp_path, monkeypatch, stubborn):
    monkeypatch.setattr("geo_sam2.runtime.child_process._TERMINATE_GRACE_S", 0.2)
    mask = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    sleep = f"{mask}import time; print('there', flush=True); time.sleep(600)"
    code = (
        f"{mask}import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {sleep!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(os.getpid(), child.pid); child.wait()\n"
    )
    pids: list[int] = []
    with pytest.raises(CancelledError):
        run_lines(
            python(code),
            os.environ,
            lambda line: pids.extend(int(part) for part in line.split()),
            is_cancelled=lambda: bool(pids),
        )
    assert len(pids) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in pids), f"{pids} outlived the cancel")


@posix_only
def test_grandchild_that_keeps_the_pipe_does_not_keep_the_caller():
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)\n"
    )
    started = time.monotonic()
    finished = run_lines(python(code), os.environ)
    os.kill(int(finished.lines[0]), signal.SIGKILL)
    assert finished.returncode == 0
    assert time.monotonic() - started < LIMIT_S


def test_silence_is_reported_so_that_a_download_can_show_what_arrived(monkeypatch, tmp_path):
    monkeypatch.setattr("geo_sam2.runtime.child_process._SILENCE_S", 0.05)
    gate = tmp_path / "gate"
    code = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    run_lines(python(code, str(gate)), os.environ, on_silence=gate.touch)
    assert gate.exists()


def test_program_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        run_lines([str(tmp_path / "nothing")], os.environ)


def test_last_words_count_however_late_they_are_read(monkeypatch):
    """On a busy machine the reader gets its turn long after the child has ended."""
    slow_reader = child_process._read_lines

    def late(*arguments: object) -> None:
        time.sleep(0.5)
        slow_reader(*arguments)

    monkeypatch.setattr(child_process, "_read_lines", late)
    assert run_lines(python("print('last words')"), os.environ).lines == ("last words",)

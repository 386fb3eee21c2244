# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line and environment of the engine on each platform; nothing is started."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest

from geo_sam2.runtime.engine_command import LAUNCHER, engine_command, engine_environment

MISLEADING = {
    "PYTHONPATH": "/qgis/python",
    "PYTHONHOME": "/qgis",
    "PYTHONSTARTUP": "x",
    "VIRTUAL_ENV": "/venv",
    "VIRTUAL_ENV_PROMPT": "venv",
    "CONDA_PREFIX": "/conda",
    "CONDA_DEFAULT_ENV": "base",
    "QT_PLUGIN_PATH": "/qt",
    "QT_QPA_PLATFORM": "offscreen",
    "GDAL_DATA": "/gdal",
    "GDAL_DRIVER_PATH": "/gdal",
    "PROJ_LIB": "/proj",
    "PROJ_DATA": "/proj",
    "LD_LIBRARY_PATH": "/qgis/lib",
    "LD_PRELOAD": "/qgis/lib/x.so",
    "DYLD_LIBRARY_PATH": "/qgis/lib",
    "DYLD_INSERT_LIBRARIES": "/qgis/lib/x.dylib",
    "__PYVENV_LAUNCHER__": "/Applications/QGIS.app/python3",
}
HARMLESS = {
    "HOME": "/home/anna",
    "LANG": "de_DE.UTF-8",
    "TMPDIR": "/tmp/anna",  # noqa: S108
    "CUDA_VISIBLE_DEVICES": "1",
    "OMP_NUM_THREADS": "4",
    "HTTPS_PROXY": "http://proxy:3128",
    "MY_PYTHON": "kept",
    "LD_LIBRARY_PATH_64": "kept",
}


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_misleading_variables_are_removed_and_others_kept(platform):
    environ = {**MISLEADING, **HARMLESS, "PATH": "/qgis/bin:/conda/bin", "OMP_WAIT_POLICY": "ACTIVE"}
    cleaned = engine_environment(environ, platform)
    assert cleaned.pop("PATH") != environ["PATH"]
    assert cleaned.pop("OMP_WAIT_POLICY") == "PASSIVE"
    kept_memory = [cleaned.pop(name, None) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")]
    assert kept_memory == (["268435456"] * 2 if platform == "linux" else [None, None])
    assert cleaned == HARMLESS


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_path_has_system_folders_only(platform):
    assert engine_environment({"PATH": "/opt/conda/bin"}, platform)["PATH"] == "/usr/bin:/bin:/usr/sbin:/sbin"


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"Path": "C:\\OSGeo4W\\bin", "SystemRoot": "D:\\WINNT"}, "D:\\WINNT"),
        ({"PATH": "C:\\OSGeo4W\\bin", "SYSTEMROOT": "D:\\WINNT"}, "D:\\WINNT"),
        ({}, "C:\\Windows"),
    ],
)
def test_windows_path_has_system_folders_only_under_one_name(environ, root):
    cleaned = engine_environment(environ, "win32")
    assert [name for name in cleaned if name.upper() == "PATH"] == ["PATH"]
    assert cleaned["PATH"] == f"{root}\\System32;{root};{root}\\System32\\Wbem"


def test_windows_names_are_compared_without_case_and_others_with():
    environ = {"PythonPath": "x", "Conda_Prefix": "x", "virtual_env": "x"}
    assert not engine_environment(environ, "win32").keys() & environ.keys()
    assert engine_environment(environ, "linux").keys() > environ.keys()


def test_given_environment_is_not_changed():
    environ = {"PYTHONPATH": "x", "PATH": "y"}
    engine_environment(environ, "linux")
    assert environ == {"PYTHONPATH": "x", "PATH": "y"}


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_command_runs_the_launcher_isolated(platform):
    command = engine_command(Path("/env/bin/python"), environ={}, platform=platform)
    assert command.arguments == (str(Path("/env/bin/python")), "-I", "-X", "utf8", str(LAUNCHER))
    assert command.working_folder == str(Path("/env/bin"))


def test_launcher_is_there():
    assert LAUNCHER.is_file()
    assert LAUNCHER.is_absolute()


def test_options_follow_the_launcher():
    command = engine_command(
        Path("/python"), idle_timeout_s=600, launcher=Path("/l.py"), options=("--heartbeat", "1"), environ={}
    )
    assert command.arguments[-5:] == (str(Path("/l.py")), "--idle-timeout", "600", "--heartbeat", "1")


def test_windows_gets_no_console_and_a_lower_priority():
    command = engine_command(Path(PureWindowsPath("C:/env/python.exe")), environ={}, platform="win32")
    assert command.creation_flags == 0x08000000 | 0x4000
    assert not command.has_own_session


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_posix_gets_a_session_and_no_flags(platform):
    command = engine_command(Path("/python"), environ={}, platform=platform)
    assert command.creation_flags == 0
    assert command.has_own_session


def test_own_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "x")
    monkeypatch.setenv("GEO_SAM2_TEST", "kept")
    environment = engine_command(Path("/python")).environment
    assert environment["GEO_SAM2_TEST"] == "kept"
    assert "PYTHONPATH" not in environment

# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of an install, with a script in uv's place and the proof played by the test.

What real installs do is in tests/runtime_install; here are the paths that need a card that
fails, a cancel at each step, or an upgrade, in milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from geo_sam2.errors import CancelledError, InstallError
from geo_sam2.runtime import disk, environment, install, kit, pins, proof, status, torch_variant
from geo_sam2.runtime.__main__ import main
from geo_sam2.runtime.install_settings import InstallSettings
from geo_sam2.runtime.torch_variant import Card
from tests.unit.kit_folder import make_kit

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a script stands in for uv")

# Makes the files that uv would make and notes each call in calls.json; FAIL names what fails.
FAKE_UV = """#!{python} -I
import json, os, pathlib, sys
arguments = sys.argv[1:]
home = pathlib.Path.cwd() if "--version" not in arguments else None
if home is None:
    print("uv 0.13.9 (fake)")
    sys.exit()
with open({calls!r}, "a") as stream:
    stream.write(json.dumps(arguments) + "\\n")
cache = pathlib.Path(os.environ["UV_CACHE_DIR"])
cache.mkdir(exist_ok=True)
(cache / "download").touch()
fail = os.environ.get("FAKE_UV_FAIL")
if fail and fail in " ".join(arguments):
    print("error: Failed to download `torch==2.13.0`", flush=True)
    print("  cause: error sending request for url (https://download.pytorch.org/whl/)", flush=True)
    sys.exit(1)
if arguments[0] == "venv":
    folder = pathlib.Path(arguments[-1])
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    packages = folder / "lib" / "python3.11" / "site-packages"
    for name in ("torch", "sam2", "numpy", "safetensors"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
print("did", arguments[0], flush=True)
"""


class Stage:
    """A home folder, a fake uv, and what is to happen."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.calls = folder / "calls.jsonl"
        self.uv = folder / "uv"
        self.uv.write_text(FAKE_UV.format(python=sys.executable, calls=str(self.calls)))
        self.uv.chmod(0o755)

    def install(self, variant: str = "cpu", **options: object) -> environment.Environment:
        settings = InstallSettings(variant=variant, uv=self.uv, python=Path(sys.executable))
        return install.install(settings, self.home, **options)

    def called(self) -> list[list[str]]:
        return [json.loads(line) for line in self.calls.read_text().splitlines()]

    def folders(self) -> set[str]:
        return {path.name for path in (self.home / "env").iterdir()}


@pytest.fixture
def stage(tmp_path, monkeypatch) -> Stage:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(proof, "prove", lambda python, device, *_: {"device": device, "python": "3.11.2"})
    return Stage(tmp_path)


def fail_on_devices(monkeypatch, *devices: str) -> None:
    def prove(python: Path, device: str, *_: object) -> dict[str, object]:
        if device in devices:
            raise InstallError(f"It does not work on {device}.")
        return {"device": device, "python": "3.11.2"}

    monkeypatch.setattr(proof, "prove", prove)


def test_steps_come_in_order_and_torch_before_what_is_built_with_it(stage):
    done: list[float] = []
    installed = stage.install(on_progress=lambda part, doing: done.append(part))
    calls = stage.called()
    assert [call[0] for call in calls] == ["venv", "pip", "pip", "pip"]
    packages, torch, sdists = calls[1:]
    assert {"--no-deps", "--only-binary", pins.WHEELS[0].requirement} <= set(packages)
    assert f"{pins.TORCH.requirement}+cpu" in torch
    assert {"--torch-backend", "cpu", "--no-deps"} <= set(torch)
    assert {"--no-build-isolation", "--no-deps", pins.SAM2.requirement} <= set(sdists)
    assert not any("torchvision" in part for call in calls for part in call)
    assert all(str(installed.python) in call for call in calls[1:])
    assert done == sorted(done)
    assert done[-1] == 1.0


def test_finished_environment_is_found_with_its_record(stage):
    installed = stage.install()
    assert environment.find(stage.home) == installed
    assert installed.variant == "cpu"
    assert installed.is_current
    assert installed.record["python"] == "3.11.2"
    assert not (stage.home / "cache").exists()
    assert (stage.home / "install.log").read_text().count("did pip") == 3


def test_upgrade_replaces_the_old_environment_at_the_end_only(stage, monkeypatch):
    first = stage.install()
    seen: list[environment.Environment | None] = []
    monkeypatch.setattr(proof, "prove", lambda *_: seen.append(environment.find(stage.home)) or {})
    second = stage.install()
    assert seen == [first]
    assert stage.folders() == {second.folder.name}
    assert environment.find(stage.home) == second


@pytest.mark.parametrize("step", ["venv", "setuptools==", "torch==", "sam2=="])
def test_failed_upgrade_leaves_the_old_environment_and_nothing_else(stage, monkeypatch, step):
    first = stage.install()
    monkeypatch.setenv("FAKE_UV_FAIL", step)
    lines: list[str] = []
    with pytest.raises(InstallError, match=r"\(torch\) could not be installed: .*cannot be reached"):
        stage.install(on_line=lines.append)
    assert environment.find(stage.home) == first
    assert stage.folders() == {first.folder.name}
    assert any("could not be installed" in line for line in lines)
    assert (stage.home / "cache" / "download").exists()  # the next try goes on from there


@pytest.mark.parametrize("steps_done", range(5))
def test_cancel_after_any_step_leaves_none_and_the_next_try_works(stage, steps_done):
    lines: list[str] = []

    def is_cancelled() -> bool:
        return sum(line.startswith("did ") for line in lines) >= steps_done

    with pytest.raises(CancelledError):
        stage.install(on_line=lines.append, is_cancelled=is_cancelled)
    assert environment.find(stage.home) is None
    assert not list((stage.home / "env").glob("*"))
    installed = stage.install()
    assert environment.find(stage.home) == installed


def test_environment_that_does_not_work_is_not_kept(stage, monkeypatch):
    fail_on_devices(monkeypatch, "cpu")
    with pytest.raises(InstallError, match="does not work on cpu"):
        stage.install()
    assert environment.find(stage.home) is None
    assert stage.folders() == set()


def test_leftovers_of_a_killed_install_are_removed_by_the_next(stage):
    (stage.home / "env" / "dead" / "lib").mkdir(parents=True)
    installed = stage.install()
    assert stage.folders() == {installed.folder.name}


def test_card_that_does_not_work_falls_back_to_the_cpu_with_the_reason(stage, monkeypatch):
    fail_on_devices(monkeypatch, "cuda")
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**12)
    monkeypatch.setattr(torch_variant, "nvidia_cards", lambda: [Card("T4", (580, 1), (7, 5))])
    installed = stage.install("auto")
    assert installed.variant == "cpu"
    assert installed.fallback_reason == ("The cu130 build was tried and not kept: It does not work on cuda.")
    assert stage.folders() == {installed.folder.name}
    assert status.status(stage.home, live=False).fallback_reason == installed.fallback_reason
    cuda, cpu = [call for call in stage.called() if any(part.startswith("torch==") for part in call)]
    assert "--no-deps" not in cuda
    assert "--no-deps" in cpu


def test_cuda_build_that_cannot_be_had_from_the_torch_index_is_looked_for_on_pypi(stage, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**12)
    monkeypatch.setenv("FAKE_UV_FAIL", "--torch-backend")
    assert stage.install("cu130").variant == "cu130"
    torch = [call for call in stage.called() if any(part.startswith("torch==") for part in call)]
    assert [call[-1] for call in torch] == [f"{pins.TORCH.requirement}+cu130", pins.TORCH.requirement]


def test_disk_too_small_for_cuda_takes_the_cpu_build_unless_cuda_was_asked_for(stage, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 3 * 10**9)
    monkeypatch.setattr(torch_variant, "nvidia_cards", lambda: [Card("T4", (580, 1), (7, 5))])
    installed = stage.install("auto")
    assert installed.variant == "cpu"
    assert "no space for the engine (cu130)" in installed.fallback_reason
    with pytest.raises(InstallError, match=r"no space for the engine \(cu130\)"):
        stage.install("cuda")


def test_disk_too_small_for_anything_is_refused_before_uv_is_called(stage, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**9)
    (stage.home / "env" / "dead").mkdir(parents=True)
    with pytest.raises(InstallError, match=r"1\.4 GB are needed, and 1\.0 GB are free"):
        stage.install()
    assert not stage.calls.exists()
    assert stage.folders() == set()  # what a killed install left is cleared before room is looked for


def test_disk_that_fills_up_while_we_write_is_told_as_such(stage, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(environment, "switch_to", full)
    with pytest.raises(InstallError, match="There is no space left in"):
        stage.install()
    assert stage.folders() == set()


def test_kit_for_a_card_is_kept_on_the_cpu_where_the_card_does_not_work(stage, monkeypatch, tmp_path):
    fail_on_devices(monkeypatch, "cuda")
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**12)
    minor = "{}.{}".format(*sys.version_info)
    make_kit(tmp_path / "kit", variant="cu130", python=minor)
    settings = InstallSettings(uv=stage.uv, python=Path(sys.executable), kit=tmp_path / "kit")
    installed = install.install(settings, stage.home)
    assert installed.variant == "cu130"
    assert installed.fallback_reason == "The cu130 build works on the CPU only: It does not work on cuda."
    wheels = str(tmp_path / "kit" / kit.WHEELS_FOLDER)
    for call in stage.called()[1:]:
        assert {"--no-index", "--find-links", wheels} <= set(call)


def test_kit_of_another_variant_than_asked_for_is_refused(stage, tmp_path):
    make_kit(tmp_path / "kit")
    with pytest.raises(InstallError, match="holds the cpu build of PyTorch, not cu130"):
        install.install(InstallSettings(variant="cu130", kit=tmp_path / "kit"), stage.home)


def test_kit_for_a_python_that_is_not_here_says_what_to_do(stage, tmp_path):
    make_kit(tmp_path / "kit", python="3.13")
    if Path("/usr/bin/python3.13").exists():
        pytest.skip("this machine has Python 3.13")
    with pytest.raises(InstallError, match=r"for Python 3\.13, which this machine does not have") as caught:
        install.install(InstallSettings(uv=stage.uv, kit=tmp_path / "kit"), stage.home)
    assert "--with-python" in caught.value.hint


def test_models_of_a_kit_arrive_in_the_models_folder(stage, tmp_path):
    folder = make_kit(tmp_path / "kit", python="{}.{}".format(*sys.version_info))
    (folder / "models").mkdir()
    (folder / "models" / "tiny.pt").write_bytes(b"weights")
    manifest = disk.read_json(folder / kit.MANIFEST_NAME)
    manifest["files"]["models/tiny.pt"] = {"bytes": 7, "sha256": "00"}
    disk.write_json(folder / kit.MANIFEST_NAME, manifest)
    settings = InstallSettings(uv=stage.uv, python=Path(sys.executable), kit=folder)
    with pytest.raises(InstallError, match=r"models/tiny\.pt is not the file"):
        install.install(settings, stage.home)
    manifest["files"]["models/tiny.pt"]["sha256"] = "d4a3c1b5e0d6f1c2"  # replaced below by the true digest
    from geo_sam2.runtime.download import sha256_of

    manifest["files"]["models/tiny.pt"]["sha256"] = sha256_of(folder / "models" / "tiny.pt")
    disk.write_json(folder / kit.MANIFEST_NAME, manifest)
    install.install(settings, stage.home)
    assert (stage.home / "models" / "tiny.pt").read_bytes() == b"weights"


def test_status_tells_each_state(stage):
    assert status.status(stage.home, live=False).state == status.NOT_INSTALLED
    installed = stage.install()
    told = status.status(stage.home, live=False)
    assert (told.state, told.is_usable, told.python) == (status.READY, True, str(installed.python))
    record = {**installed.record, "pins": "00000000"}
    disk.write_json(installed.folder / environment.RECORD_NAME, record)
    told = status.status(stage.home, live=False)
    assert (told.state, told.is_usable, told.hint) == (status.OUTDATED, True, "Install again.")
    (installed.folder / "lib" / "python3.11" / "site-packages" / "torch" / "__init__.py").unlink()
    told = status.status(stage.home, live=False)
    assert (told.state, told.is_usable) == (status.DAMAGED, False)
    assert "lacks torch" in told.problem


def test_live_status_finds_an_environment_that_no_longer_imports(stage):
    stage.install()  # its torch is an empty file
    told = status.status(stage.home)
    assert told.state == status.DAMAGED
    assert told.problem


def test_command_line_tells_its_result_by_exit_status(stage, capsys, monkeypatch):
    home = ["--home", str(stage.home)]
    arguments = ["install", "--variant", "cpu", "--uv", str(stage.uv), "--python", sys.executable]
    assert main([*home, "status", "--quick"]) == 3
    assert "not installed" in capsys.readouterr().out
    monkeypatch.setenv("FAKE_UV_FAIL", "venv")
    assert main([*home, *arguments]) == 1
    assert "could not be installed" in capsys.readouterr().err
    monkeypatch.delenv("FAKE_UV_FAIL")
    assert main([*home, *arguments]) == 0
    assert "[100%]" in capsys.readouterr().out
    assert main([*home, "status", "--quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "ready"
    assert main([*home, "remove"]) == 0
    assert main([*home, "status", "--quick"]) == 3
    with pytest.raises(SystemExit) as caught:
        main([*home, "install", "--variant"])
    assert caught.value.code == 2

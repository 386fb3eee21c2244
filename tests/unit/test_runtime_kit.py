# SPDX-License-Identifier: GPL-3.0-or-later
"""Offline kits: what is read is not trusted, and pip is told what uv was told."""

from __future__ import annotations

import hashlib

import pytest

from geo_sam2.errors import CancelledError, CheckpointError, InstallError
from geo_sam2.runtime import kit, kit_writer
from geo_sam2.runtime.machine import Machine
from geo_sam2.runtime.torch_variant import TorchVariant, sources
from tests.unit.kit_folder import make_kit

LINUX = Machine("linux", "x86_64")


def test_whole_kit_for_this_machine_is_opened(tmp_path):
    opened = kit.open_whole(make_kit(tmp_path), LINUX)
    assert (opened.variant, opened.python_minor, opened.has_python) == ("cpu", "3.11", False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "damaged or of another release"),
        ({"files": []}, "damaged or of another release"),
        ({"variant": None}, "damaged or of another release"),
        ({"system": "windows"}, "for windows on x86_64, and this is linux on x86_64"),
        ({"architecture": "aarch64"}, "for linux on aarch64"),
        ({"pins": "00000000"}, "made by another release"),
        ({"files": {"../outside": {}}}, "outside of it"),
        ({"files": {"/etc/passwd": {}}}, "outside of it"),
        ({"files": {"C:\\x": {}}}, "outside of it"),
        ({"files": {"wheels\\..\\..\\x": {}}}, "outside of it"),
        ({"files": {"wheels/absent.whl": {}}}, "wheels/absent.whl is missing"),
        (
            {"files": {"uv/uv.whl": {"bytes": 3, "sha256": hashlib.sha256(b"uv").hexdigest()}}},
            "is not the file",
        ),
        ({"files": {"uv/uv.whl": {"bytes": 2, "sha256": "00"}}}, "is not the file"),
    ],
)
def test_unfit_or_damaged_kit_is_refused(tmp_path, changes, words):
    with pytest.raises(InstallError, match=words) as caught:
        kit.open_whole(make_kit(tmp_path, **changes), LINUX)
    assert caught.value.hint


def test_altered_file_is_named(tmp_path):
    make_kit(tmp_path)
    (tmp_path / "wheels" / "torch.whl").write_bytes(b"t0rch")
    with pytest.raises(InstallError, match=r"wheels/torch\.whl is not the file"):
        kit.open_whole(tmp_path, LINUX)


@pytest.mark.parametrize("content", [None, "", "[]", '{"format": 1'])
def test_folder_without_a_manifest_is_no_kit(tmp_path, content):
    if content is not None:
        (tmp_path / kit.MANIFEST_NAME).write_text(content)
    with pytest.raises(InstallError, match="is not an offline kit"):
        kit.read(tmp_path)


def test_checking_can_be_cancelled(tmp_path):
    with pytest.raises(CancelledError):
        kit.open_whole(make_kit(tmp_path), LINUX, is_cancelled=lambda: True)


def test_pip_is_told_what_uv_was_told(tmp_path):
    uv_environ = {
        "UV_DEFAULT_INDEX": "https://m.example/simple",
        "UV_INDEX": "corp=https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "/opt/wheels,/more",
        "HTTPS_PROXY": "http://p:1",
        "SSL_CERT_FILE": "/corp.pem",
    }
    environ = {
        "PIP_TARGET": "/x",
        "PIP_CERT": "/c.pem",
        "PIP_CONSTRAINT": "/c.txt",
        "PYTHONPATH": "/q",
        "HOME": "/h",
    }
    told = kit_writer.pip_environment(uv_environ, environ, tmp_path)
    expected = {
        "PIP_INDEX_URL": "https://m.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://a.example/simple https://b.example/simple",
        "PIP_FIND_LINKS": "/opt/wheels /more",
        "HTTPS_PROXY": "http://p:1",
        "SSL_CERT_FILE": "/corp.pem",
        "PIP_CERT": "/c.pem",
        "HOME": "/h",
        "SAM2_BUILD_CUDA": "0",
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
    }
    assert {name: told.get(name) for name in expected} == expected
    assert not {"PIP_TARGET", "PIP_CONSTRAINT", "PYTHONPATH", "UV_INDEX"} & set(told)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]),
        ({"has_own_places": True}, []),
        ({"torch_index": "https://m.example/cpu"}, ["--extra-index-url", "https://m.example/cpu"]),
        ({"torch_index": "/opt/wheels"}, ["--find-links", "/opt/wheels"]),
    ],
)
def test_pip_looks_for_torch_where_uv_found_it(options, expected):
    source = sources(TorchVariant("cpu", ""), LINUX, **options)[0]
    assert kit_writer.pip_source_arguments(source) == expected


def test_requirements_are_what_is_installed_but_pip(tmp_path):
    for name, version in (("torch", "2.13.0+cpu"), ("MarkupSafe", "3.0.4"), ("pip", "26.3")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\nName: not\nVersion: this\n"
        )
    assert kit_writer.installed_requirements(tmp_path) == ["MarkupSafe==3.0.4", "torch==2.13.0+cpu"]


def test_python_lies_in_the_kit_where_uv_looks_below_a_mirror():
    url = "https://h.example/releases/download/20261110/cpython-3.12.16%2B20261110-x86_64.tar.gz"
    assert kit_writer.mirror_place(url).as_posix() == "20261110/cpython-3.12.16+20261110-x86_64.tar.gz"


def test_kit_is_not_written_over_anything_else(tmp_path):
    (tmp_path / "photo.tif").write_text("mine")
    with pytest.raises(InstallError, match="is not empty and not an older kit"):
        kit_writer.write_kit(tmp_path, home=tmp_path / "home")
    with pytest.raises(InstallError, match="is a file"):
        kit_writer.write_kit(tmp_path / "photo.tif", home=tmp_path / "home")
    with pytest.raises(CheckpointError, match="no model named huge"):
        kit_writer.write_kit(tmp_path / "kit", home=tmp_path / "home", models=["huge"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.tif"]

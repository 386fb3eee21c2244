# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv is told of an install: sources and certificates yes, everything else no."""

from __future__ import annotations

from pathlib import Path

import pytest

from geo_sam2.runtime.folders import Folders
from geo_sam2.runtime.install_settings import InstallSettings, index_settings, uv_environment

PLACES = Folders(Path("/home/ada/geo_sam2"))


def told(environ: dict[str, str], **settings: object) -> dict[str, str]:
    return uv_environment(InstallSettings(**settings), PLACES, environ, pip_files=[])


@pytest.mark.parametrize(
    "name",
    [
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_TORCH_BACKEND",
        "UV_PRERELEASE",
        "UV_RESOLUTION",
        "UV_EXCLUDE_NEWER",
        "UV_REQUIRE_HASHES",
        "UV_NO_BUILD",
        "UV_PROJECT",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_INDEX_URL",
    ],
)
def test_variables_that_would_change_what_is_installed_are_not_passed_on(name):
    assert name not in told({name: "x"})


@pytest.mark.parametrize(
    "name",
    [
        "UV_INDEX",
        "UV_DEFAULT_INDEX",
        "UV_INDEX_CORP_PASSWORD",
        "UV_FIND_LINKS",
        "UV_HTTP_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_CONCURRENT_DOWNLOADS",
        "UV_CACHE_DIR",
        "UV_LINK_MODE",
        "UV_CONFIG_FILE",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ],
)
def test_variables_that_say_where_things_come_from_are_passed_on(name):
    assert told({name: "x"})[name] == "x"


def test_pips_variables_reach_uv():
    variables = told({"PIP_FIND_LINKS": "/opt/wheels /more", "PIP_INDEX_URL": "https://m.example/simple"})
    assert variables["UV_FIND_LINKS"] == "/opt/wheels,/more"
    assert variables["UV_DEFAULT_INDEX"] == "https://m.example/simple"


def test_choices_win_over_variables():
    variables = told(
        {
            "PIP_INDEX_URL": "https://old.example",
            "PIP_FIND_LINKS": "/old",
            "PIP_EXTRA_INDEX_URL": "https://x",
        },
        index_url="https://new.example",
        find_links=("/new",),
        proxy="http://p:1",
        python_mirror="file:///mirror",
    )
    assert variables["UV_DEFAULT_INDEX"] == "https://new.example"
    assert "UV_INDEX" not in variables
    assert variables["UV_FIND_LINKS"] == "/new,/old"
    assert variables["HTTPS_PROXY"] == variables["HTTP_PROXY"] == "http://p:1"
    assert variables["UV_PYTHON_INSTALL_MIRROR"] == "file:///mirror"


def test_choices_win_over_uvs_own_variables():
    environ = {"UV_INDEX_URL": "https://old.example", "UV_INDEX": "https://x", "UV_FIND_LINKS": "/old"}
    variables = told(environ, index_url="https://new.example", find_links=("/new",))
    assert variables["UV_DEFAULT_INDEX"] == "https://new.example"
    assert "UV_INDEX" not in variables
    assert "UV_INDEX_URL" not in variables
    assert variables["UV_FIND_LINKS"] == "/new,/old"


def test_systems_certificates_are_used_unless_told_otherwise():
    assert told({})["UV_SYSTEM_CERTS"] == "1"
    assert told({"UV_SYSTEM_CERTS": "0"})["UV_SYSTEM_CERTS"] == "0"


def test_tools_and_downloads_stay_in_the_home_folder():
    variables = told({})
    assert variables["UV_CACHE_DIR"] == str(PLACES.cache)
    assert variables["UV_PYTHON_INSTALL_DIR"] == str(PLACES.pythons)
    # Neither a python3.12 in ~/.local/bin nor an entry in the Windows registry.
    assert variables["UV_PYTHON_INSTALL_BIN"] == variables["UV_PYTHON_INSTALL_REGISTRY"] == "0"


def test_sam2_is_built_without_cuda():
    assert told({"SAM2_BUILD_CUDA": "1"})["SAM2_BUILD_CUDA"] == "0"


def test_kit_leaves_no_way_to_a_network():
    environ = {
        "UV_INDEX": "https://a.example",
        "UV_FIND_LINKS": "https://b.example",
        "PIP_INDEX_URL": "https://c.example",
        "UV_PYTHON_INSTALL_MIRROR": "https://d.example",
    }
    variables = told(environ, kit=Path("/media/my stick/kit"), index_url="https://e.example")
    assert "example" not in " ".join(variables.values())
    assert variables["UV_OFFLINE"] == variables["UV_NO_CONFIG"] == "1"
    assert variables["UV_PYTHON_INSTALL_MIRROR"] == "file:///media/my%20stick/kit/python"


def test_path_is_the_systems_unless_a_keyring_program_is_needed():
    assert "/opt/mine" not in told({"PATH": "/opt/mine"})["PATH"]
    assert told({"PATH": "/opt/mine", "UV_KEYRING_PROVIDER": "subprocess"})["PATH"] == "/opt/mine"


def test_pips_files_are_read(tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://conf.example/simple\n")
    assert index_settings(InstallSettings(), {}, [conf]).index_url == "https://conf.example/simple"
    chosen = InstallSettings(index_url="https://chosen.example")
    assert index_settings(chosen, {}, [conf]).index_url == "https://chosen.example"

# SPDX-License-Identifier: GPL-3.0-or-later
"""pip's settings read from files and variables, and said in uv's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from geo_sam2.runtime.pip_settings import (
    IndexSettings,
    config_files,
    read,
    uv_variables,
    without_what_uv_has,
)

HOME = Path("/home/ada")


def test_variables_are_read():
    settings = read(
        {
            "PIP_INDEX_URL": "https://mirror.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://a.example/simple https://b.example/simple",
            "PIP_FIND_LINKS": "/opt/wheels https://c.example/links.html",
            "PIP_TRUSTED_HOST": "mirror.example",
            "PIP_CERT": "/etc/corp.pem",
            "PIP_PROXY": "http://proxy.example:3128",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
    )
    assert settings == IndexSettings(
        index_url="https://mirror.example/simple",
        extra_index_urls=("https://a.example/simple", "https://b.example/simple"),
        find_links=("/opt/wheels", "https://c.example/links.html"),
        no_index=True,
        trusted_hosts=("mirror.example",),
        certificate_file="/etc/corp.pem",
        proxy="http://proxy.example:3128",
    )


def test_files_are_merged_and_variables_win(tmp_path):
    weak, strong = tmp_path / "pip.conf", tmp_path / "user.conf"
    weak.write_text("[global]\nindex-url = https://weak.example\nfind-links =\n    /a\n    /b\n")
    strong.write_text("[install]\nindex_url = https://strong.example/%7Euser\n[list]\nformat = json\n")
    merged = read({}, [weak, tmp_path / "absent.conf", strong])
    assert merged.index_url == "https://strong.example/%7Euser"
    assert merged.find_links == ("/a", "/b")
    assert read({"PIP_INDEX_URL": "https://env.example"}, [weak, strong]).index_url == "https://env.example"


@pytest.mark.parametrize("content", [b"no section", b"[global]\n\xff\xfe", b"[global\nindex-url=x"])
def test_damaged_file_is_left_to_pip(tmp_path, content):
    path = tmp_path / "pip.conf"
    path.write_bytes(content)
    assert read({}, [path]) == IndexSettings()


@pytest.mark.parametrize("word", ["false", "0", "no", ""])
def test_no_index_may_be_switched_off(word):
    assert not read({"PIP_NO_INDEX": word}).no_index


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        (
            "linux",
            {},
            [
                "/etc/xdg/pip/pip.conf",
                "/etc/pip.conf",
                "/home/ada/.pip/pip.conf",
                "/home/ada/.config/pip/pip.conf",
            ],
        ),
        (
            "linux",
            {"XDG_CONFIG_HOME": "/conf", "PIP_CONFIG_FILE": "/my.conf"},
            [
                "/etc/xdg/pip/pip.conf",
                "/etc/pip.conf",
                "/home/ada/.pip/pip.conf",
                "/conf/pip/pip.conf",
                "/my.conf",
            ],
        ),
        (
            "darwin",
            {},
            [
                "/Library/Application Support/pip/pip.conf",
                "/home/ada/.pip/pip.conf",
                "/home/ada/Library/Application Support/pip/pip.conf",
            ],
        ),
        (
            "win32",
            {"PROGRAMDATA": "/pd", "APPDATA": "/ad"},
            ["/pd/pip/pip.ini", "/home/ada/pip/pip.ini", "/ad/pip/pip.ini"],
        ),
        ("linux", {"PIP_CONFIG_FILE": "/dev/null"}, []),
    ],
)
def test_files_are_looked_for_where_pip_looks(platform, environ, expected):
    assert [path.as_posix() for path in config_files(environ, platform, HOME)] == expected


def test_uv_is_told_the_same():
    settings = IndexSettings(
        index_url="https://m.example/simple",
        extra_index_urls=("https://a.example", "https://b.example"),
        find_links=("/opt/my wheels", "/more"),
        trusted_hosts=("m.example",),
        certificate_file="/corp.pem",
        proxy="http://p:1",
    )
    assert uv_variables(settings) == {
        "UV_DEFAULT_INDEX": "https://m.example/simple",
        "UV_INDEX": "https://a.example https://b.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/opt/my wheels,/more",
        "UV_INSECURE_HOST": "m.example",
        "SSL_CERT_FILE": "/corp.pem",
        "HTTP_PROXY": "http://p:1",
        "HTTPS_PROXY": "http://p:1",
    }


def test_nothing_configured_says_nothing():
    assert uv_variables(IndexSettings()) == {}


@pytest.mark.parametrize(
    ("environ", "dropped"),
    [
        ({"UV_INDEX_URL": "x"}, {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY"}),
        ({"UV_DEFAULT_INDEX": "x"}, {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY"}),
        ({"UV_FIND_LINKS": "x"}, {"UV_FIND_LINKS"}),
        ({"SSL_CERT_FILE": "x"}, {"SSL_CERT_FILE"}),
        ({"https_proxy": "x"}, {"HTTP_PROXY", "HTTPS_PROXY"}),
        ({"UV_INSECURE_HOST": "x"}, {"UV_INSECURE_HOST"}),
        ({"UV_INDEX": ""}, set()),
    ],
)
def test_variables_of_uv_itself_win_kind_by_kind(environ, dropped):
    everything = IndexSettings("i", ("e",), ("f",), False, ("h",), "c", "p")
    left = uv_variables(without_what_uv_has(everything, environ))
    assert set(uv_variables(everything)) - set(left) == dropped

# SPDX-License-Identifier: GPL-3.0-or-later
"""Package indexes as the person has configured them for pip, said in uv's words.

Networks that reach only an internal mirror are configured through ``PIP_*`` variables
or pip's configuration files; uv reads neither. Kind by kind, uv's own variables win.
Nothing is put on a command line, where other users could read a password.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class IndexSettings:
    """pip's settings of where packages come from; empty means not configured."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()
    certificate_file: str = ""
    proxy: str = ""


def config_files(environ: Mapping[str, str], platform: str, user_home: Path) -> list[Path]:
    """Return where pip looks for its configuration, weakest first."""
    if environ.get("PIP_CONFIG_FILE", "").lower() in ("/dev/null", "nul"):
        return []
    found: list[Path] = []
    if platform == "win32":
        if environ.get("PROGRAMDATA"):
            found.append(Path(environ["PROGRAMDATA"]) / "pip" / "pip.ini")
        found.append(user_home / "pip" / "pip.ini")
        if environ.get("APPDATA"):
            found.append(Path(environ["APPDATA"]) / "pip" / "pip.ini")
    else:
        if platform == "darwin":
            found.append(Path("/Library/Application Support/pip/pip.conf"))
            user = user_home / "Library" / "Application Support" / "pip" / "pip.conf"
        else:
            found.extend([Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf")])
            user = user_home / ".config" / "pip" / "pip.conf"
        if environ.get("XDG_CONFIG_HOME"):
            user = Path(environ["XDG_CONFIG_HOME"]) / "pip" / "pip.conf"
        found.extend([user_home / ".pip" / "pip.conf", user])
    if environ.get("PIP_CONFIG_FILE"):
        found.append(Path(environ["PIP_CONFIG_FILE"]))
    return found


def _file_options(files: Iterable[Path]) -> dict[str, str]:
    """Merge the [global] and [install] sections of pip's files; later files win."""
    options: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip will complain about its own file; an install need not
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return options


def _environment_options(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        key[len("PIP_") :].lower().replace("_", "-"): value
        for key, value in environ.items()
        if key.startswith("PIP_") and value
    }


def read(environ: Mapping[str, str], files: Iterable[Path] = ()) -> IndexSettings:
    """Read pip's settings from its files and variables; variables win."""
    options = {**_file_options(files), **_environment_options(environ)}
    return IndexSettings(
        index_url=options.get("index-url", "").strip(),
        extra_index_urls=tuple(options.get("extra-index-url", "").split()),
        find_links=tuple(options.get("find-links", "").split()),
        no_index=options.get("no-index", "").strip().lower() in ("1", "true", "yes", "on"),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        certificate_file=options.get("cert", "").strip(),
        proxy=options.get("proxy", "").strip(),
    )


def without_what_uv_has(settings: IndexSettings, environ: Mapping[str, str]) -> IndexSettings:
    """Drop the kinds that uv's own variables already set."""
    if any(environ.get(f"UV_{key}") for key in ("INDEX", "INDEX_URL", "DEFAULT_INDEX", "EXTRA_INDEX_URL")):
        settings = replace(settings, index_url="", extra_index_urls=())
    if environ.get("UV_FIND_LINKS"):
        settings = replace(settings, find_links=())
    if environ.get("UV_INSECURE_HOST"):
        settings = replace(settings, trusted_hosts=())
    if environ.get("SSL_CERT_FILE"):
        settings = replace(settings, certificate_file="")
    if any(environ.get(key) or environ.get(key.lower()) for key in ("HTTPS_PROXY", "ALL_PROXY")):
        settings = replace(settings, proxy="")
    return settings


def uv_variables(settings: IndexSettings) -> dict[str, str]:
    """Return the environment variables that tell uv the same."""
    variables: dict[str, str] = {}
    if settings.index_url:
        variables["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.extra_index_urls:
        variables["UV_INDEX"] = " ".join(settings.extra_index_urls)
        # pip looks into all indexes for the version wanted; uv would stop at the first
        # index that has the package in any version.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if settings.find_links:
        variables["UV_FIND_LINKS"] = ",".join(settings.find_links)
    if settings.trusted_hosts:
        variables["UV_INSECURE_HOST"] = " ".join(settings.trusted_hosts)
    if settings.certificate_file:
        variables["SSL_CERT_FILE"] = settings.certificate_file
    if settings.proxy:
        variables.update({"HTTP_PROXY": settings.proxy, "HTTPS_PROXY": settings.proxy})
    return variables

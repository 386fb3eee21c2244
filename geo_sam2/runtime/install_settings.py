# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person or a script may choose about an install, and what uv is told of it.

Frozen: the settings dialog and the command line both make one of these. Empty fields mean
"by the machine and by the environment variables".
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from geo_sam2.runtime import pip_settings
from geo_sam2.runtime.child_process import clean_environment
from geo_sam2.runtime.folders import Folders

# The torch variant to be chosen by what the machine has.
AUTO = "auto"

# uv's variables that say where things come from. The others (constraints, another Python,
# resolution modes, ...) would change what is installed and are not passed on.
_UV_KEPT = re.compile(
    r"UV_(INDEX|INDEX_.+|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|KEYRING_PROVIDER|INSECURE_HOST|"
    r"HTTP_.+|CONCURRENT_.+|CACHE_DIR|LINK_MODE|PYTHON_INSTALL_MIRROR|PYTHON_DOWNLOADS_JSON_URL|"
    r"SYSTEM_CERTS|NATIVE_TLS|OFFLINE|CONFIG_FILE|NO_CONFIG|NETRC)"
)


@dataclass(frozen=True)
class InstallSettings:
    """The choices of one install.

    Attributes:
        variant: ``auto``, ``cpu``, ``cuda`` (the best for the driver), ``apple``, or a backend
            as uv names it (``cu126``, ``cu130``, ``cu132``, ``rocm7.2``, ``xpu``).
        kit: Folder of an offline kit; nothing else is then asked, and no network is used.
        torch_index: Index, page of links or folder with torch's wheels, instead of
            download.pytorch.org.
        index_url: Package index instead of PyPI.
        find_links: Further folders or pages with package files.
        python_mirror: Where uv finds managed CPythons (``file://`` works), instead of GitHub.
        python: An interpreter (3.10 to 3.14) to build on, instead of the one chosen by rule.
        uv: A uv program, instead of the one found or fetched.
        proxy: ``http://user:password@host:port`` for everything.
    """

    variant: str = AUTO
    kit: Path | None = None
    torch_index: str = ""
    index_url: str = ""
    find_links: tuple[str, ...] = ()
    python_mirror: str = ""
    python: Path | None = None
    uv: Path | None = None
    proxy: str = ""


def index_settings(
    settings: InstallSettings, environ: Mapping[str, str], pip_files: list[Path] | None = None
) -> pip_settings.IndexSettings:
    """Merge what pip is configured with and what was chosen; the choice wins."""
    files = pip_settings.config_files(environ, sys.platform, Path.home()) if pip_files is None else pip_files
    merged = pip_settings.without_what_uv_has(pip_settings.read(environ, files), environ)
    if settings.index_url:
        merged = replace(merged, index_url=settings.index_url, extra_index_urls=())
    if settings.find_links:
        merged = replace(merged, find_links=(*settings.find_links, *merged.find_links))
    if settings.proxy:
        merged = replace(merged, proxy=settings.proxy)
    return merged


def uv_environment(
    settings: InstallSettings,
    places: Folders,
    environ: Mapping[str, str] | None = None,
    pip_files: list[Path] | None = None,
) -> dict[str, str]:
    """Return the whole environment in which uv runs; secrets go this way, never as arguments."""
    source = dict(os.environ if environ is None else environ)
    cleaned = clean_environment(source)
    variables = {
        key: value
        for key, value in cleaned.items()
        if not key.startswith(("UV_", "PIP_")) or _UV_KEPT.fullmatch(key)
    }
    if settings.kit is not None:
        variables = {key: value for key, value in variables.items() if not key.startswith("UV_")}
        variables.update({"UV_OFFLINE": "1", "UV_NO_CONFIG": "1"})
        variables["UV_PYTHON_INSTALL_MIRROR"] = (settings.kit / "python").as_uri()
    else:
        if settings.index_url:
            for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"):
                variables.pop(name, None)
        links_of_uv = variables.get("UV_FIND_LINKS", "")
        variables.update(pip_settings.uv_variables(index_settings(settings, source, pip_files)))
        if settings.find_links and links_of_uv:
            variables["UV_FIND_LINKS"] += f",{links_of_uv}"
        variables.setdefault("UV_SYSTEM_CERTS", "1")
        variables.setdefault("UV_HTTP_TIMEOUT", "60")
        if settings.python_mirror:
            variables["UV_PYTHON_INSTALL_MIRROR"] = settings.python_mirror
    if "UV_KEYRING_PROVIDER" in variables and source.get("PATH"):
        variables["PATH"] = source["PATH"]  # the keyring program may be anywhere
    variables.setdefault("UV_CACHE_DIR", str(places.cache))
    variables["UV_PYTHON_INSTALL_DIR"] = str(places.pythons)
    variables.update({"UV_NO_PROGRESS": "1", "NO_COLOR": "1", "UV_PYTHON_INSTALL_BIN": "0"})
    variables["UV_PYTHON_INSTALL_REGISTRY"] = "0"
    # sam2's setup script: no CUDA compiler is asked for.
    variables["SAM2_BUILD_CUDA"] = "0"
    return variables

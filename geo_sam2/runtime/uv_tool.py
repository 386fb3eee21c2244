# SPDX-License-Identifier: GPL-3.0-or-later
"""Find uv, or fetch its wheel from the package index and take the program out of it.

The order: the one asked for, the one fetched before, one on PATH of the same minor
version, the wheel in a find-links folder, the wheel on the index. A fetched wheel is
checked by the SHA-256 of pins.py; only the program is unpacked.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import stat
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path

from geo_sam2.errors import DownloadError, InstallError
from geo_sam2.runtime import pins
from geo_sam2.runtime.child_process import (
    IsCancelled,
    OnLine,
    clean_environment,
    never_cancelled,
    no_line,
    run_lines,
)
from geo_sam2.runtime.download import download, open_url, sha256_of
from geo_sam2.runtime.folders import Folders
from geo_sam2.runtime.machine import WINDOWS, Machine

PYPI = "https://pypi.org/simple"
_MAX_PAGE_BYTES = 64 << 20


def version_of(program: Path) -> tuple[int, ...] | None:
    """Return the version that a uv program tells, None when it is none or does not run."""
    try:
        answer = run_lines([str(program), "--version"], clean_environment(os.environ))
    except OSError:
        return None
    match = re.match(r"uv (\d+)\.(\d+)\.(\d+)", answer.text)
    return tuple(int(part) for part in match.groups()) if match and answer.returncode == 0 else None


def is_acceptable(version: tuple[int, ...] | None) -> bool:
    """Tell whether a uv found on the machine understands the options that are used here."""
    return version is not None and version[:2] == pins.UV_SERIES


def program_path(places: Folders, machine: Machine) -> Path:
    """Return where the fetched program of the pinned version lives."""
    return places.uv / pins.UV_VERSION / ("uv.exe" if machine.system == WINDOWS else "uv")


def wheel_for(machine: Machine) -> pins.PinnedFile:
    """Return the pinned wheel; InstallError where uv has none for the machine."""
    try:
        return pins.UV_WHEELS[(machine.system, machine.architecture)]
    except KeyError:
        raise InstallError(
            f"uv has no build for {machine.system} on {machine.architecture}.",
            "Name a uv program that runs here.",
        ) from None


def link_in_page(page: str, page_url: str, file_name: str) -> str:
    """Return the address of a file from an index page (PEP 503), or an empty string.

    Quotation marks, entities, percent-encoding and the ``#sha256=`` fragment vary between
    indexes; the file name decides.
    """
    for match in re.finditer(r"""href\s*=\s*(?:"([^"]*)"|'([^']*)')""", page, re.IGNORECASE):
        url = urllib.parse.urldefrag(
            urllib.parse.urljoin(page_url, html.unescape(match.group(1) or match.group(2) or ""))
        ).url
        if urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2] == file_name:
            return url
    return ""


def unpack(wheel: Path, target: Path) -> None:
    """Take the uv program out of its wheel; the program appears whole or not at all."""
    with zipfile.ZipFile(wheel) as archive:
        names = [
            name
            for name in archive.namelist()
            if re.fullmatch(r"uv-[^/]+\.data/scripts/" + re.escape(target.name), name)
        ]
        if len(names) != 1:
            raise InstallError(f"{wheel.name} holds no {target.name}.", "Fetch it again.")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
        with archive.open(names[0]) as source, temporary.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    temporary.chmod(temporary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    temporary.replace(target)


def _local_folder(place: str) -> Path | None:
    if place.startswith("file://"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(place).path))
    return None if "://" in place else Path(place).expanduser()


def wheel_in_folders(pinned: pins.PinnedFile, find_links: Iterable[str]) -> Path | None:
    """Return the wheel from the local find-links folders, when its digest is right."""
    for place in find_links:
        folder = _local_folder(place)
        if folder is not None and (folder / pinned.name).is_file():
            candidate = folder / pinned.name
            if sha256_of(candidate) == pinned.sha256:
                return candidate
    return None


def _index_page(index: str, proxy: str) -> tuple[str, str]:
    """Return the index's page about uv and its address."""
    url = index.rstrip("/") + "/uv/"
    if url.startswith("file://"):
        url += "index.html"
    with open_url(url, {"Accept": "text/html"}, proxy) as response:
        return response.read(_MAX_PAGE_BYTES).decode("utf-8", "replace"), response.geturl()


def _address_of_wheel(pinned: pins.PinnedFile, indexes: Iterable[str], proxy: str) -> str:
    last: DownloadError | None = None
    for index in indexes:
        try:
            page, page_url = _index_page(index, proxy)
        except DownloadError as error:
            last = error
            continue
        found = link_in_page(page, page_url, pinned.name)
        if found:
            return found
    if last is not None:
        raise last
    raise DownloadError(f"The package index has no {pinned.name}.")


def obtain_wheel(
    folder: Path,
    machine: Machine,
    *,
    find_links: Iterable[str] = (),
    indexes: Iterable[str] = (PYPI,),
    proxy: str = "",
    on_line: OnLine = no_line,
    is_cancelled: IsCancelled = never_cancelled,
) -> Path:
    """Return uv's pinned wheel: from a find-links folder, else fetched into ``folder``.

    Raises InstallError that says why it cannot be had.
    """
    pinned = wheel_for(machine)
    found = wheel_in_folders(pinned, find_links)
    if found is not None:
        return found
    try:
        on_line(f"Fetching uv {pins.UV_VERSION} ({pinned.size_bytes / 1e6:.0f} MB)")
        url = _address_of_wheel(pinned, indexes, proxy)
        return download(url, folder / pinned.name, pinned.sha256, proxy=proxy, is_cancelled=is_cancelled)
    except DownloadError as error:
        raise InstallError(
            f"uv, which does the installing, could not be fetched: {error.text}", error.hint
        ) from error


def find_or_fetch(
    places: Folders,
    machine: Machine,
    *,
    asked_for: Path | None = None,
    search_path: str | None = None,
    find_links: Iterable[str] = (),
    indexes: Iterable[str] = (PYPI,),
    proxy: str = "",
    on_line: OnLine = no_line,
    is_cancelled: IsCancelled = never_cancelled,
) -> Path:
    """Return a uv program that runs; ``search_path`` replaces PATH (empty: do not look there).

    Raises InstallError that says why there is none.
    """
    if asked_for is not None:
        if version_of(asked_for) is None:
            raise InstallError(f"{asked_for} is not a uv program that runs here.", "Leave the choice open.")
        return asked_for
    own = program_path(places, machine)
    if own.is_file() and is_acceptable(version_of(own)):
        return own
    on_path = shutil.which("uv", path=search_path)
    if on_path and is_acceptable(version_of(Path(on_path))):
        return Path(on_path)
    wheel = obtain_wheel(
        own.parent,
        machine,
        find_links=find_links,
        indexes=indexes,
        proxy=proxy,
        on_line=on_line,
        is_cancelled=is_cancelled,
    )
    try:
        unpack(wheel, own)
        if wheel.parent == own.parent:
            wheel.unlink()
    except (OSError, zipfile.BadZipFile) as error:
        raise InstallError(
            f"uv could not be unpacked into {own.parent} ({error}).",
            "Free some space or choose another folder.",
        ) from error
    if version_of(own) is None:
        raise InstallError(
            f"{own} does not start.",
            "The system or a virus scanner may forbid programs in this folder: choose another folder.",
        )
    return own

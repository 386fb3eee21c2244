# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch one file: resumed after a cut, checked by SHA-256, put in place by one rename.

urllib with the system's certificates and the proxies of the environment. What has arrived
lies beside the target under ``<name>.part`` and is carried on by the next call, also in
another process. Ignorant of what the file is.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from geo_sam2.errors import CancelledError, DownloadError
from geo_sam2.runtime.child_process import IsCancelled, never_cancelled
from geo_sam2.runtime.disk import NO_SPACE_ERRORS

# Called with bytes there and bytes in all (0 when the server does not say).
OnBytes = Callable[[int, int], None]

_CHUNK_BYTES = 1 << 18
_FRUITLESS_TRIES = 3
_SCHEMES = ("https", "http", "file")


def no_bytes(done: int, total: int) -> None:
    """Drop a progress report."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def without_password(url: str) -> str:
    """Return a URL that may be shown and logged."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit(parts._replace(netloc=host))


def opener(proxy: str = "") -> urllib.request.OpenerDirector:
    """Return what opens URLs: system certificates; ``proxy``, else those of the environment."""
    handlers: list[urllib.request.BaseHandler] = [
        # Reads the Windows and OpenSSL stores and honours SSL_CERT_FILE.
        urllib.request.HTTPSHandler(context=ssl.create_default_context())
    ]
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def open_url(
    url: str, headers: dict[str, str] | None = None, proxy: str = "", timeout_s: float = 60.0
) -> http.client.HTTPResponse:
    """Open a URL for reading; every failure becomes a DownloadError that says why."""
    if urllib.parse.urlsplit(url).scheme not in _SCHEMES:
        raise DownloadError(f"{without_password(url)} is not an http, https or file address.")
    request = urllib.request.Request(url, headers={"User-Agent": "geo-sam2", **(headers or {})})  # noqa: S310
    try:
        response = opener(proxy).open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        raise _http_error(url, error.code) from error
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise _connection_error(url, error) from error
    return response  # type: ignore[no-any-return]


def _http_error(url: str, code: int) -> DownloadError:
    host = urllib.parse.urlsplit(url).hostname or without_password(url)
    reasons = {
        401: f"{host} asks for a user name and a password.",
        403: f"{host} refuses to give {without_password(url)}.",
        404: f"{without_password(url)} does not exist.",
        407: "The proxy asks for a user name and a password.",
    }
    return DownloadError(
        reasons.get(code, f"{host} answered with HTTP status {code}."),
        "Check the address, the proxy and its password, or take the file from a mirror or from disk.",
    )


def _connection_error(url: str, error: Exception) -> DownloadError:
    host = urllib.parse.urlsplit(url).hostname or without_password(url)
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f"The certificate of {host} is not trusted by this system.",
            "Add your organisation's certificate to the system store, or name its file in SSL_CERT_FILE.",
        )
    return DownloadError(
        f"{host} cannot be reached ({reason}).",
        "Check the network and the proxy, or use an offline kit.",
    )


def _disk_error(target: Path, error: OSError) -> DownloadError:
    if error.errno in NO_SPACE_ERRORS:
        return DownloadError(
            f"There is no space left for {target.name} in {target.parent}.",
            "Free some space, then try again.",
        )
    return DownloadError(f"{target.parent} cannot be written ({error.strerror}).", "Choose another folder.")


class _Part:
    """What has arrived of a file, on disk, with its digest so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.digest = hashlib.sha256()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab+")
        self._file.seek(0)
        while chunk := self._file.read(1 << 20):
            self.digest.update(chunk)
            self.size += len(chunk)

    def append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.digest = hashlib.sha256()
        self.size = 0

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _total_bytes(response: http.client.HTTPResponse, offset: int) -> int:
    """Return the size of the whole file as the server tells it, 0 when it does not."""
    content_range = response.headers.get("Content-Range", "")
    if "/" in content_range and content_range.rpartition("/")[2].isdigit():
        return int(content_range.rpartition("/")[2])
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdigit() else 0


def _starts_at(response: http.client.HTTPResponse) -> int:
    """Return the first byte's place: a server that ignores Range starts at 0."""
    if response.getcode() != http.client.PARTIAL_CONTENT:
        return 0
    span = response.headers.get("Content-Range", "").partition(" ")[2].partition("-")[0]
    return int(span) if span.isdigit() else 0


def _receive(
    part: _Part, url: str, proxy: str, timeout_s: float, on_bytes: OnBytes, is_cancelled: IsCancelled
) -> bool:
    """Carry on one file over one connection; True when the server has sent all of it."""
    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    try:
        response = open_url(url, headers, proxy, timeout_s)
    except urllib.error.HTTPError:  # 416: the part is as long as the file, or longer
        return True
    with contextlib.closing(response):
        if part.size and _starts_at(response) != part.size:
            part.restart()
        total = _total_bytes(response, part.size)
        while True:
            if is_cancelled():
                raise CancelledError("The download was cancelled.")
            try:
                chunk = response.read(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException):
                return False
            if not chunk:
                return total in (0, part.size)
            part.append(chunk)
            on_bytes(part.size, total)


def _fetch(
    url: str, part: _Part, proxy: str, timeout_s: float, on_bytes: OnBytes, is_cancelled: IsCancelled
) -> None:
    """Reconnect until the file is whole; give up after three connections that brought nothing."""
    fruitless = 0
    while fruitless < _FRUITLESS_TRIES:
        before = part.size
        if _receive(part, url, proxy, timeout_s, on_bytes, is_cancelled):
            return
        fruitless = 0 if part.size > before else fruitless + 1
    raise DownloadError(
        f"The connection to {urllib.parse.urlsplit(url).hostname} breaks again and again.",
        "Try again later: what has arrived is kept and the download goes on from there.",
    )


def download(
    url: str,
    target: Path,
    sha256: str,
    *,
    proxy: str = "",
    timeout_s: float = 60.0,
    on_bytes: OnBytes = no_bytes,
    is_cancelled: IsCancelled = never_cancelled,
) -> Path:
    """Fetch ``url`` to ``target`` and return it; a target with the right digest is kept.

    Raises DownloadError for an unreachable or refusing server, a wrong digest (what was
    fetched is then deleted) or a full disk, and CancelledError (the part is kept).
    """
    if target.is_file() and sha256_of(target) == sha256:
        return target
    try:
        # A part left by an earlier call may be damaged: a wrong digest is then tried once more from nothing.
        part = _Part(target.with_name(target.name + ".part"))
        resumed = part.size > 0
        try:
            _fetch(url, part, proxy, timeout_s, on_bytes, is_cancelled)
            if resumed and part.digest.hexdigest() != sha256:
                part.restart()
                _fetch(url, part, proxy, timeout_s, on_bytes, is_cancelled)
        finally:
            part.close()
    except OSError as error:
        raise _disk_error(target, error) from error
    if part.digest.hexdigest() != sha256:
        part.path.unlink()
        raise DownloadError(
            f"{target.name} from {urllib.parse.urlsplit(url).hostname or url} is not the file that it "
            f"should be (SHA-256 {part.digest.hexdigest()[:12]}... instead of {sha256[:12]}...).",
            "A proxy or mirror may have changed it: try another mirror, or take the file from disk.",
        )
    part.path.replace(target)
    return target


def download_from_any(urls: Sequence[str], target: Path, sha256: str, **options: object) -> Path:
    """Try mirrors in turn; the error of the last one is raised when all fail."""
    last: DownloadError | None = None
    for url in urls:
        try:
            return download(url, target, sha256, **options)  # type: ignore[arg-type]
        except DownloadError as error:
            last = error
    raise last or DownloadError(f"No address is known for {target.name}.")

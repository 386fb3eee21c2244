# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong when uv failed: which package, and why, as one sentence.

uv's own report stays in the log; this reads the few causes that a person can do something
about. The texts matched are those of the uv series in pins.py and of the operating systems.
"""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import dataclass

from geo_sam2.errors import InstallError
from geo_sam2.runtime.child_process import Finished
from geo_sam2.runtime.download import without_password

NO_SPACE = "no space"


@dataclass(frozen=True)
class _Cause:
    """A cause, how it shows in uv's output, and what the person is told."""

    name: str
    pattern: re.Pattern[str]
    sentence: str
    hint: str


def _cause(name: str, pattern: str, sentence: str, hint: str) -> _Cause:
    return _Cause(name, re.compile(pattern, re.IGNORECASE), sentence, hint)


# In the order in which they are looked for: the more telling first.
_CAUSES = (
    _cause(
        NO_SPACE,
        r"no space left on device|not enough space on the disk|disk quota exceeded|file too large"
        r"|os error (28|112|122|27)\b",
        "there is no space left on the disk",
        "Free some space or choose another folder, then install again.",
    ),
    _cause(
        "certificate",
        r"invalid peer certificate|UnknownIssuer|certificate verify failed|self.signed certificate",
        "the certificate of {host} is not trusted by this system",
        "Add your organisation's certificate to the system store, or name its file in SSL_CERT_FILE.",
    ),
    _cause(
        "proxy",
        r"proxy (authorization|authentication) required",
        "the proxy asks for a user name and a password",
        "Put them into the proxy address (http://user:password@host:port).",
    ),
    _cause(
        "refused",
        r"\b(401 Unauthorized|403 Forbidden)|status client error \((401|403)",
        "{host} refuses access",
        "Check the index address and its password, or use an offline kit.",
    ),
    _cause(
        "damaged",
        r"(hash|digest) mismatch|invalid (zip|tar|gzip)|unexpected end of file|corrupt",
        "a file is damaged",
        "Install again; if the file comes from a kit or a mirror, make that anew.",
    ),
    _cause(
        "no network",
        r"error sending request|client error \(connect\)|connection (refused|reset|closed)|timed? ?out"
        r"|network (is )?unreachable|error decoding response body|network connectivity is disabled",
        "{host} cannot be reached",
        "Check the network and the proxy, name a mirror, or use an offline kit.",
    ),
    _cause(
        "server",
        r"HTTP status server error|HTTP status client error",
        "{host} answers with an error",
        "Try again later, or name a mirror.",
    ),
    _cause(
        "wrong Python",
        r"no (usable wheels|wheels with a matching)|does not satisfy Python|unsupported python",
        "there is no build for this Python or this system",
        "Choose another Python (3.10 to 3.14), or leave the choice open.",
    ),
    _cause(
        "no version",
        r"no solution found|no such file or directory",
        "the index, mirror or kit does not have this version",
        "Check the index address, or use a kit that was made by this version of Geo-SAM2.",
    ),
    _cause(
        "not permitted",
        r"permission denied|access is denied|read-only file system",
        "a file or folder cannot be written",
        "Choose a folder that you may write to, and close programs that use the old environment.",
    ),
    _cause(
        "build failed",
        r"failed to build",
        "it could not be built",
        "The log has what the build said.",
    ),
)

# The package that a report is about, the more certain places first.
_PACKAGE = r"([A-Za-z0-9][A-Za-z0-9._-]*?)"
_PACKAGE_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"failed to (?:download(?: and build)?|build|read|install)[^`\n]{{0,40}}`{_PACKAGE}(?:==|@|`)",
        rf"failed to install: .*\({_PACKAGE}==",
        rf"because (?:there (?:is|are) no versions? of |only )?{_PACKAGE}(?:==| was not found| has no )",
        rf"failed to fetch: `?https?://\S+/{_PACKAGE}/`?$",
        rf"failed to install {_PACKAGE}-\d",
    )
)


def package_in(text: str) -> str:
    """Return the package that an output complains about, or an empty string."""
    for pattern in _PACKAGE_PATTERNS:
        for line in text.splitlines():
            match = pattern.search(line.strip())
            if match:
                return match.group(1).replace("_", "-").lower()
    return ""


def _host_in(text: str) -> str:
    match = re.search(r"https?://(?:[^/@\s`]*@)?([^/\s`)'\"]+)", text)
    return match.group(1) if match else "the package index"


def cause_of(finished: Finished) -> str | None:
    """Return the short name of the cause, None when it is none of the known ones."""
    found = _find(finished)
    return found.name if found else None


def _find(finished: Finished) -> _Cause | None:
    # A file size limit (ulimit -f, quota) ends a program by signal before it can say anything.
    if sys.platform != "win32" and finished.returncode == -signal.SIGXFSZ:
        return _CAUSES[0]
    errors = _error_part(finished)
    for cause in _CAUSES:
        if cause.pattern.search(errors):
            return cause
    return None


def _error_part(finished: Finished) -> str:
    """Return the output from the first error on; what came before are reports of success."""
    for index, line in enumerate(finished.lines):
        if re.match(r"\s*(error\b|×|failed\b|x )", line, re.IGNORECASE):
            return "\n".join(finished.lines[index:])
    return finished.text


def download_under_way(finished: Finished) -> str:
    """Return the last package whose download uv began and did not end, or an empty string."""
    under_way = []
    for line in finished.lines:
        begun = re.match(r"Downloading (\S+) \(", line)
        ended = re.match(r" Downloaded (\S+)", line)
        if begun:
            under_way.append(begun.group(1))
        elif ended and ended.group(1) in under_way:
            under_way.remove(ended.group(1))
    return under_way[-1] if under_way else ""


def explain(finished: Finished, doing: str) -> InstallError:
    """Turn a failed run of uv into the error that the person sees.

    Args:
        finished: How uv ended.
        doing: What was under way, the subject of the sentence: ``PyTorch``, ``The packages``.
    """
    text = without_password_in_text(_error_part(finished))
    package = package_in(text) or download_under_way(finished)
    subject = f"{doing} ({package})" if package and package.lower() != doing.lower() else doing
    cause = _find(finished)
    if cause is not None:
        sentence = cause.sentence.format(host=_host_in(text))
        return InstallError(f"{subject} could not be installed: {sentence}.", cause.hint)
    if finished.returncode < 0:
        return InstallError(
            f"{subject} could not be installed: the installer was ended by signal {-finished.returncode}.",
            "Install again.",
        )
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")
    return InstallError(f"{subject} could not be installed: {last}", "The log has the whole report.")


def without_password_in_text(text: str) -> str:
    """Return uv's output with user names and passwords taken out of addresses."""
    return re.sub(r"\bhttps?://[^\s`'\")]+", lambda match: without_password(match.group(0)), text)

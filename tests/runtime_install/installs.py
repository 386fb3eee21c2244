# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the installer's command line as a user's script would, and looking at what it left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 540.0

# Nothing listens there: the connection is refused at once.
CLOSED_PORT = "http://127.0.0.1:9"


def command(home: Path, *arguments: str) -> list[str]:
    """Return the command line; the interpreter is the one that runs the tests."""
    return [sys.executable, "-m", "geo_sam2.runtime", "--home", str(home), *arguments]


def environment_variables(cache: Path, **more: str) -> dict[str, str]:
    """Return this process's variables with a shared uv cache and a PATH without uv."""
    variables = {key: value for key, value in os.environ.items() if key != "GEO_SAM2_HOME"}
    return {**variables, "UV_CACHE_DIR": str(cache), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **more}


def without_sources(cache: Path) -> dict[str, str]:
    """Return variables that name no index and no folder of packages, only proxies that are not there."""
    variables = environment_variables(cache, PIP_CONFIG_FILE="/dev/null", UV_HTTP_RETRIES="0", NO_PROXY="")
    for name in [name for name in variables if re.match("(PIP|UV)_.*(INDEX|FIND_LINKS)", name)]:
        del variables[name]
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    return {**variables, **dict.fromkeys(proxies, CLOSED_PORT)}


def network_namespace() -> list[str]:
    """Return a prefix that runs a command without any network, empty where that is not allowed."""
    prefix = ["unshare", "--net"]
    try:
        allowed = subprocess.run([*prefix, "true"], capture_output=True, timeout=30, check=False).returncode
    except OSError:
        return []
    return prefix if allowed == 0 else []


def run(
    home: Path,
    *arguments: str,
    variables: Mapping[str, str],
    prefix: Sequence[str] = (),
    file_size_limit: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the installer to its end, optionally under ``ulimit -f`` (in KiB) or another prefix."""
    line = [*prefix, *command(home, *arguments)]
    if file_size_limit is not None:
        line = ["/bin/bash", "-c", f'ulimit -f {file_size_limit} && exec "$@"', "bash", *line]
    return subprocess.run(
        line, cwd=ROOT, env=dict(variables), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@contextmanager
def running_until(
    home: Path, *arguments: str, words: str, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Start the installer and give it to the caller when it has printed ``words``; killed at the end."""
    process = subprocess.Popen(
        command(home, *arguments),
        cwd=ROOT,
        env=dict(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if words in line:
                break
        else:
            raise AssertionError(f"{words!r} was never printed:\n{''.join(seen)}")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def kill_when(home: Path, words: str, variables: Mapping[str, str]) -> None:
    """Start an install and kill the installer alone, with SIGKILL, when it has printed ``words``."""
    with running_until(home, "install", "--variant", "cpu", words=words, variables=variables) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()


def status(home: Path, *options: str) -> dict[str, object]:
    """Return the status as the command line tells it."""
    told = run(home, "status", "--json", *options, variables=environment_variables(home / "unused"))
    answer = json.loads(told.stdout)
    assert told.returncode == (0 if answer["is_usable"] else 3)
    return answer


def folders_of(home: Path) -> set[str]:
    """Return the names of the environment folders, finished or not."""
    return {path.name for path in (home / "env").glob("*")}


def processes_below(home: Path) -> list[int]:
    """Return the processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(home).encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until(condition, what: str, limit_s: float = 60.0) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)

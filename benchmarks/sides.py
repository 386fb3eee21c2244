# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours and upstream's work for the benchmarks, each in a process as its users have it.

Ours runs in the environment that the engine is started with; upstream in a plain one.
A side is asked for one run at a time over its pipes, so that both can take turns; the
same weights, pixels, features, prompts and number of threads go into both.
``python -m benchmarks.sides NAME CHECKPOINT`` is such a process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.timing import timed
from geo_sam2.runtime.engine_command import engine_environment

REPOSITORY = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ("engine", "plain")


def environment(kind: str) -> dict[str, str]:
    """Return the environment of a benchmark process: the engine's, or one without our settings."""
    cleaned = engine_environment(os.environ)
    if kind == "plain":
        cleaned = {name: value for name, value in cleaned.items() if not name.startswith("MALLOC_")}
    return {**cleaned, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


@contextlib.contextmanager
def side(name: str, kind: str, checkpoint: Path) -> Iterator[Callable[[str], Callable[[], float]]]:
    """Start a side in an environment.

    Yields:
        From the name of a piece of work to a function that has it done there and returns its seconds.
    """
    command = [sys.executable, "-m", "benchmarks.sides", name, str(checkpoint)]
    with subprocess.Popen(  # noqa: S603  # our own
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment(kind),
    ) as process:

        def piece(work: str) -> Callable[[], float]:
            def run() -> float:
                process.stdin.write(f"{work}\n")
                process.stdin.flush()
                return float(process.stdout.readline())

            return run

        yield piece
        process.stdin.close()


def _serve(pieces: dict[str, Callable[[], object]]) -> None:
    """Do what standard input asks for, and print its seconds."""
    runs = {name: timed(work) for name, work in pieces.items()}
    for line in sys.stdin:
        print(runs[line.strip()](), flush=True)


if __name__ == "__main__":
    from benchmarks import ours, upstream

    makers = {"ours": ours.pieces, "upstream": upstream.pieces}
    _serve(makers[sys.argv[1]](Path(sys.argv[2])))

# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours and upstream's work for the benchmarks, each in a process as its users have it.

Ours runs in the environment that the engine is started with; upstream in a plain one.
A side is asked for one run at a time over its pipes, so that both can take turns; the
same weights, pixels, features, prompts and number of threads go into both.
``python -m benchmarks.sides NAME CHECKPOINT …`` is such a process. The side of QGIS runs on
its Python, without the packages of the other.
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
QGIS_PYTHON = REPOSITORY / ".venv" / "bin" / "python"


def environment(kind: str) -> dict[str, str]:
    """Return the environment of a benchmark process: the engine's, one without our settings, or QGIS's."""
    if kind == "qgis":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "OMP_"))}
        return {**kept, "PYTHONPATH": str(REPOSITORY)}
    cleaned = engine_environment(os.environ)
    if kind == "plain":
        cleaned = {name: value for name, value in cleaned.items() if not name.startswith("MALLOC_")}
    return {**cleaned, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


@contextlib.contextmanager
def side(
    name: str, kind: str, checkpoint: Path, raster: Path | None = None
) -> Iterator[Callable[[str], Callable[[], float]]]:
    """Start a side in an environment.

    Args:
        name: Of the side.
        kind: Of the environment: ``engine``, ``plain`` or ``qgis``.
        checkpoint: The model file.
        raster: What to encode, for sides that encode rasters.

    Yields:
        From the name of a piece of work to a function that has it done there and returns its seconds.
    """
    python = QGIS_PYTHON if kind == "qgis" else Path(sys.executable)
    command = [str(python), "-m", "benchmarks.sides", name, str(checkpoint)]
    if raster is not None:
        # Whoever is not the engine's Python itself has to be told where it is.
        command += [str(raster), sys.executable]
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


def _pieces(name: str, paths: list[Path]) -> dict[str, Callable[[], object]]:
    """Return what a side can be asked for; imports only what its Python has."""
    if name == "job":
        from benchmarks import encode_side

        return encode_side.pieces(*paths)
    from benchmarks import ours, upstream

    if name == "windows":
        return ours.window_pieces(*paths[:2])
    return {"ours": ours.pieces, "upstream": upstream.pieces}[name](*paths)


if __name__ == "__main__":
    _serve(_pieces(sys.argv[1], [Path(path) for path in sys.argv[2:]]))

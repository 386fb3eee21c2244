# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the benchmarks, write results.json, print the table, and put it into the README.

    make bench                          # all
    python -m benchmarks decode encode  # some

Each benchmark runs in a process of its own, started with the environment of the engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.readme import write_table
from benchmarks.results import RESULTS, add_results, machine_facts, read_results
from geo_sam2.runtime.engine_command import engine_environment

REPOSITORY = Path(__file__).resolve().parents[1]


def _random_tiny(folder: Path):
    """Return (our model, upstream's predictor) of tiny with the same seeded random weights, and the file."""
    import torch

    from geo_sam2.engine.sam2_model import load_model
    from tests.engine import upstream

    reference = upstream.random_model("tiny")
    path = folder / "random_tiny.pt"
    torch.save({"model": reference.state_dict()}, path)
    return load_model(path, torch.device("cpu")), upstream.image_predictor_class()(reference), path


def _meadow():
    """Return the example image, (1024, 1024, 3) uint8."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(REPOSITORY / "examples" / "meadow_1024.jpg").convert("RGB"))


def run_decode(folder: Path) -> None:
    """Measure decoding against upstream."""
    from benchmarks import decode

    model, predictor, _ = _random_tiny(folder)
    add_results(decode.measure(model, predictor))


def run_encode(folder: Path) -> None:
    """Measure encoding against upstream, and the masks of its best precision."""
    import torch

    from benchmarks import encode
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS, load_model

    model, predictor, _ = _random_tiny(folder)
    image_hwc = _meadow()
    add_results(encode.measure(model, predictor, image_hwc))
    for name, subject in (("", model), ("_demo", load_model(DEMO_WEIGHTS, torch.device("cpu")))):
        found = encode.agreement(subject, image_hwc)
        add_results(
            {
                f"encode_best_mask_iou{name}": sum(found.ious) / len(found.ious),
                f"encode_best_mask_iou_min{name}": min(found.ious),
                f"encode_best_flips{name}": found.flips,
                f"encode_best_masks{name}": len(found.ious),
            }
        )


def run_engine(folder: Path) -> None:
    """Measure the engine process, its requests and outlines."""
    import torch

    from benchmarks import engine_process, outlines
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS, load_model

    image_hwc = _meadow()
    model, _, checkpoint = _random_tiny(folder)
    add_results(engine_process.start_times(folder, checkpoint, image_hwc))
    with engine_process.running_engine(folder) as engine:
        site = engine_process.Site(engine, folder / "demo.geosam2", DEMO_WEIGHTS, image_hwc)
        add_results(engine_process.request_overhead(site))
        add_results(engine_process.tile_warm_up(site))
        add_results(outlines.measure(site))
        demo = load_model(DEMO_WEIGHTS, torch.device("cpu"))
        add_results(engine_process.click_while_encoding(site, demo))


PARTS = {"decode": run_decode, "encode": run_encode, "engine": run_engine}


def main(arguments: list[str]) -> int:
    """Run parts in processes of their own; with ``--inside`` run one part here."""
    if arguments[:1] == ["--inside"]:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[arguments[1]](Path(folder))
        return 0
    unknown = set(arguments) - set(PARTS)
    if unknown:
        print(f"There are {', '.join(PARTS)}, not {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    environment = {**engine_environment(os.environ), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    for part in arguments or PARTS:
        print(f"== {part}", flush=True)
        command = [sys.executable, "-m", "benchmarks", "--inside", part]
        subprocess.run(command, check=True, cwd=REPOSITORY, env=environment)  # noqa: S603  # our own
    add_results(machine_facts())
    for name, value in read_results().items():
        print(f"{name:42} {value:.4g}" if isinstance(value, float) else f"{name:42} {value}")
    write_table(read_results())
    print(f"Written to {RESULTS} and README.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

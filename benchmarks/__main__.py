# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the benchmarks, write results.json, print the table, and put it into the README.

    make bench                          # all
    python -m benchmarks decode encode  # some

Each benchmark runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.readme import write_table
from benchmarks.results import RESULTS, add_results, machine_facts, read_results
from benchmarks.sides import REPOSITORY, environment


def _random_tiny(folder: Path) -> Path:
    """Write tiny with seeded random weights and return the file."""
    import torch

    from tests.engine import upstream

    path = folder / "random_tiny.pt"
    torch.save({"model": upstream.random_model("tiny").state_dict()}, path)
    return path


def run_decode(folder: Path) -> None:
    """Measure decoding against upstream."""
    from benchmarks.against_upstream import measure_decoding

    add_results(measure_decoding(_random_tiny(folder)))


def run_encode(folder: Path) -> None:
    """Measure encoding against upstream, and the masks of its best precision."""
    import torch

    from benchmarks import inputs, precision
    from benchmarks.against_upstream import measure_encoding
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS, load_model

    checkpoint = _random_tiny(folder)
    add_results(measure_encoding(checkpoint))
    for suffix, path in (("", checkpoint), ("_demo", DEMO_WEIGHTS)):
        model = load_model(path, torch.device("cpu"))
        add_results(precision.measure(model, inputs.meadow(), suffix))


def run_engine(folder: Path) -> None:
    """Measure the engine process, its requests and outlines."""
    import torch

    from benchmarks import engine_process, inputs, outlines
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS, load_model

    image_hwc = inputs.meadow()
    add_results(engine_process.start_times(folder, _random_tiny(folder), image_hwc))
    with engine_process.running_engine(folder) as engine:
        site = engine_process.Site(engine, folder / "demo.geosam2", DEMO_WEIGHTS, image_hwc)
        add_results(engine_process.request_overhead(site))
        add_results(engine_process.tile_warm_up(site))
        add_results(outlines.measure(site))
        demo = load_model(DEMO_WEIGHTS, torch.device("cpu"))
        add_results(engine_process.click_while_encoding(site, demo))


def run_store(folder: Path) -> None:
    """Measure the index of a large store."""
    import torch

    from benchmarks import store_index
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS, load_model

    add_results(store_index.measure(folder, load_model(DEMO_WEIGHTS, torch.device("cpu")).info))


def run_prompts(folder: Path) -> None:
    """Measure many prompts at once against one by one."""
    from benchmarks import batch_prompts, engine_process
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS

    with engine_process.running_engine(folder) as engine:
        add_results(batch_prompts.measure(engine, folder, DEMO_WEIGHTS))


def run_job(folder: Path) -> None:
    """Measure encodes of rasters: their throughput, and how soon they begin on a big one."""
    from benchmarks import big_raster, encode_pipeline
    from geo_sam2.engine.sam2_model import DEMO_WEIGHTS

    add_results(encode_pipeline.measure(folder, _random_tiny(folder)))
    add_results(big_raster.measure(folder, DEMO_WEIGHTS))


def run_memory(folder: Path) -> None:
    """Measure the memory of an encode of 400 tiles; takes as long as they do."""
    from benchmarks import encode_memory

    add_results(encode_memory.measure(folder))


def run_dock(folder: Path) -> None:
    """Measure clicks and hovers in the dock of the real QGIS."""
    from benchmarks import dock_clicks, dock_hover
    from benchmarks.dock_desktop import desk

    with desk(folder, columns=6) as place:
        with place.qgis() as qgis:
            unencoded = dock_clicks.unencoded_seconds(place, qgis)
            store = Path(qgis.ask("dock:part", path="imagery.store"))
        # Another QGIS, whose engine has none of the tiles prepared.
        with place.qgis() as qgis:
            cold = dock_clicks.cold_seconds(place, qgis)
            bare = dock_clicks.bare_decode(store)
            warm = dock_clicks.warm_seconds(place, qgis, bare)
            add_results(dock_clicks.figures(unencoded, cold, warm))
            add_results(dock_hover.measure(place, qgis, bare))


def run_objects(folder: Path) -> None:
    """Measure five hundred objects in a row."""
    from benchmarks import dock_objects

    add_results(dock_objects.measure(folder))


PARTS = {
    "decode": run_decode,
    "encode": run_encode,
    "engine": run_engine,
    "store": run_store,
    "prompts": run_prompts,
    "job": run_job,
    "memory": run_memory,
    "dock": run_dock,
    "objects": run_objects,
}


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
    for part in arguments or PARTS:
        print(f"== {part}", flush=True)
        command = [sys.executable, "-m", "benchmarks", "--inside", part]
        subprocess.run(command, check=True, cwd=REPOSITORY, env=environment("engine"))  # noqa: S603  # our own
    add_results(machine_facts())
    for name, value in read_results().items():
        print(f"{name:42} {value:.4g}" if isinstance(value, float) else f"{name:42} {value}")
    write_table(read_results())
    print(f"Written to {RESULTS} and README.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

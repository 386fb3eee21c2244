# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the demo model from nothing and write geo_sam2/models/demo/demo.safetensors.

    nice -n 15 python scripts/train_demo_model.py --work FOLDER

FOLDER keeps the drawn scenes, the log (log.jsonl) and a checkpoint after every 50 steps; the same command
goes on from there. ``--export`` writes the weights of the newest checkpoint and stops. Two cores take two
hours.

The schedule counts steps, not time: a grouping stage for the trunk, then pictures of 256, 512 and 1024
pixels, the learning rate falling through all of them. Weights are averaged (EMA 0.995).
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from demo_training import pool, prompts, steps
from demo_training.model import (
    DEMO_FOLDER,
    MEMORY_PREFIXES,
    balance_features,
    build_demo_model,
    decode,
    encode,
    trained_parameters,
)
from demo_training.starting_values import Frame, fit_masks, set_click_circuit
from safetensors.torch import save_file

SEED = 20
EMA = 0.995
WARM_UP = 50
#: Seeds of held-out scenes start here.
HELD_OUT = 900_000
CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class Stage:
    """One stage of the schedule.

    Attributes:
        size_px: side of the crops.
        images: pictures per step.
        prompts: first prompts per picture; 0 for grouping.
        count: steps.
        rates: learning rate at the start and at the end, on a half cosine between.
        scenes: scenes in the pool.
        plain: steps at the start without correction rounds.
        balance: share of balanced cross-entropy in the loss at the start and at the end, on a line between.
        grouping: whether the trunk goes on learning by the grouping loss.
        zoom: least and most enlargement of the drawn scenes: large objects are learned first.
        held_out: held-out scenes that are validated.
    """

    size_px: int
    images: int
    prompts: int
    count: int
    rates: tuple[float, float]
    scenes: int
    plain: int = 0
    balance: tuple[float, float] = (0.0, 0.0)
    grouping: bool = False
    zoom: tuple[float, float] = (1.0, 1.0)
    held_out: int = 24


SCHEDULE = (
    Stage(256, 4, 0, 400, (1e-3, 5e-4), 1800),
    Stage(256, 3, 16, 700, (4e-4, 3e-4), 1800, plain=700, balance=(1, 0.2), grouping=True, zoom=(0.8, 2.4)),
    Stage(256, 3, 16, 1400, (3e-4, 1.5e-4), 1800, balance=(0.2, 0), zoom=(0.5, 1.8)),
    Stage(512, 2, 12, 300, (1.5e-4, 8e-5), 500, held_out=8),
    Stage(1024, 1, 12, 160, (8e-5, 4e-6), 300, held_out=4),
)


def place(step: int) -> tuple[Stage, int]:
    """Return the stage of a step and the step's number in it."""
    for stage in SCHEDULE:
        if step < stage.count:
            return stage, step
        step -= stage.count
    raise IndexError(step)


class Trainer:
    """The model, its averaged weights, the optimiser, and their checkpoint."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.step = 0
        torch.manual_seed(SEED)
        self.model = build_demo_model()
        self.frame = set_click_circuit(self.model, SEED)
        self.model.train()
        self.head = torch.nn.Conv2d(256 + 64 + 32, 64, 1)
        self.names, self.parameters = zip(*trained_parameters(self.model))
        for parameter in set(self.model.parameters()) - set(self.parameters):
            parameter.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            [*self.parameters, *self.head.parameters()], lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01
        )
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    @property
    def path(self) -> Path:
        """Where the checkpoint is."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint; the one before is replaced only by a whole one."""
        partial = self.path.with_suffix(".partial")
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "frame": asdict(self.frame),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": dict(zip(self.names, self.average)),
        }
        torch.save(state, partial)
        partial.replace(self.path)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            self.step = state["step"]
            self.model.load_state_dict(state["model"])
            self.frame = Frame(**state["frame"])
            self.head.load_state_dict(state["head"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = [state["average"][name] for name in self.names]

    @torch.no_grad()
    def begin_decoding(self, folder: Path) -> None:
        """Fit what the pre-trained trunk gives and the untrained decoder to each other."""
        scenes = [pool.load(folder / "pool", SCHEDULE[0].size_px, number) for number in range(16)]
        batch = steps.make_batch(np.random.default_rng(SEED), [s for s in scenes if len(s.objects)], 8)
        balance_features(self.model, batch.images_u8)
        features = encode(self.model, batch.images_u8, batch.corner_xy).at(batch.image_index)
        asked = [prompts.first_prompt(batch.targets, kind) for kind in ("click", "box")]
        fit_masks(
            self.model.sam_mask_decoder,
            self.frame,
            lambda: torch.cat([decode(self.model, features, *prompt, None)[0] for prompt in asked]),
            torch.cat([batch.targets.levels[:, prompts.OBJECT], batch.targets.mask]),
        )
        self.average = [parameter.detach().clone() for parameter in self.parameters]

    def update(self) -> float:
        """Apply the gradients with the step's learning rate; return their norm."""
        stage, number = place(self.step)
        start, end = stage.rates
        rate = end + (start - end) * 0.5 * (1 + np.cos(np.pi * number / stage.count))
        if stage in SCHEDULE[:2]:
            rate *= min(1.0, (number + 1) / WARM_UP)
        decay = min(EMA, (1 + number) / (10 + number)) if stage in SCHEDULE[:2] else EMA
        for group in self.optimiser.param_groups:
            group["lr"] = float(rate)
        self.frame.keep_apart(self.model, gradients=True)
        norm = torch.nn.utils.clip_grad_norm_(self.optimiser.param_groups[0]["params"], 5.0)
        self.optimiser.step()
        self.frame.keep_apart(self.model)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.parameters), 1 - decay)
        self.step += 1
        return float(norm)

    def swap(self) -> None:
        """Exchange the weights with their average."""
        with torch.no_grad():
            for index, parameter in enumerate(self.parameters):
                kept = parameter.detach().clone()
                parameter.copy_(self.average[index])
                self.average[index] = kept

    def export(self, path: Path, *, averaged: bool = True) -> None:
        """Write the weights as float16 safetensors, without the memory modules."""
        if averaged:
            self.swap()
        shipped = copy.deepcopy(self.model)
        if averaged:
            self.swap()
        state = {
            name: tensor.detach().to(torch.float16).contiguous().clone()
            for name, tensor in shipped.state_dict().items()
            if not name.startswith(MEMORY_PREFIXES)
        }
        metadata = {
            "name": "Geo-SAM2 demo model",
            "architecture": "SAM 2.1 with a narrow Hiera trunk, see demo.yaml; without the memory modules",
            "purpose": "trying the plugin, tests and teaching; not for work",
            "data": "drawn scenes only, scripts/demo_scenes",
            "training": f"scripts/train_demo_model.py, {self.step} steps{', averaged' if averaged else ''}",
            "licence": "GPL-3.0-or-later",
        }
        partial = path.with_suffix(".partial")
        save_file(state, partial, metadata)
        partial.chmod(0o644)  # safetensors writes for the owner alone
        partial.replace(path)


def scenes_of(step: int, folder: Path) -> tuple[Stage, list[pool.PooledScene]]:
    """Return the scenes of a step, the same in every run."""
    stage, number = place(step)
    rng = np.random.default_rng([SEED, step])
    drawn = sum(
        other.images * other.count
        for other in SCHEDULE[: SCHEDULE.index(stage)]
        if other.size_px == stage.size_px
    )
    available = min(stage.scenes, int(pool.START + pool.GROWTH * (drawn + stage.images * number)))
    scenes = []
    while len(scenes) < stage.images:
        scene = pool.load(folder, stage.size_px, int(rng.integers(available)))
        factor = float(rng.uniform(*stage.zoom))
        if factor > 1:
            scene = pool.zoomed(rng, scene, factor)
        if len(scene.objects):
            scenes.append(scene)
    return stage, scenes


def prepare(step: int, folder: Path) -> tuple[Stage, steps.Batch]:
    """Return the stage and the batch of a step."""
    stage, scenes = scenes_of(step, folder)
    rng = np.random.default_rng([SEED, step, 1])
    return stage, steps.make_batch(rng, scenes, max(stage.prompts, 1), varied=stage.prompts > 0)


def train(trainer: Trainer, folder: Path) -> None:
    """Run the schedule to its end."""
    total = sum(stage.count for stage in SCHEDULE)
    log = (folder / "log.jsonl").open("a", encoding="utf-8")
    figures: dict[str, list[float]] = {}
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(prepare, trainer.step, folder / "pool")
        while trainer.step < total:
            begun = time.monotonic()
            if trainer.step == SCHEDULE[0].count:
                trainer.begin_decoding(folder)
            stage, batch = waiting.result()
            if trainer.step + 1 < total:
                waiting = ahead.submit(prepare, trainer.step + 1, folder / "pool")
            number = place(trainer.step)[1]
            torch.manual_seed(SEED * 1_000_003 + trainer.step)
            if stage.prompts:
                chance = torch.Generator().manual_seed(SEED * 1_000_003 + trainer.step)
                head = trainer.head if stage.grouping else None
                start, end = stage.balance
                balance = start + (end - start) * number / stage.count
                found = steps.training_step(
                    trainer.model, batch, chance, number >= stage.plain, head, balance
                )
            else:
                found = steps.grouping_step(trainer.model, trainer.head, batch)
            found["norm"] = trainer.update()
            found["seconds"] = time.monotonic() - begun
            for name, value in found.items():
                figures.setdefault(name, []).append(value)
            is_last = number + 1 == stage.count
            if trainer.step % 25 == 0 or is_last:
                line = {"step": trainer.step, "size": stage.size_px}
                line |= {name: round(float(np.mean(values)), 4) for name, values in figures.items()}
                if stage.prompts and (trainer.step % 250 == 0 or is_last):
                    line |= validation(trainer, folder, stage)
                log.write(json.dumps(line) + "\n")
                log.flush()
                print(line, flush=True)
                figures = {}
            if trainer.step % CHECKPOINT_EVERY == 0 or is_last:
                trainer.save()


def validation(trainer: Trainer, folder: Path, stage: Stage) -> dict[str, float]:
    """Return the figures of the averaged weights on held-out scenes, names beginning with ``val_``."""
    numbers = range(HELD_OUT, HELD_OUT + stage.held_out)
    for number in numbers:
        pool.draw(folder / "pool", stage.size_px, number)
    trainer.swap()
    found = steps.validate(trainer.model, folder / "pool", stage.size_px, numbers, 6)
    trainer.swap()
    return {f"val_{name}": round(value, 4) for name, value in found.items()}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes, log and checkpoint")
    parser.add_argument("--out", type=Path, default=DEMO_FOLDER / "demo.safetensors")
    parser.add_argument("--export", action="store_true", help="only write the newest checkpoint's weights")
    parser.add_argument(
        "--newest",
        action="store_true",
        help="write the newest weights, not their average, which lags behind while much is still learned",
    )
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(min(os.cpu_count() or 2, 8))
    trainer = Trainer(arguments.work)
    trainer.resume()
    if not arguments.export:
        plan = [(stage.size_px, stage.scenes) for stage in SCHEDULE if stage.prompts]
        painter = multiprocessing.get_context("spawn").Process(
            target=pool.fill, args=(arguments.work / "pool", plan), daemon=True
        )
        painter.start()
        train(trainer, arguments.work)
        painter.kill()
    trainer.export(arguments.out, averaged=not arguments.newest)
    print(f"wrote {arguments.out}, {arguments.out.stat().st_size} bytes, step {trainer.step}")


if __name__ == "__main__":
    main()

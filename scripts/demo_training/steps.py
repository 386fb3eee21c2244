# SPDX-License-Identifier: GPL-3.0-or-later
"""One training step and one validation: what is asked of the model in which order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import losses, pool, prompts
from .model import STRIDE_PX, Features, decode, encode
from .starting_values import WINDOW_PX

#: Shares of first prompts that are clicks; the others are boxes.
CLICKS = 0.65
#: Chances of one, two and three rounds of prompts, once corrections are trained.
ROUNDS = (0.35, 0.35, 0.3)
#: Chance that a correction carries the logits of the round before as mask prompt.
MASK_PROMPT = 0.75
MASK_PROMPT_BOUND = 32.0
IOU_WEIGHT = 1.0
GROUPING_WEIGHT = 0.5
#: Pixels of a picture that are compared with one another.
GROUPED_PIXELS = 600


@dataclass
class Batch:
    """What a step sees.

    Attributes:
        images_u8: (B, 3, H, W) pictures.
        object_bhw: (B, H, W) labels of their objects.
        targets: N prompts and their answers.
        image_index: (N,) the picture of each prompt.
        corner_xy: (B, 2) where in the window the pictures lie.
    """

    images_u8: torch.Tensor
    object_bhw: torch.Tensor
    targets: prompts.Targets
    image_index: torch.Tensor
    corner_xy: torch.Tensor


def make_batch(
    rng: np.random.Generator, scenes: list[pool.PooledScene], per_image: int, varied: bool = True
) -> Batch:
    """Return the batch of some scenes; ``varied`` turns and recolours them by lot."""
    if varied:
        scenes = [pool.recoloured(rng, pool.turned(scene, int(rng.integers(8)))) for scene in scenes]
    sampled = [prompts.sample_targets(rng, scene, per_image) for scene in scenes]
    images = torch.from_numpy(np.stack([scene.image_hwc for scene in scenes])).permute(0, 3, 1, 2)
    fields = zip(*((t.levels, t.intended, t.click_xy, t.box_xyxy) for t in sampled))
    places = (WINDOW_PX - images.shape[-1]) // STRIDE_PX + 1
    return Batch(
        images.contiguous(),
        torch.from_numpy(np.stack([scene.labels_khw[1] for scene in scenes])).long(),
        prompts.Targets(*(torch.cat(values) for values in fields)),
        torch.arange(len(scenes)).repeat_interleave(per_image),
        torch.from_numpy(rng.integers(places, size=(len(scenes), 2)) * STRIDE_PX),
    )


def training_step(
    model: nn.Module,
    batch: Batch,
    rng: torch.Generator,
    with_corrections: bool,
    head: nn.Module | None = None,
    balance: float = 0.0,
) -> dict[str, float]:
    """Run the rounds of one step and leave the gradients in the parameters; return figures for the log.

    With a ``head`` the trunk goes on learning to group pixels as well (see ``grouping``); ``balance`` is that
    of ``losses.mask_loss``.

    Each round's graph is freed at once: gradients are collected at the features and go through the trunk
    in the end.
    """
    size = batch.images_u8.shape[-1]
    rounds = 1
    if with_corrections:
        rounds += int(torch.multinomial(torch.tensor(ROUNDS), 1, generator=rng))
    with torch.autocast("cpu", torch.bfloat16):
        features = encode(model, batch.images_u8, batch.corner_xy)
    leaves = [tensor.detach().requires_grad_() for tensor in (features[0], *features[1])]
    shared = Features(leaves[0], (leaves[1], leaves[2]), batch.corner_xy)

    order = torch.randperm(len(batch.image_index), generator=rng)
    count = round(CLICKS * len(order))
    log: dict[str, float] = {"rounds": rounds}
    if head is not None:
        loss = grouping(head, shared, batch.object_bhw)
        (GROUPING_WEIGHT * loss).backward()
        log["grouping_loss"] = float(loss.detach())
    for kind, chosen in (("click", order[:count]), ("box", order[count:])):
        targets = batch.targets.subset(chosen)
        coords, labels = prompts.first_prompt(targets, kind)
        images, mask_input = batch.image_index[chosen], None
        for number in range(rounds):
            with torch.autocast("cpu", torch.bfloat16):
                logits, predicted = decode(model, shared.at(images), coords, labels, mask_input)
            is_lone_click = kind == "click" and number == 0
            loss = losses.click_loss if is_lone_click else losses.refined_loss
            found = loss(logits, predicted, targets, balance)
            total = (found["mask"] + IOU_WEIGHT * found["iou"]).sum() / len(order)
            total.backward()
            name = kind if number == 0 else "again"
            log[f"{name}_loss"] = float(found["mask"].detach().mean())
            log[f"{name}_iou_error"] = float(found["iou"].detach().mean())
            chosen_logits = best_logits(logits.detach(), predicted.detach(), is_lone_click)
            log[f"{name}_iou"] = float(losses.actual_iou(chosen_logits, targets.mask).mean())
            if number + 1 < rounds:
                if number == 0:  # half of the prompts go on
                    keep = torch.arange(0, len(images), 2)
                    images, targets = images[keep], targets.subset(keep)
                    coords, labels, chosen_logits = coords[keep], labels[keep], chosen_logits[keep]
                more = prompts.correction(rng, chosen_logits, targets.mask, size)
                coords, labels = torch.cat([coords, more[0]], 1), torch.cat([labels, more[1]], 1)
                carries = float(torch.rand((), generator=rng)) < MASK_PROMPT
                bounded = chosen_logits.clamp(-MASK_PROMPT_BOUND, MASK_PROMPT_BOUND)
                mask_input = bounded[:, None] if carries else None
    torch.autograd.backward([features[0], *features[1]], [leaf.grad for leaf in leaves])
    return log


def best_logits(logits: torch.Tensor, predicted: torch.Tensor, is_lone_click: bool) -> torch.Tensor:
    """Return the logits (N, h, w) that the engine would show: best of three, or the single mask."""
    if not is_lone_click:
        return logits[:, 0]
    return logits[torch.arange(len(logits)), 1 + predicted[:, 1:].argmax(1)]


def grouping(head: nn.Module, features: Features, object_bhw: torch.Tensor) -> torch.Tensor:
    """Return the grouping loss: pixels of one object alike, others apart.

    Args:
        head: 1 x 1 convolution from all features to an embedding; training throws it away.
        features: of B pictures.
        object_bhw: labels of their objects.
    """
    with torch.autocast("cpu", torch.bfloat16):
        s0, s1 = features.high_res_feats
        grown = [F.interpolate(part, s0.shape[-2:], mode="bilinear") for part in (features.image_embed, s1)]
        embedding = head(torch.cat([s0, *grown], 1))
    embedding = F.normalize(embedding.float(), dim=1).flatten(2)
    middle = object_bhw[:, 1 :: prompts.LOW_RES_PX, 1 :: prompts.LOW_RES_PX].flatten(1)
    total = torch.zeros(())
    for pixels, objects in zip(embedding, middle):
        chosen = torch.randperm(len(objects))[:GROUPED_PIXELS]
        total = total + losses.grouping_loss(pixels[:, chosen].T, objects[chosen])
    return total / len(embedding)


def grouping_step(model: nn.Module, head: nn.Module, batch: Batch) -> dict[str, float]:
    """Train the trunk alone by the grouping loss; leaves the gradients."""
    with torch.autocast("cpu", torch.bfloat16):
        features = encode(model, batch.images_u8)
    loss = grouping(head, features, batch.object_bhw)
    loss.backward()
    return {"grouping_loss": float(loss.detach())}


@torch.no_grad()
def validate(
    model: nn.Module, folder: Path, size_px: int, numbers: range, per_image: int
) -> dict[str, float]:
    """Return mean IoUs on held-out training scenes, whole single-part objects of 1,000 px and more.

    The order of questions is that of the final measurement; IoUs are those of low-res samples.
    """
    chance = torch.Generator().manual_seed(0)
    corner_xy = torch.full((1, 2), (WINDOW_PX - size_px) // 2 // STRIDE_PX * STRIDE_PX)
    sums: dict[str, list[float]] = {}
    for number in numbers:
        scene = pool.load(folder, size_px, number)
        table = {name: scene.objects[:, column] for column, name in enumerate(pool.COLUMNS)}
        whole = (table["area"] >= 1000) & (table["is_cut"] == 0)
        single = np.array(
            [not scene.labels_khw[0][scene.labels_khw[1] == i].any() for i in table["object_id"]]
        )
        objects = scene.objects[whole & single.reshape(whole.shape)][:per_image]
        if not len(objects):
            continue
        shares, clicks, boxes = [], [], []
        for described in objects:
            inside = scene.labels_khw[1] == described[0]
            shares.append(F.avg_pool2d(torch.from_numpy(inside).float()[None], prompts.LOW_RES_PX)[0])
            clicks.append([described[4], described[3]])
            rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            boxes.append([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1])
        share = torch.stack(shares)
        targets = prompts.Targets(
            share[:, None].expand(-1, 3, -1, -1),
            torch.ones(len(objects), dtype=torch.long),
            torch.tensor(np.array(clicks), dtype=torch.float32),
            torch.tensor(np.array(boxes), dtype=torch.float32) - 0.5,
        )
        image = torch.from_numpy(scene.image_hwc).permute(2, 0, 1)[None]
        with torch.autocast("cpu", torch.bfloat16):
            features = encode(model, image, corner_xy).at(torch.zeros(len(objects), dtype=torch.long))
        for kind, with_mask in (("click", True), ("click", False), ("box", True)):
            coords, labels = prompts.first_prompt(targets, kind)
            mask_input = None
            for number_of_prompt in range(1 if kind == "box" else 3):
                with torch.autocast("cpu", torch.bfloat16):
                    logits, predicted = decode(model, features, coords, labels, mask_input)
                lone = kind == "click" and number_of_prompt == 0
                shown = best_logits(logits, predicted, lone)
                iou = losses.actual_iou(shown, share)
                more = prompts.correction(chance, shown, share, size_px)
                coords, labels = torch.cat([coords, more[0]], 1), torch.cat([labels, more[1]], 1)
                mask_input = shown.clamp(-32, 32)[:, None] if with_mask else None
                if lone and with_mask:
                    sums.setdefault("1click", []).extend(iou.tolist())
                    every = losses.actual_iou(logits[:, 1:], share[:, None].expand(-1, 3, -1, -1))
                    sums.setdefault("1click_oracle", []).extend(every.amax(1).tolist())
            name = "box" if kind == "box" else "3clicks" if with_mask else "3clicks_no_mask"
            sums.setdefault(name, []).extend(iou.tolist())
    return {name: float(np.mean(values)) for name, values in sums.items()} | {"n": len(sums["box"])}

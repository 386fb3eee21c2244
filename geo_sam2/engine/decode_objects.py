# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay the steps of objects on the tiles of a store: prompts in, candidate masks out.

Owns the order of decoding: which pass gets which prompts and which mask prompt, what is
remembered of earlier requests, and which passes share a batch. How a pass works is
``mask_decoder``'s business, what becomes of the logits ``outlines``'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geo_sam2.engine.byte_cache import ByteCache
from geo_sam2.engine.candidate_cache import CandidateCache
from geo_sam2.engine.logit_grid import LogitGrid
from geo_sam2.engine.mask_choice import Candidates, multimask, single_mask
from geo_sam2.engine.mask_decoder import Features, MaskDecoder, PreparedTile
from geo_sam2.engine.mask_prompt import mask_logits
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.prompt_embedding import MASK_PROMPT_LIMIT
from geo_sam2.engine.prompt_steps import Prompt, PromptStep, prompt_after
from geo_sam2.engine.tile_io import read_decoder, read_tile
from geo_sam2.engine.window_image import model_coordinates
from geo_sam2.errors import DamagedTileError, PromptError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.tile_window import TileWindow

# A prepared tile takes 23 MB, so this keeps about 22: more than a screen shows.
TILE_CACHE_BYTES = 512 * 2**20
# Off the CPU, prompts share a pass while it stays within these; a CPU gains nothing by batches.
BATCH_BYTES = 512 * 2**20
BATCH_SECONDS = 0.2
_BYTES_PER_PROMPT = 32 * 2**20  # image samples, upscaled features and logits of one prompt


@dataclass(frozen=True)
class TileReference:
    """A tile of a store as the index names it.

    Attributes:
        window: What it covers.
        file: Its name in the store.
        crc32: Checksum in the index, or None.
    """

    window: TileWindow
    file: str
    crc32: int | None

    @property
    def content(self) -> tuple[str, int | None]:
        """What names the tile and what is in it: a tile that is encoded again has another file."""
        return self.file, self.crc32


@dataclass(frozen=True)
class ObjectRequest:
    """An object to decode: the tile that its prompts lie in, and what was done to it so far."""

    tile: TileReference
    steps: Sequence[PromptStep]


class ObjectDecoder:
    """Decodes objects on the tiles of one store; keeps what the next click will need.

    Args:
        store: The open store.
        device: Where to decode.

    Attributes:
        candidates: What was decoded before.
    """

    def __init__(self, store: FeatureStore, device: torch.device) -> None:
        self.store = store
        self._decoder = MaskDecoder(read_decoder(store), store.manifest.model.decoder, device)
        self._tiles: ByteCache[PreparedTile] = ByteCache(TILE_CACHE_BYTES, lambda tile: tile.nbytes)
        self.candidates = CandidateCache()
        self._seconds_per_prompt = 0.0

    def prepare(self, tile: TileReference) -> PreparedTile:
        """Return a tile ready for decoding, read from disk on first use.

        Raises:
            DamagedTileError: The file, which it names, is not what the store says.
        """
        prepared = self._tiles.get(tile.content)
        if prepared is None:
            try:
                features = read_tile(self.store, tile.window, tile.file, tile.crc32)
            except DamagedTileError as error:
                error.file = tile.file
                raise
            with torch.inference_mode():
                on_device = (
                    part.to(self._decoder.device)
                    for part in (features.image_embed, features.high_res_feats_0, features.high_res_feats_1)
                )
                prepared = self._decoder.prepare(Features(*on_device))
            self._tiles.put(tile.content, prepared)
        return prepared

    def forget_tiles(self) -> None:
        """Give the memory of prepared tiles back."""
        self._tiles.discard(lambda _: True)

    def decode(
        self, objects: Sequence[ObjectRequest], between: Callable[[], None], *, is_passing: bool = False
    ) -> Iterator[tuple[int, Candidates]]:
        """Decode objects, in whatever order is fastest.

        Args:
            objects: What to decode; each gives the same result alone and in company.
            between: Called between objects; may raise to leave.
            is_passing: Nobody will come back to these objects, to refine them or to see them
                in another shape: previews and batches.

        Yields:
            The index of an object and the candidates of its last step, logits on the CPU; not to
            be changed, they may be remembered.

        Raises:
            PromptError: A prompt lies outside its window, or a step goes on with a mask that is not there.
            DamagedTileError: A tile is not what the store says.
        """
        for batch in self._batches(objects):
            between()
            started = time.monotonic()
            with torch.inference_mode():
                answers = self._decode_batch([objects[index] for index in batch], is_passing)
            self._seconds_per_prompt = (time.monotonic() - started) / len(batch)
            yield from zip(batch, answers)

    def _batches(self, objects: Sequence[ObjectRequest]) -> Iterator[list[int]]:
        """Group objects that can share a pass: one step, no mask prompt, same tile, same number of points."""
        if self._decoder.device.type == "cpu":
            yield from ([index] for index in range(len(objects)))
            return
        groups: dict[object, list[int]] = {}
        for index, item in enumerate(objects):
            # A mask prompt has image keys of its own, which _BYTES_PER_PROMPT does not count.
            is_alone = len(item.steps) > 1 or item.steps[0].mask_polygons is not None
            alone = index if is_alone else None
            shape = len(prompt_after(item.steps).labels)
            groups.setdefault((item.tile, shape, alone), []).append(index)
        for group in groups.values():
            while group:
                size = BATCH_BYTES // _BYTES_PER_PROMPT
                if self._seconds_per_prompt > 0:
                    size = min(size, max(1, int(BATCH_SECONDS / self._seconds_per_prompt)))
                yield group[:size]
                group = group[size:]

    def _decode_batch(self, batch: Sequence[ObjectRequest], is_passing: bool) -> list[Candidates]:
        if len(batch) == 1:
            return [self._replay(batch[0], is_passing)]
        prompts = [prompt_after(item.steps) for item in batch]
        return self._pass(batch[0].tile, prompts, mask_prompt=None)

    def _replay(self, item: ObjectRequest, is_passing: bool) -> Candidates:
        """Return what the last step of an object gives; steps that are remembered are not decoded again."""
        steps, content = item.steps, item.tile.content
        found, known = None, len(steps)
        while known > 0 and found is None:
            found = self.candidates.get(content, steps[:known], is_passing)
            known -= found is None
        for count in range(known + 1, len(steps) + 1):
            step, mask_prompt = steps[count - 1], None
            if step.mask_polygons is not None:
                mask_prompt = self._drawn_mask(step.mask_polygons, item.tile.window)
            elif found is not None and step.use_previous:
                mask_prompt = found.logits[choose(found, steps[count - 2])]
            decoded = self._pass(item.tile, [prompt_after(steps[:count])], mask_prompt)[0]
            found = self.candidates.put(content, steps[:count], decoded, is_passing)
        return found

    def _drawn_mask(self, polygons: Outlines, window: TileWindow) -> Tensor:
        points = to_window(polygons.points_xy, window)
        in_window = Outlines(points, polygons.ring_offsets, polygons.polygon_offsets)
        return torch.from_numpy(mask_logits(in_window, self.grid(window)))

    def _pass(
        self, tile: TileReference, prompts: Sequence[Prompt], mask_prompt: Tensor | None
    ) -> list[Candidates]:
        """Run the decoder once for prompts of the same length on one tile."""
        grid = self.grid(tile.window)
        coords = np.stack(
            [model_coordinates(to_window(prompt.points_xy, tile.window), grid) for prompt in prompts]
        )
        device = self._decoder.device
        if mask_prompt is not None:
            mask_prompt = mask_prompt.clamp(-MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT)[None].to(device)
        raw = self._decoder.decode(
            self.prepare(tile),
            torch.from_numpy(coords).to(device, torch.float32),
            torch.from_numpy(np.stack([prompt.labels for prompt in prompts])).to(device),
            mask_prompt,
        )
        settings = self._decoder.settings
        answers = [
            multimask(raw, index) if prompt.is_lone_click else single_mask(raw, index, settings)
            for index, prompt in enumerate(prompts)
        ]
        return [Candidates(answer.logits.cpu(), answer.predicted_iou.cpu()) for answer in answers]

    def grid(self, window: TileWindow) -> LogitGrid:
        """Return how a window maps to the logits of this store's model."""
        settings = self._decoder.settings
        low_res = 4 * settings.image_size // settings.backbone_stride
        return LogitGrid(window.width, window.height, settings.image_size, low_res)


def choose(candidates: Candidates, step: PromptStep) -> int:
    """Return the index of the candidate that a step goes on with.

    Raises:
        PromptError: The step names one that is not there.
    """
    if step.mask is None:
        return candidates.best
    if step.mask >= len(candidates.logits):
        raise PromptError(
            f"A step goes on with mask {step.mask}, but its prompt gives {len(candidates.logits)}.",
            "Only a first lone click gives three masks.",
        )
    return step.mask


def to_window(points_xy: np.ndarray, window: TileWindow) -> np.ndarray:
    """Convert (…, 2) grid pixels into pixels of a window."""
    return (points_xy - (window.xoff, window.yoff)) / window.pixel_size


def to_grid(points_xy: np.ndarray, window: TileWindow) -> np.ndarray:
    """Convert (…, 2) pixels of a window into grid pixels."""
    return points_xy * window.pixel_size + (window.xoff, window.yoff)

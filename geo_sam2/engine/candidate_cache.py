# SPDX-License-Identifier: GPL-3.0-or-later
"""What the decoder found before, to be outlined in another way or refined without decoding it again.

Candidates depend on the tile, the steps and the masks chosen on the way, but neither on the mask
chosen of themselves nor on how they are outlined, so one entry serves all of these. It is a cache
and nothing more: what is not in it is decoded again, and comes out the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from geo_sam2.engine.byte_cache import ByteCache
from geo_sam2.engine.mask_choice import Candidates
from geo_sam2.engine.prompt_steps import PromptStep, steps_key

# A lone click's three masks take 768 kB, those of later steps 256 kB: an object of 200 prompts.
KEPT_BYTES = 64 * 2**20
# A hand that moves leaves some 30 previews a second behind, a batch thousands of objects; nobody
# comes back to them but for the click on the last preview.
PASSING_BYTES = 8 * 2**20


class CandidateCache:
    """Candidates by tile and steps, bounded in bytes; the steps of a click outlive passing previews.

    Args:
        kept_bytes: Bound for what a person may come back to.
        passing_bytes: Bound for the rest.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES, passing_bytes: int = PASSING_BYTES) -> None:
        self._kept: ByteCache[Candidates] = ByteCache(kept_bytes, _bytes_of)
        self._passing: ByteCache[Candidates] = ByteCache(passing_bytes, _bytes_of)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._kept.nbytes + self._passing.nbytes

    def get(self, tile: Hashable, steps: Sequence[PromptStep], is_passing: bool) -> Candidates | None:
        """Return what some steps on a tile gave, whichever mask their last one goes on with, or None.

        Args:
            tile: What names the tile and its content.
            steps: First to last.
            is_passing: The request is one that nobody comes back to; what it finds is not kept longer for it.
        """
        key = _key(tile, steps)
        found = self._kept.get(key)
        if found is not None:
            return found
        found = self._passing.get(key)
        if found is not None and not is_passing:
            self._passing.discard(lambda known: known == key)
            self._kept.put(key, found)
        return found

    def put(
        self, tile: Hashable, steps: Sequence[PromptStep], found: Candidates, is_passing: bool
    ) -> Candidates:
        """Remember what some steps on a tile gave, and return it as it is remembered.

        That is a copy without the masks that came out of the same pass and were not wanted.
        """
        copy = Candidates(found.logits.clone(), found.predicted_iou.clone())
        (self._passing if is_passing else self._kept).put(_key(tile, steps), copy)
        return copy


def _key(tile: Hashable, steps: Sequence[PromptStep]) -> tuple[Hashable, str]:
    return tile, steps_key([*steps[:-1], replace(steps[-1], mask=None)])


def _bytes_of(candidates: Candidates) -> int:
    return candidates.logits.untyped_storage().nbytes() + candidates.predicted_iou.untyped_storage().nbytes()

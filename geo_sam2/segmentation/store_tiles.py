# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiles of a store as prompts need them: which can be decoded on, and why others cannot.

A copy of the index at the start of a run; ignorant of QGIS and of the engine.
"""

from __future__ import annotations

from geo_sam2.engine.ring_clip import bounds_within
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.segmentation.prompts import Box, Click
from geo_sam2.segmentation.skipped_prompts import Skipped
from geo_sam2.segmentation.tile_choice import EncodedTiles, box_shares
from geo_sam2.tile_window import TileWindow

_REASONS = (
    (TileState.FAILED, Skipped.FAILED_TILE),
    (TileState.PENDING, Skipped.NOT_ENCODED),
    (TileState.EMPTY, Skipped.EMPTY_TILE),
)


class StoreTiles:
    """Tiles of level 0.

    Args:
        store: The open store.

    Attributes:
        records: What the index says of the tiles that can be decoded on.
        encoded: Their windows, to be searched by place.

    Raises:
        StoreError: The index cannot be read.
    """

    def __init__(self, store: FeatureStore) -> None:
        grid = store.manifest.source.grid
        self._width, self._height = grid.width, grid.height
        records = [record for record in store.index.records() if record.window.level == 0]
        self.records: dict[TileWindow, TileRecord] = {
            record.window: record for record in records if record.state is TileState.DONE
        }
        self.encoded = EncodedTiles(self.records)
        self._others = [
            (EncodedTiles(record.window for record in records if record.state is state), reason)
            for state, reason in _REASONS
        ]
        self._store = store
        self._damaged: set[TileWindow] = set()

    def why_not(self, prompt: Click | Box) -> Skipped:
        """Return why a prompt that lies in no encoded tile does not."""
        for tiles, reason in self._others:
            found = (
                tiles.containing(prompt.x_px, prompt.y_px)
                if isinstance(prompt, Click)
                else box_shares(prompt, tiles.meeting(prompt.bounds_px))
            )
            if found:
                return reason
        return Skipped.NOT_ENCODED if self._is_on_grid(prompt) else Skipped.OUTSIDE

    def note_damage(self, window: TileWindow) -> bool:
        """Mark a tile as damaged, so that the next encode makes it again; says whether that is news."""
        if window in self._damaged:
            return False
        self._damaged.add(window)
        self._store.mark_failed(self.records[window])
        return True

    def _is_on_grid(self, prompt: Click | Box) -> bool:
        if isinstance(prompt, Click):
            return 0 <= prompt.x_px <= self._width and 0 <= prompt.y_px <= self._height
        if prompt.polygons is not None:
            return bounds_within(prompt.polygons, (0.0, 0.0, self._width, self._height)) is not None
        x_min, y_min, x_max, y_max = prompt.bounds_px
        return x_min < self._width and y_min < self._height and x_max > 0 and y_max > 0

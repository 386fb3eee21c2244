# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a grid's tiles as an array, and which tile a window is.

Knows neither the canvas nor the store: it can be filled on any thread.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import numpy as np

from geo_sam2.encoder.tiling import WINDOW_PX, Tiling
from geo_sam2.tile_window import TileWindow


class ShownState(str, enum.Enum):
    """What is shown of a tile: the states of the store's index, and two that are in no index.

    Attributes:
        NONE: Not asked for.
        PENDING: Asked for.
        DONE: Encoded.
        EMPTY: Without a valid pixel.
        FAILED: Could not be encoded.
        ENCODING: In work.
    """

    NONE = "none"
    PENDING = "pending"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"
    ENCODING = "encoding"


STATES = tuple(ShownState)
_CODES = {state: code for code, state in enumerate(STATES)}


def code_of(state: str) -> int:
    """Return the number that stands for a state in the array.

    Args:
        state: A ``ShownState``, a ``TileState`` of the store's index, or the value of one.

    Raises:
        ValueError: It is none of them.
    """
    return _CODES[ShownState(state)]


def no_states(tiling: Tiling) -> np.ndarray:
    """Return the states of a grid of which nothing is known: (rows, columns) uint8."""
    return np.zeros((tiling.rows, tiling.columns), dtype=np.uint8)


def place_of(window: TileWindow, tiling: Tiling) -> tuple[int, int] | None:
    """Return (row, column) of a window among the tiles; None for windows off the grid of tiles."""
    # The last column and row are shifted inward, so that they do not begin at a multiple.
    column, row = -(-window.xoff // WINDOW_PX), -(-window.yoff // WINDOW_PX)
    if not (0 <= column < tiling.columns and 0 <= row < tiling.rows):
        return None
    return (row, column) if tiling.window(column, row) == window else None


def state_array(tiling: Tiling, states: Iterable[tuple[TileWindow, str]]) -> np.ndarray:
    """Return the states of a grid, (rows, columns) uint8 of ``code_of``; other windows are left out."""
    found = no_states(tiling)
    for window, state in states:
        place = place_of(window, tiling)
        if place is not None:
            found[place] = code_of(state)
    return found

# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of a store: which window is in which state and in which file.

Readers come here, from any thread; each call opens the file for a moment, so that it sees
what a writer has added meanwhile. Rows may have been edited in QGIS and are not trusted.
Writing is ``store_writer``'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from geo_sam2.errors import GeoSam2Error
from geo_sam2.grid import PixelGrid
from geo_sam2.store_geopackage import footprint_blob
from geo_sam2.store_manifest import TileFileName
from geo_sam2.store_sqlite import reading
from geo_sam2.tile_window import TileWindow, read_tile_window

# Said by an index that was rebuilt from tiles: which windows were asked for is not known then.
REBUILT = "Rebuilt from the tiles; windows that were never encoded may be missing."

_SELECT_ALL = (
    "SELECT level, xoff, yoff, width, height, state, file, bytes, crc32, seconds, encoded_at"
    " FROM tiles ORDER BY level, yoff, xoff"
)
_SELECT_ONE = (
    "SELECT level, xoff, yoff, width, height, state, file, bytes, crc32, seconds, encoded_at FROM tiles"
    " WHERE level = ? AND xoff = ? AND yoff = ? AND width = ? AND height = ?"
)
_PUT = (
    "INSERT INTO tiles"
    " (geom, level, xoff, yoff, width, height, state, file, bytes, crc32, seconds, encoded_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (level, xoff, yoff, width, height) DO UPDATE SET"
    " state = excluded.state, file = excluded.file, bytes = excluded.bytes, crc32 = excluded.crc32,"
    " seconds = excluded.seconds, encoded_at = excluded.encoded_at"
)
_MARK = (
    "UPDATE tiles SET state = 'failed' WHERE level = ? AND xoff = ? AND yoff = ? AND width = ? AND height = ?"
    " AND file = ? AND state = 'done'"
)
_TOUCH = (
    "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ','now') WHERE table_name = 'tiles'"
)
_DESCRIPTION = "SELECT description FROM gpkg_contents WHERE table_name = 'tiles'"


class TileState(str, Enum):
    """What is known of a window.

    Attributes:
        PENDING: Asked for, not encoded yet.
        DONE: Encoded; the tile file is whole.
        EMPTY: It has no valid pixel and needs no tile.
        FAILED: It could not be encoded, or its tile is damaged; the next encode tries again.
    """

    PENDING = "pending"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True)
class TileRecord:
    """A row of the index.

    Attributes:
        window: What the tile covers.
        state: What is known of it.
        file: Its path in the store; empty without one.
        bytes: Length of the file.
        crc32: Checksum of the file.
        seconds: What encoding took.
        encoded_at: When, UTC, as ``2026-11-22T17:20:00.000Z``; empty when it was not encoded.
    """

    window: TileWindow
    state: TileState
    file: str = ""
    bytes: int = 0
    crc32: int = 0
    seconds: float = 0.0
    encoded_at: str = ""


class TileIndex:
    """The index of a store, for reading.

    Args:
        path: The GeoPackage. Each method raises DamagedIndexError when it is missing or
            damaged, StoreLockedError when another program keeps it locked, and StoreError when
            it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        with reading(self.path) as connection:
            return int(connection.execute("SELECT count(*) FROM tiles").fetchone()[0])

    def counts(self) -> dict[TileState, int]:
        """Count the windows by state; every state is a key."""
        counts = dict.fromkeys(TileState, 0)
        with reading(self.path) as connection:
            for state, count in connection.execute("SELECT state, count(*) FROM tiles GROUP BY state"):
                counts[_state(state)] += count
        return counts

    def records(self, states: Iterable[TileState] | None = None) -> list[TileRecord]:
        """Return the rows, by level, then row by row of the raster; those of some states, or all."""
        wanted = None if states is None else set(states)
        with reading(self.path) as connection:
            rows = connection.execute(_SELECT_ALL).fetchall()
        records = (_record(row) for row in rows)
        return [record for record in records if record and (wanted is None or record.state in wanted)]

    def get(self, window: TileWindow) -> TileRecord | None:
        """Return the row of a window, or None when it was never asked for."""
        found = self.get_all([window])
        return found[0] if found else None

    def get_all(self, windows: Iterable[TileWindow]) -> list[TileRecord]:
        """Return the rows of those windows that have one, in the order given."""
        with reading(self.path) as connection:
            rows = [connection.execute(_SELECT_ONE, _place(window)).fetchone() for window in windows]
        return [record for record in map(_record, filter(None, rows)) if record]

    @property
    def is_rebuilt(self) -> bool:
        """Whether it was rebuilt from tiles since the last encode ended, and may lack windows."""
        with reading(self.path) as connection:
            row = connection.execute(_DESCRIPTION).fetchone()
        return row is not None and row[0] == REBUILT


def put_records(connection: sqlite3.Connection, grid: PixelGrid, records: Iterable[TileRecord]) -> None:
    """Add rows or change those of the same windows, inside a transaction of the caller."""
    connection.executemany(
        _PUT,
        (
            (
                footprint_blob(grid, record.window),
                *_place(record.window),
                record.state.value,
                record.file,
                record.bytes,
                record.crc32,
                record.seconds,
                record.encoded_at or None,
            )
            for record in records
        ),
    )
    connection.execute(_TOUCH)


def mark_failed(connection: sqlite3.Connection, record: TileRecord) -> bool:
    """Mark a damaged tile, inside a transaction; False when its row has another file by now."""
    changed = connection.execute(_MARK, (*_place(record.window), record.file))
    return changed.rowcount > 0


def describe(connection: sqlite3.Connection, description: str) -> None:
    """Set what the layer says of itself, inside a transaction of the caller."""
    connection.execute("UPDATE gpkg_contents SET description = ? WHERE table_name = 'tiles'", (description,))


def _place(window: TileWindow) -> tuple[int, int, int, int, int]:
    return window.level, window.xoff, window.yoff, window.width, window.height


def _state(value: object) -> TileState:
    """Read a state; one that is none makes the window one to encode again."""
    try:
        return TileState(value)
    except ValueError:
        return TileState.FAILED


def _record(row: tuple[Any, ...]) -> TileRecord | None:
    """Read a row; None when it names no window, ``FAILED`` without file when it names no tile of ours."""
    try:
        window = read_tile_window(dict(zip(("level", "xoff", "yoff", "width", "height"), row[:5])))
    except GeoSam2Error:
        return None
    state, (file, size, crc32, seconds, encoded_at) = _state(row[5]), row[6:]
    name = TileFileName.parse(file) if isinstance(file, str) else None
    is_ours = name is not None and name.place == (window.level, window.xoff, window.yoff)
    if not is_ours or not _is_count(size) or not _is_count(crc32):
        file, size, crc32 = "", 0, 0
        state = TileState.FAILED if state is TileState.DONE else state
    return TileRecord(
        window,
        state,
        file,
        size,
        crc32,
        float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        encoded_at if isinstance(encoded_at, str) else "",
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0

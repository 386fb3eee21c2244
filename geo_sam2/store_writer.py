# SPDX-License-Identifier: GPL-3.0-or-later
"""The one writer of a store: which windows are wanted, which are done.

Owns the order in which files and rows change, so that whatever is killed at any instant
leaves a store that goes on: a tile's row is ``done`` only after its file is whole, an old
tile's file goes only after its row has gone. Tiles themselves are written by the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from geo_sam2.errors import DamagedIndexError, StoreError, StoreLockedError
from geo_sam2.store_aside import remove_replaced
from geo_sam2.store_files import (
    list_tile_files,
    record_of,
    records_from_tiles,
    remove_tile_file,
    remove_unfinished,
    write_index,
)
from geo_sam2.store_index import REBUILT, TileIndex, TileRecord, TileState, describe, put_records
from geo_sam2.store_lock import WriterLock
from geo_sam2.store_manifest import (
    INDEX_NAME,
    MANIFEST_NAME,
    StoreManifest,
    TileFileName,
    inside,
    no_store,
    tile_path,
)
from geo_sam2.store_sqlite import BUSY_TIMEOUT_S, use_rollback_journal, writing
from geo_sam2.tile_window import TileWindow

# Rows that cannot be written while somebody edits the index in QGIS wait; at the end for this long.
_PATIENCE_AT_END_S = 60.0
_SETTLED = (TileState.DONE, TileState.EMPTY)


class StoreWriter:
    """Writes the index of one store; a context manager that holds the writer's lock.

    Left without an exception and with nothing to do, it removes the store that this one
    replaced (``store_opening``). Methods may be called from any thread.

    Args:
        folder: The store.
        manifest: Its manifest.
    """

    def __init__(self, folder: Path, manifest: StoreManifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._path = folder / INDEX_NAME
        self._lock = WriterLock(folder)
        self._mutex = threading.RLock()
        self._records: dict[TileWindow, TileRecord] = {}
        self._generations: dict[tuple[int, int, int], int] = {}
        self._unwritten: dict[TileWindow, TileRecord] = {}
        self._to_remove: set[str] = set()

    def __enter__(self) -> StoreWriter:
        """Take the lock and put in order what an earlier writer left.

        Raises:
            StoreLockedError: Another process writes to the store.
            StoreError: The folder cannot be written.
        """
        self._lock.take()
        try:
            remove_unfinished(self._folder)
            self._read_index()
            self._settle_files()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with self._mutex:
                try:
                    self._flush(_PATIENCE_AT_END_S)
                except StoreError:
                    # Their files are whole: the next writer finds them. An error on its way says more.
                    if kind is None:
                        raise
                self._remove_old_files()
                use_rollback_journal(self._path)
                if kind is None and self.is_complete:
                    remove_replaced(self._folder)
        finally:
            self._lock.release()

    @property
    def is_complete(self) -> bool:
        """Whether every window that was ever asked for is done or empty."""
        with self._mutex:
            return bool(self._records) and all(record.state in _SETTLED for record in self._records.values())

    def counts(self) -> dict[TileState, int]:
        """Count the windows of the store by state; every state is a key."""
        counts = dict.fromkeys(TileState, 0)
        with self._mutex:
            for record in self._records.values():
                counts[record.state] += 1
        return counts

    def settled(self, window: TileWindow) -> TileRecord | None:
        """Return the row of a window that is done or empty; None where it is still to be encoded."""
        with self._mutex:
            record = self._records.get(window)
            return record if record is not None and record.state in _SETTLED else None

    def add_pending(self, windows: Iterable[TileWindow]) -> list[TileWindow]:
        """Ask for windows; those that failed before are tried again.

        Returns:
            Those of the windows that are to be encoded now, in the order given, each once: all
            but the ones that are done or empty already.

        Raises:
            StoreError: The index cannot be written.
        """
        with self._mutex:
            missing = [
                self._records.get(window, TileRecord(window, TileState.PENDING))
                for window in dict.fromkeys(windows)
            ]
            missing = [record for record in missing if record.state not in _SETTLED]
            asked = [replace(record, state=TileState.PENDING) for record in missing]
            self._change(record for record in asked if self._records.get(record.window) != record)
            self._flush(BUSY_TIMEOUT_S, is_rebuilt=False)
            return [record.window for record in asked]

    def next_generation(self, window: TileWindow) -> int:
        """Return the number for a new tile file of a window; each call gives another one."""
        with self._mutex:
            place = (window.level, window.xoff, window.yoff)
            self._generations[place] = self._generations.get(place, 0) + 1
            return self._generations[place]

    def record(self, records: Iterable[TileRecord]) -> None:
        """Put rows into the index, all in one transaction, and remove files that they replace.

        While somebody saves edits of the index, rows wait for the next call, and at the end for
        a minute; what is not written then is found again by its files.

        Args:
            records: Rows; those that are ``done`` name a whole file of this store.

        Raises:
            StoreError: A file is missing or has another length, or the index cannot be written.
        """
        records = list(records)
        for record in records:
            self._refuse_absent_file(record)
        with self._mutex:
            self._lock.touch()
            for record in records:
                old = self._records.get(record.window)
                if old is not None and old.file and old.file != record.file:
                    self._to_remove.add(old.file)
            self._change(records)
            try:
                self._flush(BUSY_TIMEOUT_S)
            except StoreLockedError:
                return
            self._remove_old_files()

    def _refuse_absent_file(self, record: TileRecord) -> None:
        if record.state is not TileState.DONE:
            return
        path = tile_path(self._folder, record.file)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StoreError(f"The tile {path} is not there: {error.strerror or error}.") from error
        if size != record.bytes:
            raise StoreError(f"The tile {path} has {size} bytes where {record.bytes} belong.")

    def _change(self, records: Iterable[TileRecord]) -> None:
        for record in records:
            self._records[record.window] = self._unwritten[record.window] = record

    def _flush(self, timeout_s: float, is_rebuilt: bool | None = None) -> None:
        """Write what waits; an index that vanished meanwhile is written anew from memory."""
        if not self._unwritten and is_rebuilt is None:
            return
        try:
            with writing(self._path, timeout_s) as connection:
                put_records(connection, self._manifest.source.grid, self._unwritten.values())
                if is_rebuilt is not None:
                    describe(connection, REBUILT if is_rebuilt else "")
        except DamagedIndexError:
            if not (self._folder / MANIFEST_NAME).is_file():
                raise no_store(self._folder) from None
            write_index(self._path, self._manifest, self._records.values())
        self._unwritten.clear()

    def _read_index(self) -> None:
        """Read the rows; an index that is lost or damaged is rebuilt from the tiles."""
        inside(self._folder, INDEX_NAME)
        use_rollback_journal(self._path)
        index = TileIndex(self._path)
        try:
            records = index.records()
        except DamagedIndexError:
            records = records_from_tiles(self._folder, self._manifest)
            write_index(self._path, self._manifest, records, REBUILT)
        self._records = {record.window: record for record in records}

    def _settle_files(self) -> None:
        """Bring rows and files together: adopt tiles that lack a row, drop rows that lack their tile."""
        files = {tile.file: tile for tile in list_tile_files(self._folder)}
        changed: dict[TileWindow, TileRecord] = {}
        for record in self._records.values():
            tile = files.get(record.file)
            if record.state is TileState.DONE and (tile is None or tile.bytes != record.bytes):
                changed[record.window] = replace(record, state=TileState.FAILED)
        self._change(changed.values())
        referenced = {record.file for record in self._records.values()}
        for tile in files.values():  # oldest generations first
            place = tile.name.place
            self._generations[place] = max(self._generations.get(place, 0), tile.name.generation)
            found = None if tile.file in referenced else record_of(self._folder, self._manifest, tile)
            if found is None:
                continue
            row = self._records.get(found.window)
            old = TileFileName.parse(row.file) if row is not None else None
            if row is None or (row.state not in _SETTLED and _is_newer(tile.name, old)):
                self._change([found])
                self._to_remove.update({row.file} - {""} if row is not None else ())
            else:
                self._to_remove.add(tile.file)
        for record in self._records.values():
            name = TileFileName.parse(record.file)
            if name is not None:
                self._generations[name.place] = max(self._generations.get(name.place, 0), name.generation)
        self._flush(BUSY_TIMEOUT_S)
        self._remove_old_files()

    def _remove_old_files(self) -> None:
        """Remove files whose rows have gone on; one that is held stays for the next time."""
        if self._unwritten:
            return
        self._to_remove = {file for file in self._to_remove if not remove_tile_file(self._folder, file)}


def _is_newer(name: TileFileName, old: TileFileName | None) -> bool:
    return old is None or name.generation > old.generation

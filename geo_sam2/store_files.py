# SPDX-License-Identifier: GPL-3.0-or-later
"""What tile files a store has, and the index that follows from them.

Tile files say for themselves which store and window they belong to, so that an index that is
lost or damaged is made again from their headers. Ignorant of who holds the writer's lock.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from geo_sam2.atomic_file import UNFINISHED_NAME, unfinished_path
from geo_sam2.errors import StoreError
from geo_sam2.held_files import patiently
from geo_sam2.store_geopackage import create_index_file
from geo_sam2.store_index import REBUILT, TileRecord, TileState, put_records
from geo_sam2.store_manifest import TILES_NAME, StoreManifest, TileFileName, inside
from geo_sam2.store_sqlite import remove_index, writing
from geo_sam2.tile_file import read_tile_header

_DAMAGED_SUFFIX = ".damaged"
# A writer at work waits meanwhile.
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class TileFile:
    """A file that has the name of a tile.

    Attributes:
        file: Its path in the store, with ``/``.
        name: What the path says.
        bytes: Its length.
    """

    file: str
    name: TileFileName
    bytes: int


def list_tile_files(folder: Path) -> list[TileFile]:
    """Return what has the name of a tile, in the order of generations; links are not followed.

    Raises:
        StoreError: The folder cannot be read, or leads out of the store.
    """
    found = []
    for file, entry in _entries(folder):
        name = TileFileName.parse(file)
        if name is not None and not entry.is_dir(follow_symlinks=False):
            found.append(TileFile(file, name, entry.stat(follow_symlinks=False).st_size))
    return sorted(found, key=lambda tile: tile.name.generation)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers have not finished; only for who holds the writer's lock."""
    for _, entry in _entries(folder):
        if UNFINISHED_NAME.fullmatch(entry.name):
            remove_file(Path(entry.path))
    for path in folder.glob("*.tmp*"):
        if UNFINISHED_NAME.match(path.name):
            remove_file(path)


def remove_tile_file(folder: Path, file: str) -> bool:
    """Remove a tile file, or the link that has its name; False when it is held for longer than one waits.

    Raises:
        StoreError: Its folder leads out of the store.
    """
    path = folder / file
    return remove_file(inside(folder, path.parent.relative_to(folder).as_posix()) / path.name)


def remove_file(path: Path) -> bool:
    """Remove a file that a virus scanner may hold for a moment; False when it is held for longer."""
    try:
        patiently(path.unlink, _PATIENCE_S)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def record_of(folder: Path, manifest: StoreManifest, tile: TileFile) -> TileRecord | None:
    """Return the row of a tile file, from its header; None when it is no whole tile of this store."""
    try:
        header = read_tile_header(inside(folder, tile.file))
    except StoreError:  # damaged, or a link out of the store
        return None
    window = header.window
    is_ours = header.store == manifest.uuid and tile.name.place == (window.level, window.xoff, window.yoff)
    if not is_ours or dict(header.shapes) != manifest.model.feature_shapes.to_json():
        return None
    modified = time.gmtime((folder / tile.file).stat().st_mtime)
    return TileRecord(
        window,
        TileState.DONE,
        tile.file,
        header.file_bytes,
        header.file_crc32,
        encoded_at=time.strftime("%Y-%m-%dT%H:%M:%S.000Z", modified),
    )


def records_from_tiles(folder: Path, manifest: StoreManifest) -> list[TileRecord]:
    """Return the rows that follow from the tile files: for each window its newest whole tile."""
    records = {}
    for tile in list_tile_files(folder):
        record = record_of(folder, manifest, tile)
        if record is not None:
            records[record.window] = record
    return list(records.values())


def write_index(
    path: Path, manifest: StoreManifest, records: Iterable[TileRecord], description: str = ""
) -> None:
    """Write an index anew, whole or not at all; one that is there is kept aside as damaged.

    Raises:
        StoreError: It cannot be written.
    """
    temporary = unfinished_path(path)
    try:
        remove_index(temporary)
        create_index_file(temporary, manifest.source.grid, description)
        with writing(temporary) as connection:
            put_records(connection, manifest.source.grid, records)
        if path.exists():
            aside = path.with_name(f"{path.stem}{_DAMAGED_SUFFIX}{path.suffix}")
            patiently(lambda: path.replace(aside), _PATIENCE_S)
        # Before the new file gets the name: a journal of the old one would be played into it.
        remove_index(path)
        patiently(lambda: temporary.replace(path), _PATIENCE_S)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            remove_index(temporary)
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(
            f"{path} cannot be written: {reason}.", "Check free space, permissions and other programs."
        ) from error


def rebuild_index(folder: Path, manifest: StoreManifest, path: Path) -> None:
    """Make the index from the tiles; windows that were only asked for, or are empty, are not in it.

    Args:
        folder: The store.
        manifest: Its manifest.
        path: Where to write the index: in the store, or elsewhere if that cannot be written.

    Raises:
        StoreError: It cannot be written, or the tiles cannot be listed.
    """
    write_index(path, manifest, records_from_tiles(folder, manifest), REBUILT)


def _entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Return what lies in the folders of tiles, with its path in the store; links are not followed."""
    tiles = inside(folder, TILES_NAME)
    try:
        with os.scandir(tiles) as levels:
            names = sorted(level.name for level in levels if level.is_dir(follow_symlinks=False))
        for name in names:
            with os.scandir(tiles / name) as entries:
                for entry in entries:
                    yield f"{TILES_NAME}/{name}/{entry.name}", entry
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{tiles} cannot be read: {error.strerror or error}.") from error

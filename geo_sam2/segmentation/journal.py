# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted objects that are not yet committed, written down so that a crash of QGIS loses none.

One file a process and layer in ``<home>/journal``: a line that says whose it is, then a line for
every object that was accepted, lost by undo, or brought back. Each line is with the system before
the next thing happens, and on the disk some milliseconds later. The file goes when the edits are
committed or discarded; what a dead process left is offered again. Standard library only: ignorant
of layers and of what a geometry means.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from geo_sam2.errors import JournalError, StoreError
from geo_sam2.json_record import JsonRecord
from geo_sam2.segmentation.late_flush import LateFlush
from geo_sam2.store_lock import LockHolder

FOLDER, SUFFIX = "journal", ".jsonl"
_VERSION = 1
# Far above what the outline of any object takes; a file that is larger is none of ours.
_MAX_FILE_BYTES = 1 << 30
_SAVED, _LOST, _BACK, _RELEASED = "saved", "lost", "back", "released"


@dataclass(frozen=True)
class JournaledLayer(JsonRecord):
    """The layer that objects were accepted into.

    Attributes:
        layer_id: In its project.
        name: As shown.
        source: What its provider opens; a layer in memory has none that outlives its process.
        provider: Key of the provider.
    """

    layer_id: str
    name: str
    source: str
    provider: str


@dataclass(frozen=True)
class JournaledObject(JsonRecord):
    """An accepted object.

    Attributes:
        number: Of the object in its layer and process, growing.
        geometry_wkb: Hexadecimal, in the CRS of the layer.
        crs_wkt: Of the geometry; empty where nobody knows.
        crs_authid: The same as a name, such as ``EPSG:32612``; may be empty.
        class_name: Empty for none.
        score: Predicted IoU.
        stability: How little the mask changes with the threshold.
        model: Id of the model.
        store_id: UUID of the feature store.
        tile_ids: The tiles that it was decoded on.
        prompts: As text.
        outline: Its settings as text.
        is_truncated: It may go on beyond what was looked at.
        created: ISO 8601, UTC.
        replaces: The feature in the layer's source that it takes the place of; empty, or one id.
        supersedes: The number of the accepted object that it takes the place of; empty, or one.
    """

    number: int
    geometry_wkb: str
    crs_wkt: str
    crs_authid: str
    class_name: str
    score: float
    stability: float
    model: str
    store_id: str
    tile_ids: tuple[str, ...]
    prompts: str
    outline: str
    is_truncated: bool
    created: str
    replaces: tuple[int, ...] = ()
    supersedes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        try:
            bytes.fromhex(self.geometry_wkb)
        except ValueError as error:
            raise JournalError("A journaled geometry is not hexadecimal.") from error


@dataclass(frozen=True)
class _Header(JsonRecord):
    """The first line of a file."""

    version: int
    holder: LockHolder = field(metadata={"record": LockHolder})
    layer: JournaledLayer = field(metadata={"record": JournaledLayer})


@dataclass(frozen=True)
class _Content:
    """What stands in a file: whose it is, the objects in effect, whether it was released."""

    header: _Header
    objects: tuple[JournaledObject, ...]
    is_released: bool
    last_number: int


@dataclass(frozen=True)
class PendingJournal:
    """What a process that is gone, or a layer that was removed, has left behind.

    Attributes:
        path: Of the file.
        layer: Where the objects were accepted into.
        since: When the file was begun, UTC.
        objects: That were in the edit buffer at the end, in the order of their acceptance; one that
            took the place of another stands for both.
    """

    path: Path
    layer: JournaledLayer
    since: str
    objects: tuple[JournaledObject, ...]


class Journal:
    """The file of one layer in this process; made when the first object comes. One thread at a time.

    Args:
        home: The user's data directory.
        layer: The layer.

    Attributes:
        path: Of the file; None while there is none.
        last_number: The greatest number of an object that stands in it; 0 without one.
    """

    def __init__(self, home: Path, layer: JournaledLayer) -> None:
        self._folder = home / FOLDER
        self._layer = layer
        self._file: FileIO | None = None
        self._flush: LateFlush | None = None
        self.path: Path | None = None
        self.last_number = 0

    def write_saved(self, item: JournaledObject) -> None:
        """Note an object that was accepted.

        Raises:
            JournalError: It cannot be written; so much as was written before is still good.
        """
        self._append({"op": _SAVED, "object": item.to_json()})
        self.last_number = max(self.last_number, item.number)

    def write_lost(self, number: int) -> None:
        """Note that an object is no longer in the edit buffer; errors as of ``write_saved``."""
        self._append({"op": _LOST, "number": number})

    def write_back(self, number: int) -> None:
        """Note that a lost object is in the edit buffer again; errors as of ``write_saved``."""
        self._append({"op": _BACK, "number": number})

    def drop(self) -> None:
        """Delete the file: what it holds was committed or discarded.

        Raises:
            JournalError: It cannot be deleted.
        """
        self.close()
        path, self.path = self.path, None
        self.last_number = 0
        if path is not None:
            _delete(path)

    def release(self) -> None:
        """Leave the file to be offered again, also while this process lives: the layer went with its edits.

        Raises:
            JournalError: It cannot be written.
        """
        if self.path is not None:
            self._append({"op": _RELEASED})
        self.close()
        self.path = None

    def close(self) -> None:
        """Close the file and leave it as it is."""
        stream, self._file = self._file, None
        flush, self._flush = self._flush, None
        if flush is not None:
            flush.close()
        if stream is not None:
            stream.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            if self._file is None or self._flush is None:
                self._file = self._opened()
                self._flush = LateFlush(self._file.fileno())
            # In front: a line that was cut short, by a full disk, must not swallow the next one.
            text = "\n" + json.dumps(line, ensure_ascii=True, separators=(",", ":"))
            content = text.encode("ascii")
            if self._file.write(content) != len(content):
                raise OSError("the disk is full")
            self._flush.want()
        except OSError as error:
            raise JournalError(
                f"Accepted objects cannot be journaled in {self._folder}: {error.strerror or error}.",
                "Save the layer's edits soon; after a crash they could not be brought back.",
            ) from error

    def _opened(self) -> FileIO:
        """Open this process's file of the layer, which a plugin that was reloaded may have left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.path is not None:
            return self.path.open("ab", buffering=0)
        holder = LockHolder.this_process()
        stem = f"{holder.pid}-{hashlib.sha256(self._layer.layer_id.encode()).hexdigest()[:16]}"
        for number in range(1, 10_000):
            path = self._folder / f"{stem}-{number}{SUFFIX}"
            # Another process may have had this number, and this layer, before.
            with contextlib.suppress(FileExistsError):
                stream = path.open("xb", buffering=0)
                header = _Header(_VERSION, holder, self._layer)
                stream.write(json.dumps(header.to_json()).encode("ascii"))
                self.path = path
                return stream
        raise OSError("too many journals")


def adopted(home: Path, layer: JournaledLayer) -> Journal:
    """Return the journal of a layer, going on with the file that this process has of it already.

    A plugin that is reloaded while the layer is edited finds its objects in the edit buffer still.
    """
    journal = Journal(home, layer)
    for path in _files(home):
        found = _read(path)
        if (
            found is not None
            and not found.is_released
            and _is_this_process(found.header.holder)
            and found.header.layer.layer_id == layer.layer_id
        ):
            journal.path = path
            journal.last_number = found.last_number
    return journal


def pending(home: Path) -> list[PendingJournal]:
    """Return what processes that are gone have left, and what was released; oldest first.

    Files of processes that live are left alone, and files without objects are cleared away.
    """
    result = []
    for path in _files(home):
        found = _read(path)
        if found is None:
            continue
        holder = found.header.holder
        if holder.is_alive and not found.is_released:
            continue
        if found.objects:
            result.append(PendingJournal(path, found.header.layer, holder.taken_at, found.objects))
        else:
            with contextlib.suppress(JournalError):
                _delete(path)
    return sorted(result, key=lambda item: (item.since, item.path.name))


def discard(journal: PendingJournal) -> None:
    """Delete what was offered: it was brought back, or is not wanted.

    Raises:
        JournalError: The file cannot be deleted.
    """
    _delete(journal.path)


def _is_this_process(holder: LockHolder) -> bool:
    own = LockHolder.this_process()
    return (holder.host, holder.pid, holder.process_start) == (own.host, own.pid, own.process_start)


def _files(home: Path) -> list[Path]:
    try:
        return sorted(path for path in (home / FOLDER).iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []


def _read(path: Path) -> _Content | None:
    """Read a file without trust; None for one of another kind or version, which is left alone."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return None
        lines = list(_lines(path.read_bytes()))
    except OSError:
        return None
    try:
        header = _Header.from_json(lines[0] if lines else None, "journal")
    except StoreError:
        return None
    if header.version != _VERSION:
        return None
    objects: dict[int, JournaledObject] = {}
    in_effect: set[int] = set()
    is_released = False
    for line in lines[1:]:
        operation = line.get("op")
        number = line.get("number")
        if operation == _SAVED:
            with contextlib.suppress(StoreError):
                item = JournaledObject.from_json(line.get("object"), "object")
                objects[item.number] = item
                in_effect.add(item.number)
        elif operation == _LOST and isinstance(number, int):
            in_effect.discard(number)
        elif operation == _BACK and isinstance(number, int) and number in objects:
            in_effect.add(number)
        elif operation == _RELEASED:
            is_released = True
    superseded = {number for one in in_effect for number in objects[one].supersedes}
    kept = tuple(objects[number] for number in sorted(in_effect - superseded))
    return _Content(header, kept, is_released, max(objects, default=0))


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records of a file; a line that was cut short is none."""
    for line in content.split(b"\n"):
        try:
            value = json.loads(line) if line else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be deleted: {error.strerror or error}.",
            "Delete it by hand, or its objects will be offered again.",
        ) from error

# SPDX-License-Identifier: GPL-3.0-or-later
"""How the index file is opened: for a moment, for each reading and each transaction anew.

QGIS may show the index and edit it meanwhile; for editing it switches the file to a
write-ahead log, and it can switch back only while nobody else has the file open. So nothing
is kept open here. Ignorant of what is in the tables.

The file must never be opened by other means than sqlite3 in this process: closing any
descriptor of a file drops all POSIX locks that the process holds on it.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from geo_sam2.errors import DamagedIndexError, StoreError, StoreLockedError

# QGIS holds the file for a fraction of a second while it saves edits.
BUSY_TIMEOUT_S = 15.0

# What interrupted writers leave beside the file: rollback journal, write-ahead log and its index.
SIDE_FILES = ("-journal", "-wal", "-shm")
_LOCKED = ("locked", "busy")
# SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL; Python 3.9 tells no error codes.
_MEDIUM = ("unable to open", "readonly", "disk i/o", "is full")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an index for reading; closed when left.

    Raises:
        DamagedIndexError: There is none, or it is no GeoPackage of ours.
        StoreLockedError: Another program holds it for longer than one waits.
        StoreError: It cannot be read.
    """
    with _translated(path), contextlib.ExitStack() as stack:
        yield _open_somehow(path, stack)


@contextlib.contextmanager
def writing(path: Path, timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
    """Open an index for one transaction, which is committed when left and undone by an exception.

    Args:
        path: The index; it must exist.
        timeout_s: How long to wait for other programs.

    Raises:
        DamagedIndexError: There is none, or it is no GeoPackage of ours.
        StoreLockedError: Another program holds it for longer than the timeout.
        StoreError: It cannot be written.
    """
    with _translated(path), _connected(path, "mode=rw", timeout_s) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                # What failed already is what is told.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")


def use_rollback_journal(path: Path) -> None:
    """Switch an index back that QGIS left with a write-ahead log, unless it is at work with it."""
    unless_in_use = contextlib.suppress(StoreError)
    with unless_in_use, _translated(path), _connected(path, "mode=rw", timeout_s=0) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchall()


def remove_index(path: Path) -> None:
    """Remove an index with what belongs to it; a journal left alone would be played into the next one."""
    for name in (path.name, *(path.name + suffix for suffix in SIDE_FILES)):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(name).unlink()


def can_write(folder: Path) -> bool:
    """Try whether files can be made in a folder; what permissions say is not all."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _open_somehow(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    """Open for reading in the first way that works; the stack closes what was opened."""
    try:
        return stack.enter_context(_probed(path, "mode=ro"))
    except sqlite3.OperationalError as error:
        if not _is_of_medium(error) or not path.exists():
            raise
    if can_write(path.parent):
        # A killed writer left a journal, and rolling it back is writing.
        return stack.enter_context(_probed(path, "mode=rw"))
    if any(_has_content(path.with_name(path.name + suffix)) for suffix in SIDE_FILES[:2]):
        return stack.enter_context(_probed(_copied(path, stack), "mode=rw"))
    return stack.enter_context(_probed(path, "mode=ro&immutable=1"))


@contextlib.contextmanager
def _probed(path: Path, options: str) -> Iterator[sqlite3.Connection]:
    """Connect for reading, and read: sqlite3 opens the file, and finds journals, no sooner than that."""
    with _connected(path, options, BUSY_TIMEOUT_S) as connection:
        connection.execute("PRAGMA query_only=1")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield connection


@contextlib.contextmanager
def _connected(path: Path, options: str, timeout_s: float) -> Iterator[sqlite3.Connection]:
    name = path.as_posix()
    # Two more slashes for a name without a drive's letter, four in all for one of a server.
    uri = f"file://{'' if name.startswith('/') else '/'}{quote(name)}?{options}"
    connection = sqlite3.connect(uri, timeout=timeout_s, isolation_level=None, uri=True)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn errors of sqlite3 into sentences."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(word in str(error).lower() for word in _LOCKED):
            raise StoreLockedError(
                f"{path} is locked by another program.", "Save or leave the edits there and try again."
            ) from error
        if _is_of_medium(error) and path.exists():
            raise StoreError(
                f"{path} cannot be used: {error}.", "Check free space, permissions and other programs."
            ) from error
        raise _damaged(path) from error
    except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> DamagedIndexError:
    what = "damaged" if path.exists() else "missing"
    return DamagedIndexError(f"The index {path} is {what}.", "Encode again: it is rebuilt from the tiles.")


def _copied(path: Path, stack: contextlib.ExitStack) -> Path:
    """Copy an index with its journal to where the journal can be played back."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="geo_sam2_index_")))
    for name in (path.name, *(path.name + suffix for suffix in SIDE_FILES[:2])):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(name), folder / name)
    return folder / path.name


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _is_of_medium(error: sqlite3.Error) -> bool:
    return any(word in str(error).lower() for word in _MEDIUM)

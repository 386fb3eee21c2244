# SPDX-License-Identifier: GPL-3.0-or-later
"""A store on a medium that cannot be written opens, lists and says why it cannot be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from store_maker import MODEL, SOURCE, check_whole_tiles, encode

from geo_sam2.errors import StoreError
from geo_sam2.feature_store import FeatureStore, TileState
from geo_sam2.store_sqlite import can_write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are POSIX's")
_NOBODY = 65534


@pytest.fixture
def store():
    """A whole store in a folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="geo_sam2_read_only_"))
    folder.chmod(0o755)
    store = FeatureStore.create(folder / "lake.tiny.geosam2", MODEL, SOURCE)
    encode(store)
    yield store
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@contextlib.contextmanager
def read_only(store):
    """Take the right to write away, also from root."""
    for path in [store.folder, *store.folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        assert not can_write(store.folder)
        yield FeatureStore.open(store.folder)
    finally:
        if is_root:
            os.seteuid(0)
        for path in [store.folder, *store.folder.rglob("*")]:
            path.chmod(0o755)


def test_store_opens_and_lists(store):
    with read_only(store) as opened:
        assert opened.index.counts()[TileState.DONE] == 6
        assert not opened.is_partial
        assert opened.tile_at(10, 10).window == store.tiling.window(0, 0)
        check_whole_tiles(opened)
        assert not opened.mark_failed(opened.tile_at(10, 10))


def test_writer_is_refused_with_a_sentence(store):
    with read_only(store) as opened, pytest.raises(StoreError, match="cannot be written") as caught:
        opened.writer().__enter__()
    assert "Copy it" in caught.value.hint


def test_new_store_is_refused_with_a_sentence(store):
    with read_only(store), pytest.raises(StoreError, match="cannot be made: Permission denied"):
        FeatureStore.create(store.folder / "inner.geosam2", MODEL, SOURCE)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 9000)])
def test_lost_index_is_rebuilt_elsewhere(store, damage):
    before = [(record.window, record.crc32) for record in store.index.records()]
    damage(store.folder / "tiles.gpkg")
    with read_only(store) as opened:
        assert [(record.window, record.crc32) for record in opened.index.records()] == before
        assert opened.tile_at(10, 10).state is TileState.DONE
        assert opened.index.path.parent != store.folder
        assert opened.is_partial


def test_journal_of_a_killed_writer_is_rolled_back_elsewhere(store):
    crash = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
insert = "INSERT INTO tiles (level, xoff, yoff, width, height, state) VALUES (1, ?, 0, 9, 9, 'done')"
for number in range(3000):
    connection.execute(insert, (number,))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", crash, str(store.folder / "tiles.gpkg")], check=False)
    journal = store.folder / "tiles.gpkg-journal"
    size = journal.stat().st_size
    assert size > 0
    with read_only(store) as opened:
        assert len(opened.index) == 6
        assert journal.stat().st_size == size


@pytest.mark.parametrize("has_log", [True, False])
def test_index_that_was_being_edited_is_read(store, has_log):
    """Copied to a disc while QGIS had it in edit mode: the header says that there is a write-ahead log."""
    other = sqlite3.connect(store.folder / "tiles.gpkg", isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL").fetchall()
    if has_log:
        other.execute("DELETE FROM tiles WHERE xoff = 0 AND yoff = 0")
    copy = store.folder.with_name("copy.geosam2")
    shutil.copytree(store.folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    other.close()
    copied = FeatureStore.open(copy)
    if not has_log:
        (copy / "tiles.gpkg-wal").unlink(missing_ok=True)
    with read_only(copied) as opened:
        assert len(opened.index) == 6 - has_log

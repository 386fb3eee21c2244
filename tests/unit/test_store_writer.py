# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer: what is asked for, what is done, and putting in order what others left."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from store_maker import MODEL, SOURCE, check_whole_tiles, encode, files_of, write_tile

from geo_sam2.errors import StoreError, StoreLockedError
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.store_sqlite import reading, writing
from geo_sam2.tile_window import TileWindow


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)


@pytest.fixture
def windows(store):
    return list(store.tiling)


def states(store):
    return {record.window: record.state for record in store.index.records()}


def test_only_what_is_missing_is_encoded(store, windows):
    assert encode(store, windows[1:3]) == windows[1:3]
    assert store.index.counts()[TileState.DONE] == 2
    assert encode(store, [*windows, windows[0]]) == [windows[0], *windows[3:]]
    assert encode(store) == []
    check_whole_tiles(store)
    assert not store.is_partial


def test_store_is_partial_until_every_window_that_was_asked_for_is_settled(store, windows):
    assert store.is_partial  # nothing was asked for yet
    with store.writer() as writer:
        assert not writer.is_complete
        writer.add_pending(windows[:2])
        writer.record([write_tile(store, windows[0], writer.next_generation(windows[0]))])
        assert not writer.is_complete
    assert store.is_partial
    with store.writer() as writer:
        writer.record([TileRecord(windows[1], TileState.EMPTY)])
        assert writer.is_complete
        assert writer.counts() == store.index.counts()
    assert not store.is_partial


def test_window_that_failed_is_tried_again(store, windows):
    with store.writer() as writer:
        writer.add_pending(windows[:1])
        writer.record([TileRecord(windows[0], TileState.FAILED)])
        assert not writer.is_complete
    assert store.is_partial
    with store.writer() as writer:
        assert writer.add_pending(windows[:1]) == windows[:1]
    assert states(store) == {windows[0]: TileState.PENDING}


def test_row_is_done_only_when_its_file_is_whole(store, windows):
    with store.writer() as writer:
        writer.add_pending(windows)
        record = write_tile(store, windows[0], 1)
        with pytest.raises(StoreError, match="not there"):
            writer.record([replace(record, file=windows[0].file_name(2))])
        with pytest.raises(StoreError, match="bytes"):
            writer.record([replace(record, bytes=record.bytes + 1)])
        with pytest.raises(StoreError, match="not the name of a tile"):
            writer.record([replace(record, file="../lake.tif")])
    assert set(states(store).values()) == {TileState.PENDING}


def test_batch_is_one_transaction(store, windows, monkeypatch):
    transactions = []

    def counted(*args):
        transactions.append(args)
        return writing(*args)

    with store.writer() as writer:
        writer.add_pending(windows)
        rows = [write_tile(store, window, 1) for window in windows]
        monkeypatch.setattr("geo_sam2.store_writer.writing", counted)
        writer.record(rows)
        assert len(transactions) == 1
    assert set(states(store).values()) == {TileState.DONE}
    assert len(transactions) == 1  # nothing was left for the end


def test_generations_never_repeat(store, windows):
    window = windows[0]
    other_size = TileWindow(0, 0, 0, 512, 512)  # of the same place, so of the same file names
    with store.writer() as writer:
        assert [writer.next_generation(w) for w in (window, window, other_size)] == [1, 2, 3]
        write_tile(store, other_size, 3)
    with store.writer() as writer:
        assert writer.next_generation(window) == 4
    assert states(store) == {other_size: TileState.DONE}


def test_tile_that_was_encoded_again_takes_the_row_and_the_old_file_goes(store, windows):
    encode(store, windows[:2])
    with store.writer() as writer:
        record = write_tile(store, windows[0], writer.next_generation(windows[0]), value=5)
        assert len(files_of(store)) == 3
        writer.record([record])
        assert len(files_of(store)) == 2
    assert store.index.get(windows[0]) == record
    assert record.file.endswith(".2.safetensors")
    check_whole_tiles(store)


def test_old_file_that_is_held_goes_with_the_next_writer(store, windows, monkeypatch):
    encode(store, windows[:1])
    old = store.tile_path(store.index.get(windows[0]).file)
    unlink, refused = Path.unlink, []

    def held(self, *args, **kwargs):
        if self.name == old.name:
            refused.append(self)
            raise PermissionError(13, "in use")
        return unlink(self, *args, **kwargs)

    monkeypatch.setattr("geo_sam2.store_files._PATIENCE_S", 0.1)
    monkeypatch.setattr(Path, "unlink", held)
    with store.writer() as writer:
        writer.record([write_tile(store, windows[0], writer.next_generation(windows[0]))])
    assert len(refused) > 2
    assert len(files_of(store)) == 2
    monkeypatch.setattr(Path, "unlink", unlink)
    with store.writer():
        pass
    assert len(files_of(store)) == 1
    check_whole_tiles(store)


def test_tile_that_was_written_but_not_recorded_is_adopted(store, windows):
    encode(store, windows[:2])
    with store.writer() as writer:
        writer.add_pending(windows)
    orphan = write_tile(store, windows[3], 1)
    assert encode(store) == [windows[2], *windows[4:]]
    assert store.index.get(windows[3]).crc32 == orphan.crc32
    check_whole_tiles(store)


def test_unfinished_and_superseded_files_are_removed(store, windows):
    encode(store)
    folder = store.folder / "tiles" / "0"
    (folder / "x00000000_y00000000.2.safetensors.4711.tmp").write_bytes(b"half")
    (store.folder / "manifest.json.4711.tmp").write_bytes(b"{")
    (store.folder / "tiles.gpkg.4711.tmp-journal").write_bytes(b"x")
    write_tile(store, windows[0], 2)  # its writer was killed before the row changed
    with store.writer():
        pass
    assert len(files_of(store)) == 6
    assert not list(store.folder.glob("*.tmp*"))
    check_whole_tiles(store)


def test_files_that_are_not_the_stores_are_left_alone(store, windows, tmp_path):
    other = FeatureStore.create(tmp_path / "other.geosam2", MODEL, SOURCE)
    foreign = write_tile(other, windows[0], 7)
    encode(store, windows[1:])
    folder = store.folder / "tiles" / "0"
    shutil.copy(other.folder / foreign.file, folder)
    (folder / "notes.txt").write_text("mine")
    with store.writer() as writer:
        assert writer.add_pending(windows) == windows[:1]
        assert writer.next_generation(windows[0]) == 8
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / Path(foreign.file).name).exists()


WRONG_TILES = {
    "another window inside": lambda store, windows: shutil.copy(
        store.folder / write_tile(store, windows[1], 1).file, store.folder / windows[0].file_name(9)
    ),
    "other shapes": lambda store, windows: write_tile(
        FeatureStore(
            store.folder,
            replace(
                store.manifest,
                model=replace(MODEL, feature_shapes=replace(MODEL.feature_shapes, image_embed=(3, 4, 4))),
            ),
        ),
        windows[0],
        9,
    ),
    "cut short": lambda store, windows: (store.folder / write_tile(store, windows[0], 9).file).write_bytes(
        b"x" * 70
    ),
}


@pytest.mark.parametrize("make", WRONG_TILES.values(), ids=WRONG_TILES.keys())
def test_file_that_is_no_tile_of_its_name_is_not_adopted(store, windows, make):
    make(store, windows)
    with store.writer() as writer:
        assert windows[0] in writer.add_pending(windows)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short")])
def test_tile_whose_file_is_gone_or_cut_is_encoded_again(store, windows, damage):
    encode(store)
    damage(store.tile_path(store.index.get(windows[2]).file))
    assert encode(store) == [windows[2]]
    assert store.index.get(windows[2]).file == windows[2].file_name(2)
    check_whole_tiles(store)
    assert len(files_of(store)) == 6


def test_index_that_is_deleted_while_written_loses_no_row(store, windows):
    with store.writer() as writer:
        writer.add_pending(windows)
        writer.record([TileRecord(windows[5], TileState.EMPTY)])
        (store.folder / "tiles.gpkg").unlink()
        writer.record([write_tile(store, windows[0], writer.next_generation(windows[0]))])
    counts = store.index.counts()
    assert (counts[TileState.PENDING], counts[TileState.DONE], counts[TileState.EMPTY]) == (4, 1, 1)


def test_damaged_index_is_kept_aside(store):
    encode(store)
    (store.folder / "tiles.gpkg").write_bytes(b"precious")
    assert encode(store) == []
    assert (store.folder / "tiles.damaged.gpkg").read_bytes() == b"precious"


def test_rows_wait_while_somebody_holds_the_index(store, windows, monkeypatch):
    monkeypatch.setattr("geo_sam2.store_writer.BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(store.folder / "tiles.gpkg", isolation_level=None)
    with store.writer() as writer:
        writer.add_pending(windows)
        other.execute("BEGIN IMMEDIATE")
        writer.record([write_tile(store, windows[0], 1)])
        writer.record([write_tile(store, windows[1], 1)])
        assert states(store)[windows[0]] is TileState.PENDING
        other.execute("COMMIT")
        writer.record([write_tile(store, windows[2], 1)])
        assert store.index.counts()[TileState.DONE] == 3
    other.close()


def test_rows_that_never_get_into_a_held_index_are_found_by_their_files(store, windows, monkeypatch):
    monkeypatch.setattr("geo_sam2.store_writer.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("geo_sam2.store_writer._PATIENCE_AT_END_S", 0.05)
    encode(store, windows[:1])
    other = sqlite3.connect(store.folder / "tiles.gpkg", isolation_level=None)
    with pytest.raises(StoreLockedError), store.writer() as writer:
        writer.add_pending(windows)
        other.execute("BEGIN IMMEDIATE")
        again = write_tile(store, windows[0], writer.next_generation(windows[0]))
        writer.record([again, write_tile(store, windows[1], 1)])
    other.execute("COMMIT")
    other.close()
    check_whole_tiles(store)  # the old tile is still there for its row
    assert encode(store) == windows[2:]
    check_whole_tiles(store)


def test_old_tile_stays_while_the_row_that_replaces_it_cannot_be_written(store, windows, monkeypatch):
    monkeypatch.setattr("geo_sam2.store_writer.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("geo_sam2.store_writer._PATIENCE_AT_END_S", 0.05)
    encode(store, windows[:1])
    other = sqlite3.connect(store.folder / "tiles.gpkg", isolation_level=None)
    with pytest.raises(ZeroDivisionError), store.writer() as writer:
        other.execute("BEGIN IMMEDIATE")
        writer.record([write_tile(store, windows[0], writer.next_generation(windows[0]))])
        _ = 1 / 0
    other.execute("COMMIT")
    other.close()
    check_whole_tiles(store)


def test_older_tile_is_not_adopted_in_place_of_one_that_failed(store, windows):
    encode(store, windows[:1])
    first = store.index.get(windows[0])
    content = store.tile_path(first.file).read_bytes()
    with store.writer() as writer:
        writer.record([write_tile(store, windows[0], writer.next_generation(windows[0]))])
    store.tile_path(first.file).write_bytes(content)  # its removal was refused
    assert store.mark_failed(store.index.get(windows[0]))
    with store.writer() as writer:
        assert writer.add_pending(windows[:1]) == windows[:1]


def test_index_of_a_crashed_editor_goes_back_to_a_rollback_journal(store, windows):
    other = sqlite3.connect(store.folder / "tiles.gpkg", isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL").fetchall()
    other.execute("UPDATE gpkg_contents SET identifier = 'edited'")
    with store.writer() as writer:  # while it is being edited
        writer.add_pending(windows)
        with reading(store.index.path) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.index.counts()[TileState.PENDING] == 6
    other.close()
    with store.writer():
        pass
    assert (store.folder / "tiles.gpkg").read_bytes()[18:20] == b"\x01\x01"
    assert store.index.counts()[TileState.PENDING] == 6


def test_store_that_was_deleted_under_its_writer_is_not_half_made_again(store, windows):
    with pytest.raises(StoreError, match="no feature store"), store.writer() as writer:
        shutil.rmtree(store.folder)
        with pytest.raises(StoreError, match="no feature store"):
            write_tile(store, windows[0], writer.next_generation(windows[0]))
        writer.record([TileRecord(windows[0], TileState.EMPTY)])
    assert not store.folder.exists()

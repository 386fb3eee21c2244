# SPDX-License-Identifier: GPL-3.0-or-later
"""The index: a GeoPackage by the book, tiles found by arithmetic, rows that are not trusted."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest
from store_maker import MODEL, SOURCE, check_whole_tiles, encode, files_of, write_tile

from geo_sam2.errors import DamagedIndexError, StoreLockedError
from geo_sam2.feature_store import FeatureStore, TileIndex, TileRecord, TileState
from geo_sam2.grid import PixelGrid
from geo_sam2.store_geopackage import footprint_blob
from geo_sam2.store_index import put_records
from geo_sam2.store_sqlite import reading, writing
from geo_sam2.tile_window import TileWindow

UTM = (500000.0, 0.5, 0.0, 4100000.0, 0.0, -0.5)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "lake #1 50%.tiny.geosam2", MODEL, SOURCE)


@contextlib.contextmanager
def edited(store):
    """Change the index as another program does."""
    connection = sqlite3.connect(store.folder / "tiles.gpkg")
    with connection:
        yield connection
    connection.close()


def read_blob(blob):
    """Return (srs_id, envelope, ring) of a geometry, by the words of the standard."""
    magic, version, flags, srs_id = struct.unpack_from("<2sBBi", blob)
    assert (magic, version, flags) == (b"GP", 0, 3)
    envelope = struct.unpack_from("<4d", blob, 8)
    order, kind, rings, points = struct.unpack_from("<BIII", blob, 40)
    assert (order, kind, rings) == (1, 3, 1)
    ring = np.frombuffer(blob, "<f8", offset=53).reshape(-1, 2)
    assert len(ring) == points
    return srs_id, envelope, ring


@pytest.mark.parametrize(
    "geotransform",
    [UTM, (-10.0, 1e-5, 0, 50, 0, 1e-5), (0, 0.8, 0.6, 0, 0.6, -0.8), (0, -2, 0, 0, 0, -1)],
    ids=["north-up", "south-up", "rotated", "mirrored"],
)
def test_footprint_is_a_counterclockwise_ring_round_the_window(geotransform):
    grid = PixelGrid(3000, 2000, geotransform, "WKT", "EPSG:32612")
    window = TileWindow(0, 1024, 976, 1024, 1024)
    srs_id, envelope, ring = read_blob(footprint_blob(grid, window))
    assert srs_id == 32612
    (x_min, y_min), (x_max, y_max) = ring.min(axis=0), ring.max(axis=0)
    assert envelope == (x_min, x_max, y_min, y_max)
    assert (ring[0] == ring[-1]).all()
    x, y = (ring - ring[0]).T
    assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2 == pytest.approx(grid.pixel_area() * 1024 * 1024)
    corners = {tuple(corner) for corner in grid.footprint(window).tolist()}
    assert {tuple(corner) for corner in ring.tolist()} == corners


@pytest.mark.parametrize(
    ("wkt", "authid", "srs_id", "row"),
    [
        ("PROJCRS[a]", "EPSG:32612", 32612, ("EPSG", 32612, "PROJCRS[a]")),
        ("PROJCRS[b]", "ESRI:102003", 99001, ("NONE", 99001, "PROJCRS[b]")),
        ("PROJCRS[c]", "", 99001, ("NONE", 99001, "PROJCRS[c]")),
        ("", "", -1, ("NONE", -1, "undefined")),
        ("GEOGCRS[d]", "EPSG:4326", 4326, ("EPSG", 4326, "undefined")),
    ],
)
def test_every_crs_has_its_row(tmp_path, wkt, authid, srs_id, row):
    source = replace(SOURCE, grid=PixelGrid(3000, 2000, UTM, wkt, authid))
    store = FeatureStore.create(tmp_path / "lake.geosam2", MODEL, source)
    with reading(store.index.path) as connection:
        assert connection.execute("SELECT srs_id FROM gpkg_contents").fetchone() == (srs_id,)
        assert connection.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchone() == (srs_id,)
        query = (
            "SELECT organization, organization_coordsys_id, definition_12_063 FROM gpkg_spatial_ref_sys"
            " WHERE srs_id = ?"
        )
        assert connection.execute(query, (srs_id,)).fetchone() == row
        ids = connection.execute("SELECT srs_id FROM gpkg_spatial_ref_sys ORDER BY srs_id").fetchall()
        assert set(ids) >= {(-1,), (0,), (4326,)}


def test_file_is_marked_as_a_geopackage_with_rollback_journal(store):
    head = (store.folder / "tiles.gpkg").read_bytes()[:100]
    assert head[68:72] == b"GPKG"
    assert head[18:20] == b"\x01\x01"  # 2 would be a write-ahead log
    with reading(store.index.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (10300,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall() == []


def test_lookup_uses_an_index(store):
    with reading(store.index.path) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM tiles WHERE level = 0 AND xoff = 0 AND yoff = 0"
        ).fetchall()
    assert "USING INDEX" in plan[0][3]


def test_rows_come_back_as_they_went(store):
    encode(store, list(store.tiling)[:2])
    with store.writer() as writer:
        writer.add_pending(list(store.tiling)[:4])
        writer.record([TileRecord(store.tiling.window(2, 0), TileState.EMPTY)])
    index = FeatureStore.open(store.folder).index
    assert len(index) == 4
    assert list(index.counts().values()) == [1, 2, 1, 0]
    assert [record.window for record in index.records()] == list(store.tiling)[:4]
    assert [record.window for record in index.records([TileState.EMPTY])] == [store.tiling.window(2, 0)]
    assert index.records([]) == []
    done = index.get(store.tiling.window(0, 0))
    assert done == write_tile(store, done.window, 1)
    assert index.get(store.tiling.window(2, 1)) is None
    assert index.get(TileWindow(0, 0, 0, 1024, 1023)) is None


def test_tile_under_a_point_prefers_one_that_is_encoded(store):
    assert store.tile_at(10, 10) is None
    named, shifted = store.tiling.window(1, 0), store.tiling.window(2, 0)
    assert (named.xoff, shifted.xoff) == (1024, 1976)
    encode(store, [shifted])
    assert store.tile_at(2000, 10).window == shifted  # in the overlap, where `named` has no row
    assert store.tile_at(1500, 10) is None
    with store.writer() as writer:
        writer.add_pending([named])
    assert store.tile_at(2000, 10).window == shifted
    assert store.tile_at(1500, 10).state is TileState.PENDING
    encode(store, [named])
    assert store.tile_at(2000, 10).window == named
    assert store.tile_at(2100, 10).window == shifted
    assert store.tile_at(-1, 10) is None
    assert store.tile_at(3001, 10) is None
    assert store.tile_at(float("nan"), 10) is None


def test_tile_under_every_corner_of_the_overlaps_is_found(store):
    encode(store)
    for x in (0, 1023, 1024, 1976, 2047, 2048, 2999, 3000):
        for y in (0, 975, 976, 1024, 1999, 2000):
            window = store.tile_at(x, y).window
            assert window.xoff <= x <= window.xoff + 1024
            assert window.yoff <= y <= window.yoff + 1024


def test_ten_thousand_tiles_are_found_by_arithmetic(tmp_path):
    source = replace(SOURCE, grid=replace(SOURCE.grid, width=100 * 1024 - 300, height=100 * 1024))
    made = FeatureStore.create(tmp_path / "large.geosam2", MODEL, source)
    records = [
        TileRecord(window, TileState.DONE, window.file_name(1), 9, number)
        for number, window in enumerate(made.tiling)
    ]
    with writing(made.index.path) as connection:
        put_records(connection, source.grid, records)
    store = FeatureStore.open(made.folder)
    assert len(store.index) == 10_000
    assert not store.is_partial
    rng = np.random.default_rng(3)
    for x, y in rng.uniform(0, (source.grid.width, source.grid.height), (200, 2)).tolist():
        record = store.tile_at(x, y)
        assert record.crc32 == 100 * int(y // 1024) + int(x // 1024)
        assert record.window.xoff <= x < record.window.xoff + 1024


BAD_ROWS = {
    "state = 'finished'": TileState.FAILED,
    "state = 7": TileState.FAILED,
    "file = '../../secret'": TileState.FAILED,
    "file = 'tiles/0/x00001024_y00000000.1.safetensors'": TileState.FAILED,  # another window's
    "file = 12": TileState.FAILED,
    "bytes = -1": TileState.FAILED,
    "crc32 = 'x'": TileState.FAILED,
    "seconds = 'x'": TileState.DONE,
    "encoded_at = 5.5": TileState.DONE,
    "xoff = -1": None,
    "width = 'x'": None,
    "width = 0": None,
    "level = 99": None,
}


@pytest.mark.parametrize(("change", "state"), BAD_ROWS.items(), ids=BAD_ROWS.keys())
def test_row_that_was_edited_into_nonsense_is_none_of_a_tile_until_a_writer_puts_it_right(
    store, change, state
):
    window = store.tiling.window(0, 0)
    encode(store)
    with edited(store) as connection:
        connection.execute("UPDATE tiles SET " + change + " WHERE xoff = 0 AND yoff = 0")  # noqa: S608
    found = {record.window: record.state for record in store.index.records()}
    assert found.get(window) is state
    assert len(found) == 6 - (state is None)
    encode(store)
    assert store.index.get(window).state is TileState.DONE
    check_whole_tiles(store)
    assert len(files_of(store)) == 6


def test_edits_of_a_user_are_kept(store):
    encode(store, list(store.tiling)[:2])
    with edited(store) as connection:
        connection.execute("ALTER TABLE tiles ADD COLUMN note TEXT")
        connection.execute("UPDATE tiles SET note = 'mine'")
        connection.execute(
            "INSERT INTO tiles (level, xoff, yoff, width, height, state) VALUES (3,0,0,9,9,'done')"
        )
    encode(store)
    with reading(store.index.path) as connection:
        assert connection.execute("SELECT count(*) FROM tiles WHERE note = 'mine'").fetchone() == (2,)
    assert store.index.get(TileWindow(3, 0, 0, 9, 9)).state is TileState.FAILED  # done, but no file


DAMAGE = {
    "no database": lambda path: path.write_bytes(b"x" * 5000),
    "empty": lambda path: path.write_bytes(b""),
    "pages overwritten": lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 60000),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_index_is_told_from_a_locked_one(store, damage):
    path = store.folder / "tiles.gpkg"
    damage(path)
    with pytest.raises(DamagedIndexError) as caught:
        TileIndex(path).records()
    assert "rebuilt" in caught.value.hint


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_index_is_rebuilt_when_a_store_is_opened(store, damage):
    encode(store, list(store.tiling)[:4])
    before = store.index.records()
    damage(store.folder / "tiles.gpkg")
    opened = FeatureStore.open(store.folder)
    after = opened.index.records()
    assert [(r.window, r.state, r.file, r.bytes, r.crc32) for r in after] == [
        (r.window, r.state, r.file, r.bytes, r.crc32) for r in before
    ]
    assert opened.is_partial  # what was asked for is not known any more
    assert encode(opened) == list(store.tiling)[4:]
    assert not opened.is_partial


def test_index_that_goes_while_a_store_is_open_is_rebuilt(store):
    encode(store)
    assert len(store.index) == 6
    (store.folder / "tiles.gpkg").unlink()
    assert len(store.index) == 6


def test_index_that_goes_while_somebody_writes_is_the_writers_to_rebuild(store):
    with store.writer() as writer:
        writer.add_pending(store.tiling)
        (store.folder / "tiles.gpkg").unlink()
        later = threading.Timer(
            0.3, writer.record, [[TileRecord(store.tiling.window(0, 0), TileState.EMPTY)]]
        )
        later.start()
        index = FeatureStore.open(store.folder).index
        later.join()
        assert index.path == store.folder / "tiles.gpkg"
        assert index.counts()[TileState.PENDING] == 5


def test_index_that_a_silent_writer_does_not_rebuild_is_rebuilt_elsewhere(store, monkeypatch):
    monkeypatch.setattr("geo_sam2.store_readable_index._REBUILD_PATIENCE_S", 0.1)
    encode(store)
    with store.writer():
        (store.folder / "tiles.gpkg").unlink()
        opened = FeatureStore.open(store.folder)
        assert opened.index.counts()[TileState.DONE] == 6
        assert opened.index.path.parent != store.folder


def test_journal_of_a_lost_index_is_not_played_into_the_new_one(store):
    encode(store)
    path = store.folder / "tiles.gpkg"
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"x" * 5000)
    path.unlink()
    assert len(FeatureStore.open(store.folder).index) == 6
    assert not [name for name in store.folder.iterdir() if name.name.startswith("tiles.gpkg-")]


def test_index_that_is_held_is_said_to_be_locked(store, monkeypatch):
    monkeypatch.setattr("geo_sam2.store_sqlite.BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(store.folder / "tiles.gpkg", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreLockedError, match="another program"):
        len(store.index)
    other.execute("ROLLBACK")
    other.close()
    assert len(store.index) == 0


def test_failed_transaction_leaves_nothing(store):
    window = store.tiling.window(0, 0)
    with pytest.raises(ZeroDivisionError), writing(store.index.path) as connection:
        put_records(connection, SOURCE.grid, [TileRecord(window, TileState.EMPTY)])
        _ = 1 / 0
    assert len(store.index) == 0


def test_damaged_tile_is_marked_until_it_is_encoded_again(store):
    encode(store)
    record = store.tile_at(10, 10)
    assert store.mark_failed(record)
    assert not store.mark_failed(record)  # it is marked already
    assert store.is_partial
    assert store.tile_at(10, 10).state is TileState.FAILED
    assert encode(store) == [record.window]
    again = store.tile_at(10, 10)
    assert again.file == record.window.file_name(2)
    assert not (store.folder / record.file).exists()
    assert not store.mark_failed(record)  # of the tile that has gone
    assert not store.is_partial

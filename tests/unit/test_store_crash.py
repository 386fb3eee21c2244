# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that are killed, run out of disk or meet each other: nothing is lost, nothing is torn."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import store_maker
from store_maker import MODEL, check_whole_tiles, encode, files_of, write_tile

from geo_sam2.errors import StoreError
from geo_sam2.feature_store import FeatureStore, TileState
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_opening import store_for_encoding
from geo_sam2.store_sqlite import reading
from geo_sam2.tile_window import TileWindow

COLUMNS, ROWS, BATCH = 12, 10, 4
SCRIPT = Path(store_maker.__file__)
SOURCE = SourceInfo.of_pixels(COLUMNS * 1024, ROWS * 1024)


def writer_process(folder, log, batch=BATCH, **options):
    command = [sys.executable, str(SCRIPT), str(folder), str(log), str(COLUMNS), str(ROWS), str(batch)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def encoded(log):
    """Return what the processes say that they encoded, in order."""
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []


def check_store(folder):
    """Fail unless the store is whole in what it says, whenever its writer was killed."""
    store = FeatureStore.open(folder)
    check_whole_tiles(store)
    with reading(store.index.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return store


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    store = store_for_encoding(tmp_path_factory.mktemp("calm") / "lake.geosam2", MODEL, SOURCE)
    started = time.monotonic()
    encode(store, batch=BATCH)
    return store, time.monotonic() - started


def comparable(store):
    return [(r.window, r.state, r.bytes) for r in store.index.records()]


def tile_data(store):
    """Return what tiles hold behind their headers, which differ by the store's uuid."""
    contents = (store.tile_path(record.file).read_bytes() for record in store.index.records())
    return [content[8 + int.from_bytes(content[:8], "little") :] for content in contents]


def test_writer_killed_at_random_instants_goes_on_where_it_was(tmp_path, uninterrupted):
    calm, duration_s = uninterrupted
    folder, log = tmp_path / "lake.geosam2", tmp_path / "log"
    chance = random.Random(20)  # noqa: S311
    kills = 0
    for _ in range(25):
        before = len(encoded(log))
        process = writer_process(folder, log)
        if not wait_for_lines(log, before + chance.randint(0, 12), process):
            break
        time.sleep(chance.random() * duration_s / 40)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if folder.exists():
            check_store(folder)
    assert kills >= 8
    process = writer_process(folder, log)
    assert process.communicate()[1] == ""
    store = check_store(folder)
    assert not store.is_partial
    assert comparable(store) == comparable(calm)
    assert tile_data(store) == tile_data(calm)
    assert len(files_of(store)) == COLUMNS * ROWS
    # A window is encoded twice only if its batch was under way at a kill, and one is at each.
    again = len(encoded(log)) - COLUMNS * ROWS
    assert set(encoded(log)) == {(window.xoff, window.yoff) for window in store.tiling}
    assert again <= kills * BATCH


def wait_for_lines(log, count, process):
    """Wait until that many tiles were begun; False when the process ended by itself."""
    deadline = time.monotonic() + 60
    while len(encoded(log)) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    if process.poll() is not None:
        assert process.communicate()[1] == ""
        return False
    return True


def test_readers_see_whole_tiles_while_a_writer_is_killed_again_and_again(tmp_path):
    folder, log = tmp_path / "lake.geosam2", tmp_path / "log"
    store_for_encoding(folder, MODEL, SOURCE)
    problems, stop = [], threading.Event()

    def read():
        done = 0
        while not stop.is_set():
            try:
                store = FeatureStore.open(folder)
                check_whole_tiles(store)
                now = store.index.counts()[TileState.DONE]
                if now < done:
                    problems.append(f"{now} after {done}")
                done = now
            except (AssertionError, StoreError) as error:
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    chance = random.Random(7)  # noqa: S311
    for _ in range(6):
        process = writer_process(folder, log)
        wait_for_lines(log, len(encoded(log)) + chance.randint(1, 20), process)
        process.kill()
        process.communicate()
    stop.set()
    reader.join()
    assert problems == []


def test_hot_journal_of_a_killed_writer_is_rolled_back(tmp_path):
    store = store_for_encoding(tmp_path / "lake.geosam2", MODEL, SOURCE)
    encode(store, list(store.tiling)[:10])
    # A cache of one page makes SQLite write the database itself in the middle of the transaction.
    crash = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
insert = "INSERT INTO tiles (level, xoff, yoff, width, height, state) VALUES (1, ?, 0, 9, 9, 'done')"
for number in range(3000):
    connection.execute(insert, (number,))
connection.execute("UPDATE tiles SET state = 'pending'")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", crash, str(store.folder / "tiles.gpkg")], check=False)
    assert (store.folder / "tiles.gpkg-journal").stat().st_size > 0
    counts = FeatureStore.open(store.folder).index.counts()
    assert (counts[TileState.DONE], counts[TileState.PENDING]) == (10, 0)
    assert not (store.folder / "tiles.gpkg-journal").exists()
    assert len(store.index) == 10
    subprocess.run([sys.executable, "-c", crash, str(store.folder / "tiles.gpkg")], check=False)
    (store.folder / "tiles.gpkg").unlink()  # the journal stays, and must not be played into the next index
    for window in list(store.tiling)[10:100]:
        write_tile(store, window, 1)
    assert len(check_store(store.folder).index) == 100


@pytest.mark.parametrize("limit", [100, 1000, 30_000, 60_000])
def test_full_disk_is_said_and_loses_nothing(tmp_path, limit):
    """A limit on the size of a file stands for the disk: the manifest, a tile or the index fails first."""
    folder, log = tmp_path / "lake.geosam2", tmp_path / "log"
    if limit > 1000:
        encode(store_for_encoding(folder, MODEL, SOURCE), [TileWindow(0, 0, 0, 1024, 1024)])

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = writer_process(folder, log, preexec_fn=limited)
    problem = process.communicate()[1]
    assert process.returncode == 1
    assert "StoreError" in problem.splitlines()[-1]
    assert "cannot be" in problem.splitlines()[-1]
    if limit > 1000:
        assert check_store(folder).tile_at(5, 5).state is TileState.DONE
    process = writer_process(folder, log)  # there is room again
    assert process.communicate()[1] == ""
    assert not check_store(folder).is_partial


def test_two_writers_make_one_store(tmp_path):
    folder, log = tmp_path / "lake.geosam2", tmp_path / "log"
    processes = [writer_process(folder, log) for _ in range(4)]
    problems = [process.communicate()[1] for process in processes]
    winners = [process for process in processes if process.returncode == 0]
    assert winners
    assert all("is being written by" in problem.splitlines()[-1] for problem in problems if problem)
    store = check_store(folder)
    assert not store.is_partial
    assert sorted(encoded(log)) == sorted((window.xoff, window.yoff) for window in store.tiling)

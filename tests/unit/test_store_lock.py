# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer a store: others are refused by name, and the dead are not waited for."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from store_maker import MODEL, SOURCE

from geo_sam2.errors import StoreError, StoreLockedError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.store_lock import LockHolder, WriterLock
from geo_sam2.store_process import process_start

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from geo_sam2.store_lock import WriterLock
with WriterLock(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)


@pytest.fixture
def holder(store):
    """Another process that holds the lock of the store."""
    command = [sys.executable, "-c", HOLD, str(ROOT), str(store.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lock_file(store):
    return store.folder / "writer.lock"


def write_holder(store, **changes):
    holder = {**vars(LockHolder.this_process()), **changes}
    lock_file(store).write_text(json.dumps(holder))


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_second_writer_is_refused_with_the_name_of_the_first(store, holder):
    with pytest.raises(StoreLockedError, match=rf"written by process {holder.pid}, since 20") as caught:
        store.writer().__enter__()
    assert "cancel it" in caught.value.hint


def test_second_writer_of_the_same_process_is_refused(store):
    with store.writer(), pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        store.writer().__enter__()
    with store.writer():
        pass


def test_readers_need_no_lock(store, holder):
    assert len(FeatureStore.open(store.folder).index) == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_lock_ends_with_its_holder(store, holder, end):
    holder.send_signal(end)
    holder.wait()
    assert lock_file(store).read_text()  # the dead one's name still stands there
    with store.writer():
        assert json.loads(lock_file(store).read_text())["pid"] == os.getpid()
    assert lock_file(store).read_text() == ""


@pytest.mark.parametrize("content", ["", "{", "null", "[1]", "\0" * 100, '{"pid": -1}', "x" * 10_000])
def test_empty_or_damaged_lock_file_is_nobodys(store, content):
    lock_file(store).write_text(content)
    with store.writer():
        pass


@pytest.mark.parametrize("content", ["", "{"])
def test_empty_or_damaged_lock_file_that_is_held_is_somebodys(store, holder, content):
    lock_file(store).write_text(content)
    with pytest.raises(StoreLockedError, match="another process"):
        store.writer().__enter__()


def test_lock_without_locks_is_decided_by_the_process(store, no_locks):
    write_holder(store)
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        store.writer().__enter__()
    write_holder(store, process_start="another start")  # its number was given to us
    with store.writer():
        pass
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    write_holder(store, pid=ended.pid)
    with store.writer():
        pass


def test_system_lock_decides_where_there_is_one(store):
    write_holder(store)  # a process that runs, but holds nothing
    with store.writer():
        pass


@pytest.mark.parametrize("is_lockable", [True, False])
def test_writer_on_another_computer_counts_until_it_falls_silent(store, is_lockable, request):
    if not is_lockable:
        request.getfixturevalue("no_locks")
    write_holder(store, host="cluster-7", pid=31)
    with pytest.raises(StoreLockedError, match="process 31 on cluster-7") as caught:
        store.writer().__enter__()
    assert "delete" in caught.value.hint
    os.utime(lock_file(store), (0, 0))
    with store.writer():
        pass


def test_writer_shows_that_it_is_at_work(store):
    with store.writer() as writer:
        os.utime(lock_file(store), (0, 0))
        writer.record([])
        assert lock_file(store).stat().st_mtime > 0


def test_lock_file_that_is_deleted_while_it_is_taken_is_made_anew(store, monkeypatch):
    lock = WriterLock(store.folder)
    decide, deleted = lock._decide, []

    def decide_then_delete(stream):
        decide(stream)
        if not deleted:
            deleted.append(lock_file(store).unlink())

    monkeypatch.setattr(lock, "_decide", decide_then_delete)
    with lock:
        assert lock_file(store).exists()
        with pytest.raises(StoreLockedError):
            store.writer().__enter__()


def test_only_one_of_many_threads_gets_the_lock(store):
    entered, refused, go = [], [], threading.Barrier(8)

    def enter():
        go.wait()
        try:
            entered.append(store.writer().__enter__())
        except StoreLockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(entered), len(refused)) == (1, 7)
    entered[0].__exit__(None, None, None)


def test_lock_that_is_a_link_out_of_the_store_is_refused(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    lock_file(store).unlink()
    lock_file(store).symlink_to(precious)
    with pytest.raises(StoreError, match="leads out"):
        store.writer().__enter__()
    assert precious.read_text() == "mine"


def test_process_is_told_from_a_later_one_of_its_number():
    mine = process_start(os.getpid())
    assert mine
    assert mine == process_start(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert process_start(other.pid) not in (None, "", mine)
        other.kill()
    assert process_start(other.pid) is None
    assert process_start(0) is None

# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of accepted objects: what it gives back after the end of a process, however that came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from geo_sam2.errors import JournalError
from geo_sam2.segmentation import late_flush
from geo_sam2.segmentation.journal import Journal, JournaledLayer, JournaledObject, adopted, discard, pending
from geo_sam2.store_lock import LockHolder

ROOT = Path(__file__).resolve().parents[2]
LAYER = JournaledLayer("objects_1", "objects", "/data/objects.gpkg|layername=objects", "ogr")
OBJECT = JournaledObject(
    number=1,
    geometry_wkb="0103",
    crs_wkt='PROJCRS["x"]',
    crs_authid="EPSG:32612",
    class_name="Bäume",
    score=0.9,
    stability=0.95,
    model="demo",
    store_id="0d5c7d66",
    tile_ids=("0/0/0", "0/1024/0"),
    prompts='{"version":1,"prompts":[{"foreground":[1.5,2.25]}],"mask":null}',
    outline="{}",
    is_truncated=True,
    created="2026-11-22T12:00:00.000Z",
)


def item(number, **fields):
    return replace(OBJECT, number=number, **fields)


@pytest.fixture
def dead(monkeypatch):
    """Let a journal be written as by a process that is gone; call the result to be oneself again."""
    real = LockHolder.this_process
    gone = replace(real(), pid=2**22 + 1, process_start="long ago")
    monkeypatch.setattr(LockHolder, "this_process", classmethod(lambda _cls: gone))
    return lambda: monkeypatch.setattr(LockHolder, "this_process", real)


@pytest.fixture
def journal_of():
    """Open journals, to be closed when the test ends."""
    opened = []

    def journal_of(home, layer=LAYER, make=Journal):
        opened.append(make(home, layer))
        return opened[-1]

    yield journal_of
    for journal in opened:
        journal.close()


def numbers(home):
    return [[one.number for one in found.objects] for found in pending(home)]


def test_objects_come_back_as_they_were(tmp_path, journal_of, dead):
    journal = journal_of(tmp_path)
    assert journal.path is None
    journal.write_saved(OBJECT)
    journal.write_saved(item(2, replaces=(12,), class_name=""))
    journal.close()
    (found,) = pending(tmp_path)
    assert found.layer == LAYER
    assert found.objects == (OBJECT, item(2, replaces=(12,), class_name=""))
    discard(found)
    assert pending(tmp_path) == []
    assert list((tmp_path / "journal").iterdir()) == []


def test_lost_objects_are_not_offered_unless_they_came_back(tmp_path, journal_of, dead):
    journal = journal_of(tmp_path)
    for number in (1, 2, 3):
        journal.write_saved(item(number))
    journal.write_lost(3)
    journal.write_lost(2)
    journal.write_back(2)
    assert numbers(tmp_path) == [[1, 2]]


def test_an_object_in_the_place_of_another_stands_for_both_until_it_is_undone(tmp_path, journal_of, dead):
    journal = journal_of(tmp_path)
    journal.write_saved(item(1))
    journal.write_saved(item(2, supersedes=(1,)))
    journal.write_saved(item(3, supersedes=(2,)))
    assert numbers(tmp_path) == [[3]]
    journal.write_lost(3)
    assert numbers(tmp_path) == [[2]]
    journal.write_lost(2)
    assert numbers(tmp_path) == [[1]]


def test_committed_edits_leave_nothing(tmp_path, journal_of, dead):
    journal = journal_of(tmp_path)
    journal.write_saved(OBJECT)
    journal.drop()
    assert list((tmp_path / "journal").iterdir()) == []
    journal.drop()
    journal.write_saved(item(2))
    assert numbers(tmp_path) == [[2]]


def test_what_is_all_undone_is_cleared_away(tmp_path, journal_of, dead):
    journal = journal_of(tmp_path)
    journal.write_saved(OBJECT)
    journal.write_lost(1)
    journal.close()
    assert pending(tmp_path) == []
    assert list((tmp_path / "journal").iterdir()) == []


def test_journal_of_a_living_process_is_not_offered(tmp_path, journal_of):
    journal = journal_of(tmp_path)
    journal.write_saved(OBJECT)
    assert pending(tmp_path) == []
    assert journal.path.is_file()


def test_released_journal_is_offered_at_once_and_the_next_one_is_another_file(tmp_path, journal_of):
    journal = journal_of(tmp_path)
    journal.write_saved(OBJECT)
    journal.release()
    assert numbers(tmp_path) == [[1]]
    again = journal_of(tmp_path, make=adopted)
    assert again.path is None
    again.write_saved(item(2))
    assert numbers(tmp_path) == [[1]]


def test_release_without_objects_is_nothing(tmp_path, journal_of):
    journal_of(tmp_path).release()
    assert not (tmp_path / "journal").exists()


def test_reloaded_plugin_goes_on_with_the_file_of_its_process(tmp_path, journal_of):
    journal = journal_of(tmp_path)
    journal.write_saved(item(4))
    journal.close()
    other = journal_of(tmp_path, replace(LAYER, layer_id="other"), adopted)
    assert (other.path, other.last_number) == (None, 0)
    again = journal_of(tmp_path, make=adopted)
    assert (again.path, again.last_number) == (journal.path, 4)
    again.write_saved(item(5))
    again.release()
    assert numbers(tmp_path) == [[4, 5]]


def test_file_of_a_dead_process_with_this_number_is_kept(tmp_path, journal_of, monkeypatch):
    real = LockHolder.this_process
    before = replace(real(), process_start="an earlier one")
    monkeypatch.setattr(LockHolder, "this_process", classmethod(lambda _cls: before))
    journal_of(tmp_path).write_saved(item(1))
    monkeypatch.setattr(LockHolder, "this_process", real)
    own = journal_of(tmp_path, make=adopted)
    assert own.path is None
    own.write_saved(item(2))
    assert numbers(tmp_path) == [[1]]
    assert len(list((tmp_path / "journal").iterdir())) == 2


def test_several_layers_have_files_of_their_own(tmp_path, journal_of, dead):
    for index in range(3):
        journal_of(tmp_path, replace(LAYER, layer_id=f"layer_{index}")).write_saved(item(index + 1))
    assert sorted(numbers(tmp_path)) == [[1], [2], [3]]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_line_that_was_cut_short_costs_only_itself(tmp_path, journal_of, dead, cut):
    journal = journal_of(tmp_path)
    journal.write_saved(item(1))
    journal.write_saved(item(2))
    journal.close()
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    again = journal_of(tmp_path)
    again.path = journal.path
    again.write_saved(item(3))
    assert numbers(tmp_path) == [[1, 3]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"no journal",
        b"[1]",
        b'{"version":2}',
        b"\xff\xfe" * 100,
        b"[" * 100_000,
        b'{"version":1,"holder":{},"layer":{}}',
    ],
)
def test_files_of_another_kind_are_left_alone(tmp_path, content):
    (tmp_path / "journal").mkdir()
    path = tmp_path / "journal" / "x.jsonl"
    path.write_bytes(content)
    (tmp_path / "journal" / "note.txt").write_text("mine")
    assert pending(tmp_path) == []
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        {"op": "saved"},
        {"op": "saved", "object": 5},
        {"op": "saved", "object": {**OBJECT.to_json(), "score": "high"}},
        {"op": "saved", "object": {**OBJECT.to_json(), "geometry_wkb": "zz"}},
        {"op": "saved", "object": {**OBJECT.to_json(), "number": -1}},
        {"op": "lost", "number": "1"},
        {"op": "lost"},
        {"op": "back", "number": 77},
        {"op": "what"},
        5,
    ],
)
def test_lines_that_make_no_sense_are_passed_over(tmp_path, journal_of, dead, line):
    journal = journal_of(tmp_path)
    journal.write_saved(item(7))
    with journal.path.open("a") as file:
        file.write("\n" + json.dumps(line))
    assert numbers(tmp_path) == [[7]]


def test_full_disk_is_an_error_with_a_hint_and_costs_nothing_before_it(tmp_path, journal_of, dead):
    journal = journal_of(tmp_path)
    journal.write_saved(item(1))

    class Full:
        def write(self, content):
            return 3

        def close(self):
            pass

    real, journal._file = journal._file, Full()
    with pytest.raises(JournalError, match="disk is full") as caught:
        journal.write_saved(item(2))
    assert "Save the layer's edits" in caught.value.hint
    journal._file = real
    journal.write_saved(item(3))
    assert numbers(tmp_path) == [[1, 3]]


def test_disk_that_fails_later_is_an_error_of_the_next_line(tmp_path, journal_of, dead, monkeypatch):
    failed = threading.Event()

    def fail(_descriptor):
        failed.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(late_flush.os, "fsync", fail)
    journal = journal_of(tmp_path)
    journal.write_saved(item(1))
    assert failed.wait(10)
    with pytest.raises(JournalError, match="Input/output error"):
        for _ in range(1000):
            journal.write_back(1)
    journal.close()
    assert numbers(tmp_path) == [[1]]


def test_everything_is_on_the_disk_when_the_file_is_closed(tmp_path, journal_of, monkeypatch):
    flushed = []

    def fsync(descriptor):
        flushed.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(late_flush.os, "fsync", fsync)
    threads = threading.active_count()
    journal = journal_of(tmp_path)
    for number in range(50):
        journal.write_saved(item(number))
    journal.close()
    assert flushed[-1] == journal.path.stat().st_size
    assert len(flushed) <= 50
    assert threading.active_count() == threads


def test_folder_that_cannot_be_made_is_an_error(tmp_path, journal_of):
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(JournalError, match="cannot be journaled"):
        journal_of(tmp_path).write_saved(OBJECT)
    assert pending(tmp_path) == []


_CHILD = """
import sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.test_journal import LAYER, item
from geo_sam2.segmentation.journal import Journal
journal = Journal(Path(sys.argv[1]), LAYER)
number = 0
while True:
    number += 1
    journal.write_saved(item(number))
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_killed_in_the_middle_of_writing_nothing_that_was_written_is_lost(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path), str(ROOT)], stdout=subprocess.PIPE, text=True
    ) as child:
        written = 0
        while written < 50:
            written = int(child.stdout.readline())
        assert pending(tmp_path) == []
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
    written = max([written, *map(int, rest)])
    ((*found,),) = numbers(tmp_path)
    assert found[:written] == list(range(1, written + 1))
    assert len(found) <= written + 1

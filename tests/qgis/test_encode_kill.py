# SPDX-License-Identifier: GPL-3.0-or-later
"""``kill -9`` of the engine, of QGIS and of both, and then the same encode again.

The second run must leave the store of an uninterrupted one: the same windows, states and tile
bytes; and encode nothing a second time but the batch that was in flight.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from geo_sam2.feature_store import FeatureStore
from tests.qgis.encode_runs import encode, encoded_windows, noise, tile_features, write_raster
from tests.qgis.engines import fake_engine_command, session_of

ROOT = Path(__file__).resolve().parents[2]
# A raster of 4 × 2 windows; one takes so long.
WINDOWS, SECONDS = 8, 0.03
INSTANTS = 10
PATIENCE_S = 60


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raster")
    values = noise(4000, 1500)
    values[:, :1024, :1024] = 0  # and one is empty
    return write_raster(folder / "lake.tif", values, nodata=0)


@pytest.fixture(scope="module")
def uninterrupted(raster, tmp_path_factory):
    """Return what is in the store when nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    with session_of(fake_engine_command(), folder / "log"):
        results, is_ok, _ = encode(raster, OUTPUT=str(folder / "store"))
    assert is_ok
    return tile_features(results["OUTPUT"])


def instants(seed):
    """Return (windows begun, seconds after that) ten times, from before the first to after the last."""
    chance = random.Random(seed)  # noqa: S311
    return [(chance.randrange(0, WINDOWS), chance.uniform(0, 2 * SECONDS)) for _ in range(INSTANTS)]


def wait_for(journal, windows):
    """Wait until so many windows have been encoded; none means until the engine runs."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        lines = journal.read_text().splitlines() if journal.exists() else []
        if lines and sum(line.startswith("encode") for line in lines) >= windows:
            return
        time.sleep(0.001)
    raise AssertionError(f"{windows} windows were not encoded in {PATIENCE_S} s")


def kill_engine(journal):
    pids = [int(line.split()[1]) for line in journal.read_text().splitlines() if line.startswith("pid")]
    try:
        os.kill(pids[-1], signal.SIGKILL)
    except ProcessLookupError:
        return  # it was done already


def finish(raster, folder, journal, batch_size):
    """Run the same encode again, with a new engine."""
    with session_of(fake_engine_command(journal=journal), folder / "log"):
        results, is_ok, feedback = encode(raster, OUTPUT=str(folder / "store"), BATCH_SIZE=batch_size)
    assert is_ok, feedback.errors
    return results


def check_like_uninterrupted(folder, journal, uninterrupted, batch_size):
    assert tile_features(folder / "store") == uninterrupted
    assert not FeatureStore.open(folder / "store").is_partial
    times = encoded_windows(journal)
    assert len(times) == WINDOWS - 1
    assert sum(times.values()) - len(times) <= batch_size
    assert not list((folder / "store").rglob("*.tmp"))


@pytest.mark.parametrize(("windows", "later_s"), instants("engine"))
@pytest.mark.parametrize("batch_size", [1])
def test_engine_is_killed(raster, uninterrupted, tmp_path, windows, later_s, batch_size):
    journal = tmp_path / "journal"

    def kill():
        wait_for(journal, windows)
        time.sleep(later_s)
        kill_engine(journal)

    killer = threading.Thread(target=kill)
    command = fake_engine_command(journal=journal, seconds=SECONDS)
    with session_of(command, tmp_path / "log"):
        killer.start()
        _, is_ok, feedback = encode(raster, OUTPUT=str(tmp_path / "store"), BATCH_SIZE=batch_size)
        killer.join(PATIENCE_S)
    if not is_ok:  # else the instant came after the last tile
        assert "The engine was ended by SIGKILL" in feedback.errors[-1]
    finish(raster, tmp_path, journal, batch_size)
    check_like_uninterrupted(tmp_path, journal, uninterrupted, batch_size)


def start_child(raster, folder, journal, batch_size):
    arguments = [raster, folder / "store", journal, SECONDS, batch_size]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.qgis.encode_child", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(("windows", "later_s"), instants("QGIS"))
@pytest.mark.parametrize("batch_size", [1])
def test_qgis_is_killed(raster, uninterrupted, tmp_path, windows, later_s, batch_size):
    journal = tmp_path / "journal"
    child = start_child(raster, tmp_path, journal, batch_size)
    wait_for(journal, windows)
    time.sleep(later_s)
    child.kill()
    child.wait(PATIENCE_S)
    finish(raster, tmp_path, journal, batch_size)
    check_like_uninterrupted(tmp_path, journal, uninterrupted, batch_size)


@pytest.mark.parametrize(("windows", "later_s"), instants("both"))
@pytest.mark.parametrize("batch_size", [1])
def test_qgis_and_engine_are_killed(raster, uninterrupted, tmp_path, windows, later_s, batch_size):
    journal = tmp_path / "journal"
    child = start_child(raster, tmp_path, journal, batch_size)
    wait_for(journal, windows)
    time.sleep(later_s)
    kill_engine(journal)
    child.kill()
    child.wait(PATIENCE_S)
    finish(raster, tmp_path, journal, batch_size)
    check_like_uninterrupted(tmp_path, journal, uninterrupted, batch_size)


def test_qgis_is_killed_in_a_batch_of_four(raster, uninterrupted, tmp_path):
    journal = tmp_path / "journal"
    child = start_child(raster, tmp_path, journal, 4)
    wait_for(journal, 2)
    child.kill()
    child.wait(PATIENCE_S)
    finish(raster, tmp_path, journal, 4)
    check_like_uninterrupted(tmp_path, journal, uninterrupted, 4)


def test_engine_that_dies_is_started_again_by_the_next_run(raster, tmp_path):
    journal = tmp_path / "journal"
    with session_of(fake_engine_command(journal=journal, seconds=SECONDS), tmp_path / "log") as session:
        killer = threading.Thread(target=lambda: (wait_for(journal, 2), kill_engine(journal)))
        killer.start()
        _, is_ok, _ = encode(raster, OUTPUT=str(tmp_path / "store"))
        killer.join(PATIENCE_S)
        assert not is_ok
        _, is_ok, feedback = encode(raster, OUTPUT=str(tmp_path / "store"))
        assert is_ok, feedback.errors
        assert session.client().state.value == "ready"

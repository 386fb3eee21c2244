# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding where one looks: what goes first, what waits, and what ends it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from geo_sam2.encoder import engine_task
from geo_sam2.encoder.live_encoder import LiveEncoder
from geo_sam2.encoder.live_run import LiveRun
from geo_sam2.encoder.raster_source import GdalRasterSource
from geo_sam2.encoder.store_turns import TURNS
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import (
    EncodeRequestError,
    EngineDiedError,
    EnvironmentMissingError,
    RasterGoneError,
    RasterReadError,
    StoreError,
    StoreMismatchError,
)
from geo_sam2.feature_store import FeatureStore
from tests.qgis.encode_runs import arrived, counts, encode, encoded_windows, noise, write_raster
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.live_runs import PATIENCE_S, Listener, demo_request, live_encoder, wait_until
from tests.qgis.read_only_folders import closable_folder
from tests.unit.gates import Gate

# 3 × 2 windows.
TILING = Tiling(2100, 1100)
WINDOWS = list(TILING)
PLACES = [(window.xoff, window.yoff) for window in WINDOWS]


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "lake.tif", noise(2100, 1100))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lake.demo.geosam2"


@pytest.fixture
def request_(raster, folder):
    return demo_request(raster, folder)


@pytest.fixture
def engine(tmp_path):
    """Return the client of a fake engine that takes no time."""
    with session_of(fake_engine_command(journal=tmp_path / "journal"), tmp_path / "log") as session:
        yield session.client


@pytest.fixture
def endless_engine(tmp_path):
    """Return the client of a fake engine that takes for ever."""
    with session_of(fake_engine_command(seconds=1000), tmp_path / "endless.log") as session:
        yield session.client


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def gated_engine(tmp_path, gate):
    """Return the client of a fake engine that waits at the gate before each window."""
    command = fake_engine_command(journal=tmp_path / "journal", gate=gate.port)
    with session_of(command, tmp_path / "gated.log") as session:
        yield session.client


@pytest.fixture
def reads(monkeypatch):
    """Return what lets a test wait until a window has been read: a function of its place."""
    read, done = GdalRasterSource.read, {place: threading.Event() for place in PLACES}

    def watched(self, window):
        pixels = read(self, window)
        done[window.xoff, window.yoff].set()
        return pixels

    monkeypatch.setattr(GdalRasterSource, "read", watched)

    def wait_until_read(place):
        assert done[place].wait(PATIENCE_S)

    return wait_until_read


def pass_gate(gate, times=1):
    for _ in range(times):
        gate.wait_until_reached()
        gate.open()


def is_free(folder):
    """Whether no job has the store's turn."""
    with TURNS.join(folder) as turn:
        return not turn.is_taken


# What goes first


def test_first_click_makes_the_store_and_is_answered(engine, request_, raster, folder):
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want([WINDOWS[4]], is_urgent=True)
        listener.wait_for("went_idle")
        assert is_free(folder)
    names = [name for name, _ in listener.calls]
    assert names == ["opened", "started", "settled", "progressed", "went_idle"]
    assert listener.told("opened")[0].folder == folder
    assert listener.told("settled") == [(*PLACES[4], "done")]
    assert listener.told("progressed") == [(1, 1)]
    assert listener.thread is not threading.current_thread()
    assert (encoder.device, encoder.precision, encoder.encoding) == ("no device (fake)", "fp32", None)
    x, y = PLACES[4]
    wanted = noise(2100, 1100)[:, y : y + 1024, x : x + 1024].transpose(1, 2, 0)
    np.testing.assert_array_equal(arrived(folder)[x, y], wanted)
    # What nobody wanted was not asked for either.
    assert counts(folder) == {"done": 1}
    assert not FeatureStore.open(folder).is_partial


def test_nothing_is_touched_before_something_is_wanted(request_, folder):
    def engine():
        raise AssertionError("not needed yet")

    with live_encoder(request_, engine) as (encoder, listener):
        encoder.look_at(3.0, 4.0)
        encoder.pause()
        encoder.resume()
    assert not listener.calls
    assert not folder.exists()


def test_store_can_be_prepared_before_anything_is_clicked(engine, request_, folder):
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.prepare()
        listener.wait_for("went_idle")
        assert [name for name, _ in listener.calls] == ["opened", "went_idle"]
        assert counts(folder) == {}
        encoder.want([WINDOWS[0]])
        listener.wait_for("settled")
    assert len(listener.told("opened")) == 1


def test_near_windows_go_first(engine, request_, tmp_path):
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.look_at(2090.0, 10.0, (1500.0, 0.0, 2100.0, 500.0))
        encoder.want(TILING)
        listener.wait_for("settled", 6)
    assert [place[0] for place in listener.told("started")[:4:3]] == [1076, 1024]
    assert listener.told("started")[0] == (1076, 0)
    assert set(encoded_windows(tmp_path / "journal").values()) == {1}


def test_click_overtakes_what_has_been_read(gated_engine, gate, request_, reads):
    """One tile is with the engine, one is read; the clicked one goes in between."""
    with live_encoder(request_, gated_engine) as (encoder, listener):
        encoder.want(WINDOWS)
        gate.wait_until_reached()
        reads(PLACES[1])
        encoder.want([WINDOWS[5]], is_urgent=True)
        reads(PLACES[5])
        # The pipeline hears of what has been read before it hears of the engine's answer.
        gate.open()
        pass_gate(gate, 5)
        listener.wait_for("went_idle")
    assert listener.told("started") == [PLACES[place] for place in (0, 5, 1, 2, 3, 4)]


def test_order_follows_the_pointer_but_for_two_tiles(gated_engine, gate, request_, reads):
    with live_encoder(request_, gated_engine) as (encoder, listener):
        encoder.look_at(0.0, 0.0)
        encoder.want(WINDOWS)
        gate.wait_until_reached()
        encoder.look_at(2099.0, 1099.0)
        gate.open()
        pass_gate(gate, 5)
        listener.wait_for("went_idle")
    started = listener.told("started")
    assert started[0] == PLACES[0]
    # One more may have been read before the pointer moved; then the far corner comes.
    assert PLACES[5] in started[1:3]


def test_window_that_is_there_already_is_settled_without_work(engine, request_, tmp_path):
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:2])
        listener.wait_for("went_idle")
        encoder.want(WINDOWS[:3])
        listener.wait_for("went_idle", 2)
    assert sorted(listener.told("settled")[2:]) == sorted((*place, "done") for place in PLACES[:3])
    assert listener.told("started") == PLACES[:3]
    assert set(encoded_windows(tmp_path / "journal").values()) == {1}


def test_window_without_valid_pixels_is_settled_as_empty_at_once(gated_engine, gate, tmp_path, folder):
    values = noise(2100, 1100)
    values[:, :, :1024] = 0
    raster = write_raster(tmp_path / "coast.tif", values, nodata=0)
    with live_encoder(demo_request(raster, folder), gated_engine) as (encoder, listener):
        encoder.want([WINDOWS[1]])
        gate.wait_until_reached()
        encoder.want([WINDOWS[0]], is_urgent=True)
        assert listener.wait_for("settled") == (0, 0, "empty")
        gate.open()
        listener.wait_for("went_idle")
    assert counts(folder) == {"done": 1, "empty": 1}


def test_failed_window_says_why_and_is_tried_again_when_wanted_again(tmp_path, request_, folder):
    command = fake_engine_command(fail="FeatureValueError:1024:0")
    with (
        session_of(command, tmp_path / "log1") as bad,
        live_encoder(request_, bad.client) as (
            encoder,
            listener,
        ),
    ):
        encoder.want(WINDOWS[:3])
        listener.wait_for("went_idle")
        assert (1024, 0, "failed") in listener.told("settled")
        assert "was told to fail" in str(encoder.problem_of(WINDOWS[1]))
        assert encoder.problem_of(WINDOWS[0]) is None
        assert not encoder.is_paused
        with session_of(fake_engine_command(), tmp_path / "log2") as good:
            encoder._engine = good.client
            encoder.want([WINDOWS[1]])
            listener.wait_for("went_idle", 2)
        assert listener.told("settled")[-1] == (1024, 0, "done")
        assert encoder.problem_of(WINDOWS[1]) is None
    assert counts(folder) == {"done": 3}


# Pausing, forgetting, closing


def test_pause_gives_up_the_tile_under_way_and_resume_goes_on(
    endless_engine, engine, request_, folder, tmp_path
):
    with live_encoder(request_, endless_engine) as (encoder, listener):
        encoder.want(WINDOWS[:2])
        listener.wait_for("started")
        assert (encoder.encoding, encoder.is_paused) == (WINDOWS[0], False)
        encoder.pause()
        wait_until(lambda: is_free(folder))
        wait_until(lambda: encoder.waiting == 2)
        assert (encoder.is_paused, encoder.encoding, encoder.error) == (True, None, None)
        encoder.want([WINDOWS[5]], is_urgent=True)
        assert encoder.wanted() == [WINDOWS[5], *WINDOWS[:2]]
        assert counts(folder) == {}
        assert not listener.told("failed")
        assert not listener.told("went_idle")
        encoder._engine = engine
        encoder.resume()
        listener.wait_for("went_idle")
    assert listener.told("started")[1:] == [PLACES[5], *PLACES[:2]]
    assert counts(folder) == {"done": 3}


def test_pause_while_the_last_tile_is_finished_is_no_pause_for_ever(engine, request_, folder, monkeypatch):
    with live_encoder(request_, engine) as (encoder, listener):
        run = LiveRun.run

        def run_and_pause(self):
            run(self)
            encoder.pause()

        monkeypatch.setattr(LiveRun, "run", run_and_pause)
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
    assert counts(folder) == {"done": 1}


def test_forgotten_windows_are_not_encoded(gated_engine, gate, request_, reads, folder):
    with live_encoder(request_, gated_engine) as (encoder, listener):
        encoder.want(WINDOWS)
        gate.wait_until_reached()
        reads(PLACES[1])
        assert encoder.forget_waiting() == WINDOWS[2:]
        assert encoder.waiting == 0
        gate.open()
        pass_gate(gate)
        listener.wait_for("went_idle")
    assert counts(folder) == {"done": 2}


def test_close_ends_within_a_tile_and_nothing_is_told_afterwards(endless_engine, request_, folder):
    with live_encoder(request_, endless_engine) as (encoder, listener):
        encoder.want(WINDOWS)
        listener.wait_for("started")
        assert encoder.close(PATIENCE_S)
        told = list(listener.calls)
        encoder.want(WINDOWS)
        encoder.resume()
        assert encoder.close(0.0)
    assert listener.calls == told
    assert is_free(folder)
    with FeatureStore.open(folder).writer():
        pass  # nobody holds the lock
    assert not list(folder.rglob("*.tmp*"))


def test_close_does_not_wait_for_a_raster_that_hangs(engine, request_, monkeypatch):
    is_opening, go_on = threading.Event(), threading.Event()
    opened = GdalRasterSource.open

    def slow_open(raster):
        is_opening.set()
        assert go_on.wait(PATIENCE_S)
        return opened(raster)

    monkeypatch.setattr(GdalRasterSource, "open", slow_open)
    encoder = LiveEncoder(request_, engine, Listener())
    encoder.want(WINDOWS[:1])
    assert is_opening.wait(PATIENCE_S)
    assert encoder.close(5.0)
    go_on.set()


def test_listener_may_close_the_encoder(engine, request_):
    class Closing(Listener):
        def started(self, window):
            super().started(window)
            assert encoder.close(PATIENCE_S)

    with live_encoder(request_, engine, listener=Closing()) as (encoder, listener):
        encoder.want(WINDOWS)
        listener.wait_for("started")
    assert listener.calls[-1] == ("started", PLACES[0])


def test_listener_that_fails_harms_nobody(engine, request_, caplog):
    class Failing(Listener):
        def settled(self, record):
            super().settled(record)
            raise ZeroDivisionError

    with live_encoder(request_, engine, listener=Failing()) as (encoder, listener):
        encoder.want(WINDOWS[:2])
        listener.wait_for("went_idle")
    assert len(listener.told("settled")) == 2
    assert "ZeroDivisionError" in caplog.text


def test_store_is_not_made_anew_by_the_way(raster, folder):
    with pytest.raises(EncodeRequestError, match="not made anew"):
        LiveEncoder(demo_request(raster, folder, overwrite=True), lambda: None, Listener())


# What ends it


def kill_engine(journal):
    pids = [int(line.split()[1]) for line in journal.read_text().splitlines() if line.startswith("pid")]
    os.kill(pids[-1], signal.SIGKILL)


def test_killed_engine_is_told_and_started_again_however_often_it_died(
    gated_engine, gate, request_, tmp_path, folder
):
    with live_encoder(request_, gated_engine) as (encoder, listener):
        encoder.want(WINDOWS[:2])
        encoder.want([WINDOWS[3]], is_urgent=True)
        for death in (1, 2, 3):
            gate.wait_until_reached()
            kill_engine(tmp_path / "journal")
            error = listener.wait_for("failed", death)
            assert isinstance(error, EngineDiedError)
            assert "SIGKILL" in str(error)
            assert encoder.error is error
            assert encoder.is_paused
            wait_until(lambda: encoder.waiting == 3)
            assert is_free(folder)
            encoder.resume()
        pass_gate(gate, 3)
        listener.wait_for("went_idle")
        assert encoder.error is None
    assert counts(folder) == {"done": 3}
    assert listener.told("started")[1] in (PLACES[0], PLACES[3])


def test_engine_that_is_stopped_by_others_is_started_again_for_the_same_tile(gated_engine, gate, request_):
    with live_encoder(request_, gated_engine) as (encoder, listener):
        encoder.want(WINDOWS[:2])
        gate.wait_until_reached()
        gated_engine().stop()
        pass_gate(gate, 2)
        listener.wait_for("went_idle")
    assert not listener.told("failed")
    assert sorted(listener.told("settled")) == [(*place, "done") for place in PLACES[:2]]


def test_missing_environment_is_told(request_, folder):
    def engine():
        raise EnvironmentMissingError("It is not installed.", "Install it.")

    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        assert "not installed" in str(listener.wait_for("failed"))
        assert encoder.wanted() == WINDOWS[:1]
    assert not folder.exists()


def test_fault_of_ours_is_told_with_its_traceback(request_):
    def engine():
        raise ZeroDivisionError("by nobody")

    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        error = listener.wait_for("failed")
    assert "ZeroDivisionError('by nobody')" in str(error)
    assert "Traceback" in error.details


def test_full_disk_is_told_and_resume_goes_on(engine, request_, folder, monkeypatch):
    free_bytes = [10**6]
    usage = engine_task.shutil.disk_usage

    class Disk:
        @staticmethod
        def disk_usage(path):
            return usage(path)._replace(free=free_bytes[0])

    monkeypatch.setattr(engine_task, "shutil", Disk)
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:2])
        assert "is full: 1.0 MB are free" in str(listener.wait_for("failed"))
        wait_until(lambda: encoder.waiting == 2)
        free_bytes[0] = 10**12
        encoder.resume()
        listener.wait_for("went_idle")
    assert counts(folder) == {"done": 2}


def test_disk_that_refuses_a_tile_is_told(tmp_path, request_, folder):
    command = fake_engine_command(file_limit=10**6)
    with (
        session_of(command, tmp_path / "log") as full,
        live_encoder(request_, full.client) as (
            encoder,
            listener,
        ),
    ):
        encoder.want(WINDOWS[:1])
        error = listener.wait_for("failed")
        assert isinstance(error, StoreError)
        assert "File too large" in str(error)
    assert counts(folder) == {}


def test_store_of_another_raster_is_refused_and_left_alone(engine, tmp_path, raster, folder):
    encode(raster, OUTPUT=str(folder))
    other = write_raster(tmp_path / "other.tif", noise(2100, 1100, seed=1))
    with live_encoder(demo_request(other, folder), engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        error = listener.wait_for("failed")
        assert isinstance(error, StoreMismatchError)
        assert "its pixels differ" in str(error)
    assert not listener.told("opened")
    assert counts(folder) == {"done": 6}


def test_folder_that_cannot_be_written_is_told(engine, request_, folder):
    folder.write_text("a file is in the way")
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        assert "is a file" in str(listener.wait_for("failed"))
        folder.unlink()
        encoder.resume()
        listener.wait_for("went_idle")


def test_store_on_a_medium_that_became_read_only_is_told(engine, tmp_path, raster):
    place = tmp_path / "read_only"
    with (
        closable_folder(place) as close,
        live_encoder(demo_request(raster, place / "store"), engine) as (
            encoder,
            listener,
        ),
    ):
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
        close()
        encoder.want(WINDOWS[1:2])
        assert "cannot be written" in str(listener.wait_for("failed"))
        assert encoder.wanted() == WINDOWS[1:2]
        assert counts(place / "store") == {"done": 1}


def test_store_that_vanishes_under_a_tile_is_told_and_made_again(gated_engine, gate, request_, folder):
    with live_encoder(request_, gated_engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        gate.wait_until_reached()
        folder.rename(folder.with_name("thrown_away"))
        gate.open()
        assert isinstance(listener.wait_for("failed"), StoreError)
        encoder.resume()
        pass_gate(gate)
        listener.wait_for("went_idle")
    first, second = listener.told("opened")
    assert first.manifest.uuid != second.manifest.uuid
    assert counts(folder) == {"done": 1}


def test_store_stays_where_the_first_click_made_it(engine, raster, tmp_path):
    request = replace(demo_request(raster, None), beside_raster=True)
    with live_encoder(request, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
        # By its name this would now be the store of another raster.
        manifest = tmp_path / "lake.demo.geosam2" / "manifest.json"
        manifest.write_text(manifest.read_text().replace("lake.tif", "pond.tif"))
        encoder.want(WINDOWS[1:2])
        listener.wait_for("went_idle", 2)
    assert [path.name for path in tmp_path.glob("*.geosam2")] == ["lake.demo.geosam2"]


def test_raster_that_is_not_there_is_told(engine, request_, raster):
    raster.rename(raster.with_name("elsewhere.tif"))
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        assert isinstance(listener.wait_for("failed"), RasterReadError)
        raster.with_name("elsewhere.tif").rename(raster)
        encoder.resume()
        listener.wait_for("went_idle")


def test_raster_that_goes_away_marks_no_window_as_failed(engine, request_, raster, folder, monkeypatch):
    read_band = GdalRasterSource.read_values.__globals__["_read_band"]

    def broken(dataset, band, window):
        if not raster.exists():
            raise RasterReadError("The drive is gone.")
        return read_band(dataset, band, window)

    monkeypatch.setitem(GdalRasterSource.read_values.__globals__, "_read_band", broken)
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
        remove = threading.Event()
        read = GdalRasterSource.read

        def removing_read(self, window):
            raster.rename(raster.with_name("elsewhere.tif"))
            remove.set()
            return read(self, window)

        monkeypatch.setattr(GdalRasterSource, "read", removing_read)
        encoder.want(WINDOWS[1:])
        error = listener.wait_for("failed")
        assert isinstance(error, RasterGoneError)
        assert "is no longer there" in str(error)
        wait_until(lambda: encoder.waiting == 5)
    assert counts(folder) == {"done": 1}


def test_error_that_is_kept_keeps_no_raster_open(engine, request_, monkeypatch):
    def broken(dataset, band, window):
        datasets.append(weakref.ref(dataset))
        raise RasterReadError("The block is damaged.")

    datasets = []
    gc.disable()
    try:
        with live_encoder(request_, engine) as (encoder, listener):
            encoder.want(WINDOWS[:1])
            listener.wait_for("went_idle")  # the raster has been sampled
            monkeypatch.setitem(GdalRasterSource.read_values.__globals__, "_read_band", broken)
            encoder.want(WINDOWS[1:3])
            listener.wait_for("went_idle", 2)
            assert "damaged" in str(encoder.problem_of(WINDOWS[1]))
            wait_until(lambda: all(dataset() is None for dataset in datasets))
    finally:
        gc.enable()
    assert len(datasets) == 2


def test_raster_that_changed_between_two_clicks_is_noticed(engine, request_, raster, folder):
    with live_encoder(request_, engine) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
        write_raster(raster, noise(2100, 1100, seed=1))
        os.utime(raster, (1, 1))
        encoder.want(WINDOWS[1:2])
        assert "its pixels differ" in str(listener.wait_for("failed"))
    assert counts(folder) == {"done": 1}


def test_raster_is_sampled_once_for_many_clicks(engine, request_, monkeypatch):
    infos = []
    info = GdalRasterSource.info
    monkeypatch.setattr(GdalRasterSource, "info", lambda self: infos.append(1) or info(self))
    with live_encoder(request_, engine) as (encoder, listener):
        for click in range(3):
            encoder.want([WINDOWS[click]], is_urgent=True)
            listener.wait_for("went_idle", click + 1)
    # Once for the store to be made; once more because the second time the store's stretch is used.
    assert len(infos) <= 2


def test_what_a_tile_takes_is_noted_without_the_first_one(engine, request_):
    noted = []
    with live_encoder(request_, engine, note_pace=lambda *pace: noted.append(pace)) as (encoder, listener):
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
        assert not noted
        encoder.want(WINDOWS[1:4])
        listener.wait_for("went_idle", 2)
    ((model_id, device, seconds),) = noted
    assert (model_id, device) == ("demo", "auto")
    assert 0 < seconds < PATIENCE_S

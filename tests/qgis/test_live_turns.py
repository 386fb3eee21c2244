# SPDX-License-Identifier: GPL-3.0-or-later
"""The live encoder and runs of Processing on one store, whoever comes first."""

from __future__ import annotations

import threading

import pytest

from geo_sam2.encoder import live_run
from geo_sam2.encoder.encode_job import EncodeJob
from geo_sam2.encoder.encode_report import EncodeReport
from geo_sam2.encoder.raster_source import GdalRasterSource
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import StoreLockedError
from geo_sam2.feature_store import FeatureStore
from tests.qgis.encode_runs import Feedback, counts, encode, encoded_windows, noise, write_raster
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.live_runs import PATIENCE_S, demo_request, live_encoder
from tests.unit.gates import Gate

# 3 × 2 windows.
WINDOWS = list(Tiling(2100, 1100))
PLACES = [(window.xoff, window.yoff) for window in WINDOWS]


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "lake.tif", noise(2100, 1100))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lake.demo.geosam2"


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def engine(tmp_path, gate):
    """Return the client of a fake engine that waits at the gate before each window."""
    command = fake_engine_command(journal=tmp_path / "journal", gate=gate.port)
    with session_of(command, tmp_path / "log") as session:
        yield session.client


class Report(EncodeReport):
    """Lets a test wait until the job waits for its turn."""

    def __init__(self):
        super().__init__(Feedback(), lambda: 0.0)
        self.is_waiting = threading.Event()

    def waiting(self, progress):
        super().waiting(progress)
        self.is_waiting.set()


class Watched:
    """A client that says when it has been asked to load the model, which waits for the engine's tile."""

    def __init__(self, client):
        self._client = client
        self.has_asked = threading.Event()

    def request(self, fields, *arrays):
        future = self._client.request(fields, *arrays)
        if fields["type"] == "load_model":
            self.has_asked.set()
        return future


class Job:
    """An encode job on a thread of its own."""

    def __init__(self, request, engine):
        self.report = Report()
        self.engine = Watched(engine())
        self.is_cancelled = threading.Event()
        self.result = None
        self._request = request
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        with EncodeJob(self._request, self.engine, self.report, self.is_cancelled.is_set) as job:
            job.open()
            job.plan()
            self.result = job.run()

    def end(self):
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.result


def journal_of(tmp_path):
    """Return the places of windows in the order in which the engine wrote them."""
    lines = (tmp_path / "journal").read_text().splitlines()
    return [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("encode")]


def pass_gate(gate, times=1):
    for _ in range(times):
        gate.wait_until_reached()
        gate.open()


def test_job_waits_until_nothing_is_wanted_and_encodes_the_rest(engine, gate, raster, folder, tmp_path):
    request = demo_request(raster, folder)
    with live_encoder(request, engine) as (encoder, listener):
        encoder.want(WINDOWS[3:5])
        gate.wait_until_reached()
        job = Job(request, engine)
        assert job.engine.has_asked.wait(PATIENCE_S)
        gate.open()
        gate.wait_until_reached()
        assert job.report.is_waiting.wait(PATIENCE_S)
        gate.open()
        listener.wait_for("went_idle")
        pass_gate(gate, 4)
        result = job.end()
    assert (result.encoded, result.present) == (4, 2)
    assert journal_of(tmp_path)[:2] == PLACES[3:5]
    assert set(encoded_windows(tmp_path / "journal").values()) == {1}
    assert counts(folder) == {"done": 6}


def test_job_lets_a_clicked_window_go_first_and_the_click_is_answered_before_the_job_ends(
    engine, gate, raster, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(live_run, "_LOOK_S", 0.0)
    read, has_read = GdalRasterSource.read, threading.Event()

    def watched(self, window):
        pixels = read(self, window)
        if window == WINDOWS[5]:
            has_read.set()
        return pixels

    monkeypatch.setattr(GdalRasterSource, "read", watched)
    request = demo_request(raster, folder)
    job = Job(request, engine)
    gate.wait_until_reached()  # the engine has two windows, and one more is read
    with live_encoder(request, engine) as (encoder, listener):
        encoder.want([WINDOWS[5]], is_urgent=True)
        # The engine loads the model for the encoder after the windows that it has.
        gate.open()
        pass_gate(gate)
        assert has_read.wait(PATIENCE_S)
        pass_gate(gate, 3)
        assert listener.wait_for("settled") == (*PLACES[5], "done")
        assert job.result is None
        assert listener.told("opened")[0].folder == folder
        pass_gate(gate)
        listener.wait_for("went_idle")
        assert job.end().encoded == 6
    assert journal_of(tmp_path).index(PLACES[5]) < 5
    assert not listener.told("started")  # the job did it
    assert set(encoded_windows(tmp_path / "journal").values()) == {1}


def test_encoder_takes_over_what_a_cancelled_job_leaves(engine, gate, raster, folder, tmp_path):
    request = demo_request(raster, folder)
    job = Job(request, engine)
    gate.wait_until_reached()
    with live_encoder(request, engine) as (encoder, listener):
        encoder.want([WINDOWS[4]])
        job.is_cancelled.set()
        gate.open()
        while job.result is None or not listener.told("settled"):
            if gate.is_reached():
                gate.open()
        listener.wait_for("went_idle")
        assert job.end().is_cancelled
    assert (*PLACES[4], "done") in listener.told("settled")


def test_encoder_that_waits_for_a_job_can_be_closed_and_can_forget(engine, gate, raster, folder):
    request = demo_request(raster, folder)
    job = Job(request, engine)
    gate.wait_until_reached()
    gate.open()
    with live_encoder(request, engine) as (encoder, listener):
        encoder.want([WINDOWS[5]])
        pass_gate(gate)
        gate.wait_until_reached()
        listener.wait_for("opened")  # seen while it waits
        encoder.forget_waiting()
        listener.wait_for("went_idle")
        encoder.want([WINDOWS[5]])
        assert encoder.close(PATIENCE_S)
        assert job.result is None
    gate.open()
    pass_gate(gate, 3)
    assert job.end().encoded == 6


def test_store_made_anew_by_a_job_is_opened_again(raster, folder, tmp_path):
    with session_of(fake_engine_command(), tmp_path / "log") as session:
        request = demo_request(raster, folder)
        with live_encoder(request, session.client) as (encoder, listener):
            encoder.want(WINDOWS[:1])
            listener.wait_for("went_idle")
            _, is_ok, feedback = encode(raster, OUTPUT=str(folder), OVERWRITE=True)
            assert is_ok, feedback.errors
            encoder.want(WINDOWS[:2])
            listener.wait_for("went_idle", 2)
    first, second = listener.told("opened")
    assert first.manifest.uuid != second.manifest.uuid == FeatureStore.open(folder).manifest.uuid
    assert listener.told("started") == PLACES[:1]


def test_idle_encoder_keeps_nobody_from_writing(raster, folder, tmp_path):
    request = demo_request(raster, folder)
    with (
        session_of(fake_engine_command(), tmp_path / "log") as quick,
        live_encoder(request, quick.client) as (encoder, listener),
    ):
        encoder.want(WINDOWS[:1])
        listener.wait_for("went_idle")
        with FeatureStore.open(folder).writer():
            encoder.want(WINDOWS[1:2])
            # A writer of this process that took no turn stands for one of another process.
            error = listener.wait_for("failed")
        assert isinstance(error, StoreLockedError)
        encoder.resume()
        listener.wait_for("went_idle", 2)
    assert counts(folder) == {"done": 2}

# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding into stores that exist, are shared, are full, are read-only, or are somebody else's."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest
from qgis.core import QgsProject, QgsVectorLayer, edit

from geo_sam2.encoder import engine_task
from geo_sam2.encoder.encode_job import EncodeJob
from geo_sam2.encoder.encode_report import EncodeReport
from geo_sam2.encoder.encode_request import EncodeRequest, ModelChoice
from geo_sam2.encoder.raster_source import RasterRequest
from geo_sam2.feature_store import FeatureStore, TileState
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER
from tests.qgis.encode_runs import (
    Feedback,
    arrived,
    counts,
    encode,
    encoded_windows,
    noise,
    refusal,
    write_raster,
)
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.read_only_folders import closable_folder
from tests.unit.gates import Gate

PATIENCE_S = 30


@pytest.fixture
def raster(tmp_path):
    """Return a raster of 3 × 2 windows."""
    return write_raster(tmp_path / "lake.tif", noise(2100, 1100))


@pytest.fixture
def store_folder(tmp_path):
    return tmp_path / "lake.demo.geosam2"


def demo():
    return ModelChoice(DEMO_FOLDER / "demo.safetensors")


def test_second_run_encodes_nothing(fake_engine, raster):
    first, _, _ = encode(raster)
    second, is_ok, feedback = encode(raster)
    assert is_ok
    assert (first["TILES_ENCODED"], second["TILES_ENCODED"], second["TILES"]) == (6, 0, 6)
    assert set(encoded_windows(fake_engine).values()) == {1}
    assert "All 6 tiles are in the store already." in feedback.lines


def test_cancelled_run_says_it_is_partial_and_goes_on(fake_engine, raster, store_folder):
    results, is_ok, feedback = encode(raster, Feedback(cancel_at=30))
    assert is_ok
    assert results["IS_PARTIAL"] is True
    assert 2 <= results["TILES_ENCODED"] <= 4
    assert results["TILES_LEFT"] == 6 - results["TILES_ENCODED"]
    assert any(line.startswith("Cancelled:") for line in feedback.lines)
    store = FeatureStore.open(store_folder)
    assert store.is_partial
    assert counts(store_folder) == {"done": results["TILES_ENCODED"], "pending": results["TILES_LEFT"]}
    again, _, _ = encode(raster)
    assert again["TILES_ENCODED"] == results["TILES_LEFT"]
    assert not FeatureStore.open(store_folder).is_partial
    assert set(encoded_windows(fake_engine).values()) == {1}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_cancel_within_one_batch(tmp_path, raster, store_folder, batch_size):
    """A window takes for ever; cancel does not wait for it."""
    with session_of(fake_engine_command(seconds=1000), tmp_path / "log"):
        feedback = Feedback()
        thread = threading.Timer(1.0, feedback.cancel)
        thread.start()
        results, is_ok, _ = encode(raster, feedback, BATCH_SIZE=batch_size)
        thread.join()
    assert is_ok
    assert (results["TILES_ENCODED"], results["TILES_LEFT"]) == (0, 6)
    assert counts(store_folder) == {"pending": 6}


def test_cancel_before_the_store_exists_leaves_none(fake_engine, raster, store_folder):
    feedback = Feedback()
    feedback.cancel()
    results, is_ok, _ = encode(raster, feedback)
    assert is_ok
    assert "OUTPUT" not in results
    assert not store_folder.exists()


def test_bands_and_range_left_unset_are_those_of_the_store(fake_engine, tmp_path):
    values = np.random.default_rng(0).integers(0, 4000, (4, 1100, 1500), np.uint16)
    raster = write_raster(tmp_path / "four.tif", values)
    folder = tmp_path / "mine"
    half = "500000,501000,4999000,5000000 [EPSG:32633]"
    first, is_ok, feedback = encode(raster, OUTPUT=str(folder), BANDS=[4, 2], RANGE=[0, 4000], EXTENT=half)
    assert is_ok, feedback.errors
    again, is_ok, feedback = encode(raster, OUTPUT=str(folder))
    assert is_ok, feedback.errors
    assert first["TILES_ENCODED"] + again["TILES_ENCODED"] == again["TILES"] == 4
    wanted = np.rint(values[[3, 1, 3]] * (255 / 4000)).astype(np.uint8).transpose(1, 2, 0)
    for (x, y), tile in arrived(folder).items():
        np.testing.assert_array_equal(tile, wanted[y : y + 1024, x : x + 1024])


def test_other_bands_or_range_on_a_store_are_refused_by_name(fake_engine, tmp_path):
    raster = write_raster(tmp_path / "four.tif", noise(40, 40, bands=4))
    folder = str(tmp_path / "mine")
    encode(raster, OUTPUT=folder, BANDS=[4, 2, 1])
    assert "bands 4, 2, 1 instead of 1, 2, 3" in refusal(raster, OUTPUT=folder, BANDS=[1, 2, 3])
    assert "stretched" in refusal(raster, OUTPUT=folder, RANGE=[0, 100])
    assert encode(raster, OUTPUT=folder)[1]


def test_store_of_another_raster_or_model_is_refused_and_left_alone(
    fake_engine, tmp_path, raster, store_folder
):
    encode(raster)
    before = arrived(store_folder)
    other = write_raster(tmp_path / "other.tif", noise(2100, 1100, seed=1))
    assert "its pixels differ" in refusal(other, OUTPUT=str(store_folder))
    larger = write_raster(tmp_path / "larger.tif", noise(2100, 1101))
    assert "2100 × 1100 pixels instead of 2100 × 1101" in refusal(larger, OUTPUT=str(store_folder))
    moved = write_raster(tmp_path / "moved.tif", noise(2100, 1100), (500002, 2, 0, 5000000, 0, -2))
    assert "a place that differs by 1 pixels" in refusal(moved, OUTPUT=str(store_folder))
    weights = shutil.copy(DEMO_FOLDER / "demo.safetensors", tmp_path / "fine_tuned.safetensors")
    text = refusal(raster, OUTPUT=str(store_folder), CHECKPOINT=str(weights))
    assert "the model is demo instead of tiny-" in text
    assert {place: tile.tobytes() for place, tile in arrived(store_folder).items()} == {
        place: tile.tobytes() for place, tile in before.items()
    }


def test_overwrite_makes_the_store_anew_and_keeps_the_old_one_until_then(
    fake_engine, tmp_path, raster, store_folder
):
    encode(raster)
    other = write_raster(tmp_path / "other.tif", noise(2100, 1100, seed=1))
    cancelled, is_ok, feedback = encode(
        other, Feedback(cancel_at=30), OUTPUT=str(store_folder), OVERWRITE=True
    )
    assert is_ok, feedback.errors
    assert cancelled["IS_PARTIAL"] is True
    # The old one is back, whole.
    assert counts(store_folder) == {"done": 6}
    np.testing.assert_array_equal(
        arrived(store_folder)[0, 0], noise(2100, 1100)[:, :1024, :1024].transpose(1, 2, 0)
    )
    results, is_ok, feedback = encode(other, OUTPUT=str(store_folder), OVERWRITE=True)
    assert is_ok, feedback.errors
    assert results["TILES_ENCODED"] == 6 - cancelled["TILES_ENCODED"]  # the cancelled one went on
    wanted = noise(2100, 1100, seed=1)[:, :1024, :1024].transpose(1, 2, 0)
    np.testing.assert_array_equal(arrived(store_folder)[0, 0], wanted)
    assert sorted(path.name for path in tmp_path.glob("lake.demo*")) == ["lake.demo.geosam2"]


def test_empty_windows_cost_no_encoding(fake_engine, tmp_path):
    values = noise(2100, 1100, bands=1)
    values[values == 0] = 1
    values[:, :, 1024:] = 0
    raster = write_raster(tmp_path / "strip.tif", values, nodata=0)
    results, _, _ = encode(raster)
    assert (results["TILES"], results["TILES_ENCODED"], results["TILES_EMPTY"]) == (6, 2, 4)
    assert results["IS_PARTIAL"] is False
    again, _, _ = encode(raster)
    assert again["TILES_EMPTY"] == 0


def test_window_that_gives_no_features_is_marked_and_tried_again(tmp_path, raster, store_folder):
    command = fake_engine_command(journal=tmp_path / "j", fail="FeatureValueError:1024:0")
    with session_of(command, tmp_path / "log"):
        results, is_ok, feedback = encode(raster, BATCH_SIZE=4)
    assert is_ok
    assert (results["TILES_ENCODED"], results["TILES_FAILED"]) == (5, 1)
    assert any("column 1024, row 0 failed" in line for line in feedback.lines)
    assert counts(store_folder) == {"done": 5, "failed": 1}
    with session_of(fake_engine_command(), tmp_path / "log"):
        again, _, _ = encode(raster)
    assert again["TILES_ENCODED"] == 1
    assert counts(store_folder) == {"done": 6}


def test_damaged_tile_is_encoded_again(fake_engine, raster, store_folder):
    encode(raster)
    store = FeatureStore.open(store_folder)
    record = store.tile_at(10, 10)
    os.truncate(store.tile_path(record.file), 5000)
    again, is_ok, _ = encode(raster)
    assert is_ok
    assert again["TILES_ENCODED"] == 1
    np.testing.assert_array_equal(
        arrived(store_folder)[0, 0], noise(2100, 1100)[:, :1024, :1024].transpose(1, 2, 0)
    )


def test_lost_index_is_rebuilt_and_nothing_encoded_twice(fake_engine, raster, store_folder):
    encode(raster)
    (store_folder / "tiles.gpkg").unlink()
    again, is_ok, _ = encode(raster)
    assert is_ok
    assert again["TILES_ENCODED"] == 0
    assert counts(store_folder) == {"done": 6}


def test_index_in_edit_mode_in_qgis_during_an_encode(fake_engine, raster, store_folder):
    encode(raster, EXTENT="500000,500100,4999900,5000000 [EPSG:32633]")
    layer = QgsVectorLayer(f"{store_folder / 'tiles.gpkg'}|layername=tiles", "tiles", "ogr")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    with edit(layer):
        feature = next(layer.getFeatures())
        layer.changeAttributeValue(feature.id(), layer.fields().indexOf("seconds"), 77.5)
        results, is_ok, feedback = encode(raster)
        assert is_ok, feedback.errors
        assert results["TILES_ENCODED"] == 5
    QgsProject.instance().removeAllMapLayers()
    assert counts(store_folder) == {"done": 6}
    rows = sqlite3.connect(store_folder / "tiles.gpkg").execute("SELECT seconds FROM tiles").fetchall()
    assert (77.5,) in rows


def test_two_encodes_at_once_in_one_process_join(tmp_path, raster, store_folder):
    journal = tmp_path / "journal"
    with session_of(fake_engine_command(journal=journal, seconds=0.1), tmp_path / "log") as session:
        engine = session.client()
        request = EncodeRequest(RasterRequest(str(raster)), demo(), store_folder, tmp_path)
        results, feedbacks = {}, {}

        def run(name):
            feedbacks[name] = Feedback()
            report = EncodeReport(feedbacks[name], lambda: 0.0)
            with EncodeJob(request, engine, report, lambda: False) as job:
                job.open()
                job.plan()
                results[name] = job.run()

        threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert sorted((result.encoded, result.present) for result in results.values()) == [(0, 6), (6, 0)]
    joined = next(name for name, result in results.items() if not result.encoded)
    assert any("joined" in line for line in feedbacks[joined].lines)
    assert set(encoded_windows(journal).values()) == {1}
    assert counts(store_folder) == {"done": 6}


def test_job_that_joined_goes_on_where_the_first_is_cancelled(tmp_path, raster, store_folder):
    journal = tmp_path / "journal"
    is_first_cancelled, has_begun = threading.Event(), threading.Event()
    results = {}

    class First(EncodeReport):
        def progressed(self, progress):
            super().progressed(progress)
            if progress.done >= 1:
                has_begun.set()

    class Second(EncodeReport):
        def waiting(self, progress):
            is_first_cancelled.set()

    with session_of(fake_engine_command(journal=journal, seconds=0.2), tmp_path / "log") as session:
        engine = session.client()
        request = EncodeRequest(RasterRequest(str(raster)), demo(), store_folder, tmp_path)

        def run(name, report, is_cancelled):
            with EncodeJob(request, engine, report, is_cancelled) as job:
                job.open()
                job.plan()
                results[name] = job.run()

        first = threading.Thread(
            target=run, args=("first", First(Feedback(), lambda: 0.0), is_first_cancelled.is_set)
        )
        first.start()
        assert has_begun.wait(PATIENCE_S)
        run("second", Second(Feedback(), lambda: 0.0), lambda: False)
        first.join(PATIENCE_S)
    assert results["first"].is_cancelled
    assert results["first"].encoded + results["second"].encoded == 6
    assert counts(store_folder) == {"done": 6}


def test_overwriting_what_another_run_encodes_is_refused(tmp_path, raster, store_folder):
    texts = []
    with session_of(fake_engine_command(seconds=0.1), tmp_path / "log") as session:
        engine = session.client()

        class Report(EncodeReport):
            def progressed(self, progress):
                if progress.done == 1:
                    texts.append(refusal(raster, OVERWRITE=True))

        request = EncodeRequest(RasterRequest(str(raster)), demo(), store_folder, tmp_path)
        with EncodeJob(request, engine, Report(Feedback(), lambda: 0.0), lambda: False) as job:
            job.open()
            job.plan()
            assert job.run().encoded == 6
    assert "is being encoded by another run in this QGIS" in texts[0]


_HOLD_LOCK = """
import sys
from pathlib import Path
from geo_sam2.feature_store import FeatureStore
with FeatureStore.open(Path(sys.argv[1])).writer():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_that_writes_is_named(fake_engine, raster, store_folder):
    encode(raster, Feedback(cancel_at=30))
    before = counts(store_folder)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(store_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        text = refusal(raster)
        assert f"is being written by process {holder.pid}" in text
        assert counts(store_folder) == before
    finally:
        holder.communicate("")
    assert encode(raster)[0]["IS_PARTIAL"] is False


def test_full_disk_ends_with_a_sentence_and_loses_nothing(tmp_path, raster, store_folder):
    # 6.3 MB a tile: no file may be longer than one megabyte.
    with session_of(fake_engine_command(file_limit=10**6), tmp_path / "log"):
        text = refusal(raster)
    assert "cannot be written: File too large" in text
    assert counts(store_folder) == {"pending": 6}
    assert not list(store_folder.rglob("*.tmp"))
    with session_of(fake_engine_command(), tmp_path / "log"):
        assert encode(raster)[0]["TILES_ENCODED"] == 6


def test_disk_that_fills_up_is_not_filled_to_the_last_byte(fake_engine, raster, store_folder, monkeypatch):
    usage = shutil.disk_usage(raster.parent)
    free = iter([10**12] * 3 + [10**6] * 100)

    class Disk:
        @staticmethod
        def disk_usage(_):
            return usage._replace(free=next(free))

    monkeypatch.setattr(engine_task, "shutil", Disk)
    text = refusal(raster)
    assert "is full: 1.0 MB are free" in text
    assert "goes on where it stopped" in text
    # What was under way when the disk was found full is recorded, or was not encoded at all.
    found = counts(store_folder)
    assert found.get("done", 0) == len(encoded_windows(fake_engine))
    assert found.get("done", 0) + found["pending"] == 6


def test_disk_too_small_for_all_is_warned_of_before_the_first_tile(fake_engine, raster, monkeypatch):
    from geo_sam2.encoder import encode_job

    usage = shutil.disk_usage(raster.parent)

    class Disk:
        @staticmethod
        def disk_usage(_):
            return usage._replace(free=30 * 10**6)

    monkeypatch.setattr(encode_job, "shutil", Disk)
    _, is_ok, feedback = encode(raster)
    assert is_ok
    assert any(
        "6 tiles to encode: up to 37.8 MB on disk, 30.0 MB are free." in line for line in feedback.lines
    )
    assert any("The disk may become full" in warning for warning in feedback.warnings)


@pytest.fixture
def read_only(tmp_path):
    """Return a folder and what closes it to writers."""
    folder = tmp_path / "read_only"
    with closable_folder(folder) as close:
        yield folder, close


def test_read_only_folder(fake_engine, read_only, tmp_path, monkeypatch):
    """The store of a raster that lies there goes to the stores folder; else there is a sentence."""
    from geo_sam2 import settings

    folder, close = read_only
    raster = write_raster(folder / "lake.tif", noise(2100, 1100))
    partial = folder / "partial.geosam2"
    encode(raster, Feedback(cancel_at=30), OUTPUT=str(partial))
    close()
    text = refusal(raster, OUTPUT=str(partial))
    assert "cannot be written" in text
    assert "cannot be made" in refusal(raster, OUTPUT=str(folder / "new.geosam2"))
    settings.set_stores_folder(tmp_path / "stores")
    try:
        results, is_ok, feedback = encode(raster)
    finally:
        settings.set_stores_folder(None)
    assert is_ok, feedback.errors
    assert results["OUTPUT"].startswith(str(tmp_path / "stores" / "lake."))
    assert results["TILES_ENCODED"] == 6


def test_manifest_of_the_future_is_refused(fake_engine, raster, store_folder):
    encode(raster)
    manifest = store_folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 2'))
    assert "has format version 2" in refusal(raster)


def test_raster_that_goes_away_ends_the_run(fake_engine, tmp_path, store_folder, monkeypatch):
    from geo_sam2.encoder.raster_source import GdalRasterSource
    from geo_sam2.errors import RasterReadError

    raster = write_raster(tmp_path / "lake.tif", noise(1030, 12000, bands=1))
    read = GdalRasterSource.read

    def broken(self, window):
        if window.yoff >= 1024:
            raise RasterReadError("The network is gone.")
        return read(self, window)

    monkeypatch.setattr(GdalRasterSource, "read", broken)
    assert "The network is gone" in refusal(raster)
    found = counts(store_folder)
    assert found["failed"] == 8
    assert found.get("done", 0) + found["pending"] == 16


def test_pending_windows_are_in_the_index_before_the_first_tile(tmp_path, raster, store_folder):
    gate, is_cancelled = Gate(), threading.Event()
    with session_of(fake_engine_command(gate=gate.port), tmp_path / "log") as session:
        request = EncodeRequest(RasterRequest(str(raster)), demo(), store_folder, tmp_path)
        with EncodeJob(
            request, session.client(), EncodeReport(Feedback(), lambda: 0.0), is_cancelled.is_set
        ) as job:
            job.open()
            job.plan()
            run = threading.Thread(target=job.run)
            run.start()
            gate.wait_until_reached()
            assert FeatureStore.open(store_folder).index.counts()[TileState.PENDING] == 6
            is_cancelled.set()
            session.end()
            run.join(PATIENCE_S)
    gate.close()

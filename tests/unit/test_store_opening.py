# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store an encode writes to, and that an old one is there until a new one is whole."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from store_maker import MODEL, SOURCE, check_whole_tiles, encode, encode_some

from geo_sam2.encoder.stretch import Stretch
from geo_sam2.errors import StoreError, StoreExistsError, StoreLockedError, StoreMismatchError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.grid import PixelGrid
from geo_sam2.store_lock import WriterLock
from geo_sam2.store_opening import store_for_encoding, undo_overwriting

ROOT = Path(__file__).resolve().parents[2]
OTHER = replace(SOURCE, fingerprint="other pixels")
THIRD = replace(SOURCE, fingerprint="third pixels")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lake.tiny.geosam2"


@pytest.fixture
def old(folder):
    """A whole store that is to be overwritten."""
    store = store_for_encoding(folder, MODEL, SOURCE)
    encode(store)
    return store


def names(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def is_old(folder, old):
    store = FeatureStore.open(folder)
    check_whole_tiles(store)
    return store.manifest.uuid == old.manifest.uuid and not store.is_partial


GRID = PixelGrid(3000, 2000, (500000.0, 0.5, 0.0, 4100000.0, 0.0, -0.5), "WKT", "EPSG:32612")
MAPPED = replace(SOURCE, grid=GRID, stretch=Stretch("linear", (0.0,) * 3, (3000.0,) * 3), fingerprint="aa")
DIFFERENCES = {
    "size": ({"grid": replace(GRID, width=3001)}, "3000 × 2000 pixels instead of 3001 × 2000"),
    "place": ({"grid": replace(GRID, geotransform=(500001.0, *GRID.geotransform[1:]))}, "place"),
    "crs": ({"grid": replace(GRID, crs_authid="EPSG:32613")}, "EPSG:32612 instead of EPSG:32613"),
    "no crs": ({"grid": replace(GRID, crs_wkt="", crs_authid="")}, "CRS"),
    "bands": ({"bands": (3, 2, 1)}, "bands 1, 2, 3 instead of 3, 2, 1"),
    "stretch": (
        {"stretch": Stretch("linear", (0.0,) * 3, (3001.0,) * 3)},
        "from 0–3000, 0–3000, 0–3000 instead of from 0–3001",
    ),
    "no stretch": ({"stretch": Stretch.none()}, "instead of not at all"),
    "nodata": ({"nodata_rule": "value 0"}, "nodata rule is “none” instead of “value 0”"),
    "pixels": ({"fingerprint": "bb"}, "its pixels differ"),
}


@pytest.mark.parametrize(("changes", "sentence"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_store_of_something_else_is_refused_with_the_difference(folder, changes, sentence):
    store = FeatureStore.create(folder, MODEL, MAPPED)
    with pytest.raises(StoreMismatchError) as caught:
        store_for_encoding(folder, MODEL, replace(MAPPED, **changes))
    assert sentence in caught.value.text
    assert "overwritten" in caught.value.hint
    assert FeatureStore.open(folder).manifest == store.manifest


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (replace(MODEL, id="large"), "the model is tiny instead of large"),
        (replace(MODEL, checkpoint_sha256="1" * 64), "the weights of the model tiny differ"),
        (replace(MODEL, config="x.yaml"), "the settings of the model tiny differ"),
    ],
)
def test_store_of_another_model_is_refused_with_the_difference(folder, model, sentence):
    FeatureStore.create(folder, MODEL, SOURCE)
    with pytest.raises(StoreMismatchError, match=sentence):
        store_for_encoding(folder, model, SOURCE)


def test_where_the_raster_lies_and_how_old_its_file_is_make_no_difference(folder):
    FeatureStore.create(folder, MODEL, MAPPED)
    moved = replace(MAPPED, path_absolute="/elsewhere/lake.tif", size_bytes=9, modified=7.0)
    nearly = replace(moved, stretch=Stretch("linear", (1e-7,) * 3, (3000.0000001,) * 3))
    wkt = replace(nearly, grid=replace(GRID, crs_wkt="WKT of another PROJ"))
    assert store_for_encoding(folder, MODEL, wkt).manifest.source == MAPPED


def test_new_store_is_made_and_goes_on(folder):
    first = store_for_encoding(folder, MODEL, SOURCE, software={"gdal": "3.6.2"})
    assert first.manifest.software["gdal"] == "3.6.2"
    assert {"python", "numpy", "sqlite"} < set(first.manifest.software)
    assert store_for_encoding(folder, MODEL, SOURCE).manifest == first.manifest


@pytest.mark.parametrize("name", ["notes.txt", "tiles/0/x00000000_y00000000.1.safetensors"])
def test_folder_with_something_else_is_refused(folder, name):
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(StoreError, match="other files"):
        store_for_encoding(folder, MODEL, SOURCE)
    assert (folder / name).read_text() == "mine"


def test_what_a_killed_creation_left_is_used(folder):
    (folder / "tiles").mkdir(parents=True)
    (folder / "manifest.json.4711.tmp").write_text("{")
    (folder / "writer.lock").write_text("{")
    encode(store_for_encoding(folder, MODEL, SOURCE))
    assert not FeatureStore.open(folder).is_partial


def test_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "lake.tif").write_text("raster")
    for folder in (tmp_path / "lake.tif", tmp_path / "lake.tif" / "lake.geosam2"):
        with pytest.raises(StoreError, match="cannot be made"):
            store_for_encoding(folder, MODEL, SOURCE)


def test_store_that_another_process_has_just_made_is_joined(folder, monkeypatch):
    create = FeatureStore.create

    def too_late(*args):
        create(*args)
        return create(*args)

    monkeypatch.setattr(FeatureStore, "create", too_late)
    with pytest.raises(StoreExistsError):
        FeatureStore.create(folder.with_name("x.geosam2"), MODEL, SOURCE)
    assert store_for_encoding(folder, MODEL, SOURCE).folder == folder


def test_creation_that_comes_second_leaves_the_first_one_alone(folder, monkeypatch):
    first = []

    class LateLock(WriterLock):
        def take(self):
            monkeypatch.setattr("geo_sam2.feature_store.WriterLock", WriterLock)
            first.append(FeatureStore.create(folder, MODEL, SOURCE))
            super().take()

    monkeypatch.setattr("geo_sam2.feature_store.WriterLock", LateLock)
    with pytest.raises(StoreExistsError):
        FeatureStore.create(folder, MODEL, SOURCE)
    assert FeatureStore.open(folder).manifest == first[0].manifest


def test_old_store_waits_aside_until_the_new_one_is_whole(folder, old):
    new = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    assert names(folder) == [folder.name, folder.name + ".replaced"]
    encode_some(new, 2)
    assert is_old(folder.with_name(folder.name + ".replaced"), old)
    encode(new)
    assert names(folder) == [folder.name]
    assert FeatureStore.open(folder).manifest.source.fingerprint == "other pixels"


def test_old_store_comes_back_when_the_new_one_fails(folder, old):
    new = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    with pytest.raises(ZeroDivisionError), new.writer() as writer:
        writer.add_pending(list(new.tiling)[:1])
        _ = 1 / 0
    assert undo_overwriting(folder)
    assert is_old(folder, old)
    assert not undo_overwriting(folder)


def test_overwriting_goes_on_where_it_failed(folder, old):
    new = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    encode_some(new, 2)
    undo_overwriting(folder)
    again = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    assert again.manifest.uuid == new.manifest.uuid
    assert encode(again) == list(new.tiling)[2:]
    assert names(folder) == [folder.name]


def test_overwriting_that_was_interrupted_goes_on_without_being_undone(folder, old):
    new = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    encode_some(new, 1)
    again = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    assert again.manifest.uuid == new.manifest.uuid
    encode(again)
    assert names(folder) == [folder.name]


def test_overwriting_with_something_else_again_keeps_the_oldest(folder, old):
    new = store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    encode_some(new, 1)
    third = store_for_encoding(folder, MODEL, THIRD, overwrite=True)
    assert third.manifest.source.fingerprint == "third pixels"
    assert is_old(folder.with_name(folder.name + ".replaced"), old)
    undo_overwriting(folder)
    assert is_old(folder, old)


def test_same_store_is_overwritten_too(folder, old):
    new = store_for_encoding(folder, MODEL, SOURCE, overwrite=True)
    assert new.manifest.uuid != old.manifest.uuid
    assert len(encode(new)) == 6
    assert names(folder) == [folder.name]


def test_store_that_cannot_be_read_is_overwritten(folder, old):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        store_for_encoding(folder, MODEL, SOURCE)
    encode(store_for_encoding(folder, MODEL, SOURCE, overwrite=True))
    assert names(folder) == [folder.name]


def test_store_that_is_being_written_is_not_overwritten(folder, old):
    with old.writer(), pytest.raises(StoreLockedError):
        store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    assert is_old(folder, old)


def test_old_store_stays_in_place_when_the_new_one_cannot_take_it(folder, old, monkeypatch):
    rename = Path.rename

    def held(self, target):
        if self.name.endswith(".unfinished"):
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr("geo_sam2.store_aside._PATIENCE_S", 0.05)
    monkeypatch.setattr(Path, "rename", held)
    with pytest.raises(StoreError, match="cannot be moved"):
        store_for_encoding(folder, MODEL, OTHER, overwrite=True)
    assert (folder / "manifest.json").exists()
    assert is_old(folder, old)


def test_store_aside_is_brought_back_when_its_replacement_was_killed(folder, old):
    folder.rename(folder.with_name(folder.name + ".replaced"))
    assert is_old(folder, old)
    assert names(folder) == [folder.name]


REPLACE = """
import sys, time
sys.path[:0] = sys.argv[1:3]
from dataclasses import replace
from pathlib import Path
from store_maker import MODEL, SOURCE, encode_some
from geo_sam2.store_opening import store_for_encoding, undo_overwriting
folder = Path(sys.argv[3])
while True:
    print("round", flush=True)
    source = replace(SOURCE, fingerprint=str(time.time_ns()))
    encode_some(store_for_encoding(folder, MODEL, source, overwrite=True), 1)
    undo_overwriting(folder)
"""


def test_old_store_survives_kills_at_any_instant_of_being_replaced(folder, old):
    chance = random.Random(5)  # noqa: S311
    command = [sys.executable, "-c", REPLACE, str(ROOT), str(ROOT / "tests" / "unit"), str(folder)]
    seen = set()
    for _ in range(12):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(chance.randint(1, 4)):
                assert process.stdout.readline() == "round\n"
            time.sleep(chance.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        seen.add(tuple(names(folder)))
        places = [folder, folder.with_name(folder.name + ".replaced")]
        manifests = [FeatureStore.open(place).manifest.uuid for place in places if place.is_dir()]
        assert old.manifest.uuid in manifests
    assert len(seen) > 1
    undo_overwriting(folder)
    assert is_old(folder, old)


def test_leftovers_of_a_removal_go_with_the_next_one(folder, old):
    removing = folder.with_name(folder.name + ".replaced.removing")
    shutil.copytree(folder, removing)
    encode(store_for_encoding(folder, MODEL, OTHER, overwrite=True))
    assert names(folder) == [folder.name]

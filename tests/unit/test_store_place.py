# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a raster's store goes, and how the stores of a raster are found again."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from store_maker import MODEL, SOURCE

from geo_sam2.feature_store import FeatureStore
from geo_sam2.store_place import (
    _mounted_type,
    default_store_folder,
    find_stores,
    is_in_temporary_folder,
    is_on_this_computer,
    stores_for,
)

RGB = (1, 2, 3)


@pytest.fixture
def user_folder(tmp_path):
    return tmp_path / "user" / "stores"


@pytest.fixture
def raster(tmp_path):
    path = tmp_path / "images" / "lake.tif"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def place(raster, user_folder, model="tiny", bands=RGB, **options):
    return default_store_folder(str(raster), model, bands, RGB, user_folder, **options)


def source_of(raster, fingerprint="aa"):
    facts = raster.stat()
    return replace(
        SOURCE,
        path_absolute=str(raster),
        size_bytes=facts.st_size,
        modified=facts.st_mtime,
        fingerprint=fingerprint,
    )


def refuse(source):
    raise AssertionError("the pixels need not be looked at")


def test_store_lies_beside_the_raster(raster, user_folder):
    assert place(raster, user_folder) == raster.with_name("lake.tiny.geosam2")
    assert place(raster, user_folder, bands=(4, 3, 2)) == raster.with_name("lake.tiny.b4-3-2.geosam2")
    assert place(raster, user_folder, bands=(2,), model="large") == raster.with_name("lake.large.b2.geosam2")


def test_relative_raster_gets_an_absolute_place(raster, user_folder, monkeypatch):
    monkeypatch.chdir(raster.parent)
    assert place("lake.tif", user_folder) == raster.with_name("lake.tiny.geosam2")


def test_rasters_of_one_stem_have_stores_of_their_own(raster, user_folder):
    FeatureStore.create(place(raster, user_folder), MODEL, source_of(raster))
    sibling = raster.with_suffix(".jp2")
    sibling.write_bytes(b"pixels")
    assert place(sibling, user_folder) == raster.with_name("lake.jp2.tiny.geosam2")
    assert place(raster, user_folder) == raster.with_name("lake.tiny.geosam2")


@pytest.mark.parametrize(
    "name",
    [
        "/vsizip/images.zip/lake.tif",
        "/vsicurl/https://example.org/lake.tif?token=1",
        'NETCDF:"/data/lake.nc":temperature',
        "WMS:https://example.org/?layers=a",
        "",
        "https://example.org/lake.tif\0",
        "ünïcode/läke.tif",
    ],
)
def test_raster_that_is_no_file_has_its_store_in_the_users_folder(name, user_folder):
    folder = place(name, user_folder)
    assert folder.parent == user_folder
    assert folder.name.endswith(".tiny.geosam2")
    assert not set('<>:"/\\|?*\0') & set(folder.name)
    assert place(name, user_folder) == folder
    assert place(name + "x", user_folder) != folder


def test_raster_on_a_network_drive_has_its_store_in_the_users_folder(raster, user_folder):
    folder = place(raster, user_folder, is_local=lambda _: False)
    assert folder.parent == user_folder
    assert folder.name.startswith("lake.")
    other = raster.parent / "more" / "lake.tif"
    other.parent.mkdir()
    other.write_bytes(b"pixels")
    assert place(other, user_folder, is_local=lambda _: False) != folder


def test_raster_on_a_read_only_disk_has_its_store_in_the_users_folder(raster, user_folder, monkeypatch):
    monkeypatch.setattr("geo_sam2.store_place.can_write", lambda folder: folder != raster.parent)
    assert place(raster, user_folder).parent == user_folder


def test_long_name_is_cut_and_stays_unique(tmp_path, user_folder):
    rasters = [tmp_path / (("ü" * 110) + letter + ".tif") for letter in "ab"]
    for raster in rasters:
        raster.write_bytes(b"pixels")
    names = {place(raster, user_folder).name for raster in rasters}
    assert len(names) == 2
    for name in names:
        assert len(name.encode()) < 200
        FeatureStore.create(tmp_path / name, MODEL, SOURCE)


def test_stores_of_a_raster_are_believed_by_place_size_and_time(raster, user_folder):
    made = [
        FeatureStore.create(raster.with_name(name), MODEL, source_of(raster))
        for name in ("lake.tiny.geosam2", "other name.geosam2")
    ]
    made.append(FeatureStore.create(user_folder / "lake.geosam2", MODEL, source_of(raster)))
    found = stores_for(str(raster), user_folder, refuse)
    assert [store.manifest.uuid for store in found] == [store.manifest.uuid for store in made]


def test_raster_that_changed_is_asked_for_its_pixels(raster, user_folder):
    store = FeatureStore.create(raster.with_name("lake.tiny.geosam2"), MODEL, source_of(raster))
    os.utime(raster, (1, 1))
    asked = []

    def fingerprint(source):
        asked.append(source)
        return "aa"

    assert len(stores_for(str(raster), user_folder, fingerprint)) == 1
    assert asked == [store.manifest.source]
    assert stores_for(str(raster), user_folder, lambda source: "bb") == []
    assert stores_for(str(raster), user_folder, lambda source: None) == []


def test_pixels_are_asked_once_for_each_grid_and_bands(raster, user_folder):
    for number, bands in enumerate([RGB, RGB, (1,)]):
        source = replace(source_of(raster), bands=bands, fingerprint="".join(map(str, bands)), modified=1.0)
        FeatureStore.create(raster.with_name(f"{number}.geosam2"), MODEL, source)
    asked = []

    def fingerprint(source):
        asked.append(source.bands)
        return "".join(map(str, source.bands))

    assert len(stores_for(str(raster), user_folder, fingerprint)) == 3
    assert asked == [RGB, (1,)]


def test_store_moved_with_its_raster_finds_it_beside(raster, user_folder, tmp_path):
    FeatureStore.create(raster.with_name("lake.tiny.geosam2"), MODEL, source_of(raster))
    laptop = tmp_path / "laptop"
    shutil.copytree(raster.parent, laptop)
    shutil.rmtree(raster.parent)
    (store,) = find_stores([laptop])
    assert store.locate_source() == str(laptop / "lake.tif")
    assert len(stores_for(str(laptop / "lake.tif"), user_folder, refuse)) == 1
    (laptop / "lake.tif").unlink()
    assert store.locate_source() is None


def test_raster_that_moved_alone_is_remembered_at_its_new_place(raster, tmp_path):
    store = FeatureStore.create(raster.with_name("lake.tiny.geosam2"), MODEL, source_of(raster))
    moved = tmp_path / "archive.tif"
    shutil.move(raster, moved)
    assert store.locate_source() is None
    store.remember_source(source_of(moved))
    again = FeatureStore.open(store.folder)
    assert again.locate_source() == str(moved)
    assert again.manifest.source.path_relative == "../../archive.tif"
    assert again.manifest.source.grid == SOURCE.grid


def test_what_is_no_store_is_passed_over(raster, user_folder):
    raster.with_name("broken.geosam2").mkdir()
    (raster.with_name("broken.geosam2") / "manifest.json").write_text("{")
    raster.with_name("file.geosam2").write_text("x")
    assert find_stores([raster.parent, user_folder, Path("/nowhere")]) == []


def test_temporary_folder_is_known(tmp_path):
    assert is_in_temporary_folder(Path(tempfile.gettempdir()) / "a" / "lake.geosam2")
    assert not is_in_temporary_folder(Path("/somewhere/lake.geosam2"))
    assert is_in_temporary_folder(Path("/somewhere/lake.geosam2"), [Path("/somewhere")])
    assert not is_in_temporary_folder(Path("/somewhere else"), [Path("/somewhere")])


MOUNTS = """/dev/sda1 / ext4 rw 0 0
server:/export /data nfs4 rw 0 0
/dev/sdb1 /data/local ext4 rw 0 0
//nas/photos /mnt/my\\040photos cifs rw 0 0
old /twice ext4 rw 0 0
new /twice nfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "ext4"),
        ("/data", "nfs4"),
        ("/data/x/y", "nfs4"),
        ("/database", "ext4"),
        ("/data/local/x", "ext4"),
        ("/mnt/my photos/2026", "cifs"),
        ("/twice", "nfs"),
    ],
)
def test_mount_that_holds_a_folder_is_found(folder, kind):
    assert _mounted_type(Path(folder), MOUNTS) == kind


def test_this_folder_is_on_this_computer(tmp_path):
    assert is_on_this_computer(tmp_path)

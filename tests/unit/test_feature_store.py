# SPDX-License-Identifier: GPL-3.0-or-later
"""The store's folder, manifest and names; what is read is not trusted."""

from __future__ import annotations

import json

import pytest

from geo_sam2.atomic_file import write_atomically
from geo_sam2.errors import StoreError, WindowError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.model_info import DecoderSettings, FeatureShapes, ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_manifest import StoreManifest
from geo_sam2.tile_window import TileWindow, read_tile_window

MODEL = ModelInfo(
    id="tiny",
    architecture="tiny",
    config="sam2.1_hiera_t.yaml",
    checkpoint_sha256="0" * 64,
    feature_shapes=FeatureShapes((256, 64, 64), (32, 256, 256), (64, 128, 128)),
    decoder=DecoderSettings(1024, 16, 8, 4, True, True, 0.05, 0.98, True),
)

SOURCE = SourceInfo.of_pixels(3000, 2000)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, SOURCE)


def change(store, *path, to):
    """Change one value of the manifest on disk."""
    file = store.folder / "manifest.json"
    content = json.loads(file.read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    file.write_text(json.dumps(content))


def test_opened_store_is_the_created_one(store):
    assert FeatureStore.open(store.folder).manifest == store.manifest


def test_second_store_in_the_same_folder_is_refused(store):
    with pytest.raises(StoreError, match="already"):
        FeatureStore.create(store.folder, MODEL, SOURCE)


def test_folder_without_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no feature store"):
        FeatureStore.open(tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("uuid",), 7),
        (("dtype",), "float32"),
        (("format_version",), 0),
        (("format_version",), True),
        (("model",), None),
        (("model", "feature_shapes", "image_embed"), [256, 64]),
        (("model", "feature_shapes", "image_embed"), [256, -64, 64]),
        (("model", "decoder", "stability_thresh"), "0.98"),
        (("model", "decoder", "num_heads"), 8.5),
        (("model", "decoder", "pred_obj_scores"), 1),
    ],
)
def test_changed_manifest_is_refused(store, path, value):
    change(store, *path, to=value)
    with pytest.raises(StoreError):
        FeatureStore.open(store.folder)


def test_missing_key_is_named(store):
    content = json.loads((store.folder / "manifest.json").read_text())
    del content["model"]["decoder"]["image_size"]
    with pytest.raises(StoreError, match=r"manifest\.model\.decoder\.image_size is missing"):
        StoreManifest.from_json(content, "manifest")


def test_newer_format_asks_for_an_update(store):
    change(store, "format_version", to=2)
    with pytest.raises(StoreError, match="Update Geo-SAM2"):
        FeatureStore.open(store.folder)


def test_keys_of_newer_versions_are_ignored(store):
    change(store, "color", to="blue")
    assert FeatureStore.open(store.folder).manifest == store.manifest


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "null", "\x00"])
def test_damaged_manifest_is_refused(store, content):
    (store.folder / "manifest.json").write_text(content)
    with pytest.raises(StoreError):
        FeatureStore.open(store.folder)


def test_tile_name_tells_level_and_place():
    window = TileWindow(2, 4096, 0, 1024, 1024)
    assert window.file_name(3) == "tiles/2/x00004096_y00000000.3.safetensors"
    assert window.pixel_size == 4


@pytest.mark.parametrize(
    "name",
    [
        "../x00000000_y00000000.1.safetensors",
        "tiles/0/../x00000000_y00000000.1.safetensors",
        "/tiles/0/x00000000_y00000000.1.safetensors",
        "tiles/0/x00000000_y00000000.1.safetensors\n",
        "tiles\\0\\x00000000_y00000000.1.safetensors",
        "manifest.json",
        "",
    ],
)
def test_tile_name_that_is_not_ours_is_refused(store, name):
    with pytest.raises(StoreError, match="not the name of a tile"):
        store.tile_path(name)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [0, 0, 0, 1, 1],
        {"level": 0, "xoff": 0, "yoff": 0, "width": 1},
        {"level": 0, "xoff": -1, "yoff": 0, "width": 1, "height": 1},
        {"level": 0, "xoff": 0.5, "yoff": 0, "width": 1, "height": 1},
        {"level": 0, "xoff": 0, "yoff": 0, "width": 0, "height": 1},
        {"level": 99, "xoff": 0, "yoff": 0, "width": 1, "height": 1},
    ],
)
def test_window_that_is_none_is_refused(value):
    with pytest.raises(WindowError):
        read_tile_window(value)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_atomically(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("manifest.json", b"old")]


def test_file_that_is_held_for_a_moment_is_replaced_when_it_is_free(tmp_path, monkeypatch):
    path = tmp_path / "tile"
    path.write_bytes(b"old")
    replace, refused = type(path).replace, []

    def held(self, target):
        if len(refused) < 2:
            refused.append(target)
            raise PermissionError(13, "in use")
        return replace(self, target)

    monkeypatch.setattr(type(path), "replace", held)
    monkeypatch.setattr("time.sleep", lambda _: None)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert len(refused) == 2

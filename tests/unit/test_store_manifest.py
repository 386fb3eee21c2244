# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: read without trust, kept for newer versions; names stay in the store's folder."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from store_maker import MODEL, SOURCE, encode

from geo_sam2.encoder.stretch import Stretch
from geo_sam2.errors import StoreError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.grid import PixelGrid
from geo_sam2.source_info import SourceInfo, fingerprint_of

GRID = PixelGrid(3000, 2000, (500000.0, 0.1 + 0.2, 0.0, 4100000.0, 0.0, -1 / 3), "PROJCRS[“é”]", "EPSG:32612")
RICH = SourceInfo(
    "", "", 12, 1.5, "ab", GRID, (4, 3, 2), Stretch("linear", (0.1,) * 3, (1e4,) * 3), "value -9999"
)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "lake.tiny.geosam2", MODEL, RICH)


def change(store, *path, to):
    """Change one value of the manifest on disk; ``None`` removes it."""
    file = store.folder / "manifest.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    place = content
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    file.write_text(json.dumps(content))


def test_everything_comes_back_to_the_last_digit(store):
    assert FeatureStore.open(store.folder).manifest == store.manifest
    assert FeatureStore.open(store.folder).manifest.source == RICH


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("source",), None),
        (("source", "grid", "width"), 0),
        (("source", "grid", "width"), 2**70),
        (("source", "grid", "geotransform"), [0, 1, 0, 0, 0]),
        (("source", "grid", "geotransform"), [0, 0, 0, 0, 0, 0]),
        (("source", "grid", "geotransform"), [0, float("nan"), 0, 0, 0, -1]),
        (("source", "bands"), "123"),
        (("source", "stretch", "kind"), "logarithmic"),
        (("source", "stretch", "maximum"), [1.0]),
        (("software",), []),
        (("software",), {"python": 3}),
        (("uuid",), "../../../../etc/passwd"),
        (("uuid",), "A" * 32),
    ],
)
def test_damaged_value_is_refused(store, path, value):
    change(store, *path, to=value)
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        FeatureStore.open(store.folder)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a": ' * 50_000, b"\xff\xfe", b'{"x":' + b"1" * 5_000_000 + b"}"]
)
def test_manifest_that_would_break_a_reader_is_refused(store, content):
    (store.folder / "manifest.json").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        FeatureStore.open(store.folder)


def test_manifest_of_the_future_asks_for_an_update_whatever_is_in_it(store):
    (store.folder / "manifest.json").write_text('{"format_version": 2, "model": "elsewhere"}')
    with pytest.raises(StoreError, match=r"format version 2.*Update Geo-SAM2"):
        FeatureStore.open(store.folder)


def test_manifest_of_the_future_is_not_overwritten_by_a_new_store(store):
    change(store, "format_version", to=2)
    before = (store.folder / "manifest.json").read_bytes()
    with pytest.raises(StoreError, match="already"):
        FeatureStore.create(store.folder, MODEL, SOURCE)
    assert (store.folder / "manifest.json").read_bytes() == before


def test_keys_of_newer_versions_are_kept_when_the_manifest_is_written(store):
    change(store, "color", to="blue")
    change(store, "source", "grid", "epoch", to=2026.5)
    opened = FeatureStore.open(store.folder)
    assert opened.manifest == store.manifest
    opened.remember_source(replace(RICH, modified=2.5))
    content = json.loads((store.folder / "manifest.json").read_text(encoding="utf-8"))
    assert (content["color"], content["source"]["grid"]["epoch"]) == ("blue", 2026.5)
    assert FeatureStore.open(store.folder).manifest.source.modified == 2.5


def test_name_that_links_out_of_the_store_is_refused(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("mine")
    name = store.tiling.window(0, 0).file_name(1)
    (store.folder / "tiles" / "0").mkdir()
    (store.folder / name).symlink_to(outside / "secret")
    with pytest.raises(StoreError, match="leads out of the store"):
        store.tile_path(name)
    store.decoder_path.symlink_to(outside / "secret")
    with pytest.raises(StoreError, match="leads out of the store"):
        _ = store.decoder_path
    encode(store)
    assert (outside / "secret").read_text() == "mine"


def test_folder_of_tiles_that_links_out_of_the_store_is_refused(store, tmp_path):
    (tmp_path / "outside" / "0").mkdir(parents=True)
    (store.folder / "tiles").rmdir()
    (store.folder / "tiles").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="leads out of the store"):
        store.tile_path(store.tiling.window(0, 0).file_name(1))
    with pytest.raises(StoreError, match="leads out of the store"):
        store.writer().__enter__()


def test_index_that_links_out_of_the_store_is_refused(store, tmp_path):
    other = FeatureStore.create(tmp_path / "other.geosam2", MODEL, SOURCE)
    (store.folder / "tiles.gpkg").unlink()
    (store.folder / "tiles.gpkg").symlink_to(other.folder / "tiles.gpkg")
    with pytest.raises(StoreError, match="leads out of the store"):
        _ = FeatureStore.open(store.folder).index
    with pytest.raises(StoreError, match="leads out of the store"):
        store.writer().__enter__()
    assert not store.mark_failed(None)


def test_store_behind_a_link_is_a_store(store, tmp_path):
    link = tmp_path / "link.geosam2"
    link.symlink_to(store.folder)
    opened = FeatureStore.open(link)
    assert len(encode(opened)) == 6
    assert opened.tile_path(opened.tile_at(5, 5).file).is_file()


def test_fingerprint_tells_pixels_bands_and_size():
    blocks = [np.arange(12, dtype=np.uint16).reshape(3, 4)]
    same = fingerprint_of(GRID, (1, 2, 3), blocks)
    assert same == fingerprint_of(replace(GRID, geotransform=(0.0, 1, 0, 0, 0, -1)), [1, 2, 3], blocks)
    assert same != fingerprint_of(GRID, (3, 2, 1), blocks)
    assert same != fingerprint_of(replace(GRID, width=2999), (1, 2, 3), blocks)
    assert same != fingerprint_of(GRID, (1, 2, 3), [blocks[0] + 1])

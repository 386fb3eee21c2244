# SPDX-License-Identifier: GPL-3.0-or-later
"""Tile files and the decoder file of a store: written whole, checked when read, never mapped.

A mapped file cannot be replaced on Windows, and one that is cut short while it is mapped
kills the process; 8.4 MB are read in 4 ms anyway.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from geo_sam2.atomic_file import write_atomically
from geo_sam2.engine.mask_decoder import Features
from geo_sam2.errors import FeatureValueError, StoreError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.tile_file import damaged_tile, pack_tile, parse_tile_header
from geo_sam2.tile_window import TileWindow

_NAMES = ("image_embed", "high_res_feats_0", "high_res_feats_1")


@dataclass(frozen=True)
class WrittenTile:
    """What the index keeps of a tile file."""

    file: str
    bytes: int
    crc32: int


def write_tile(store: FeatureStore, window: TileWindow, generation: int, features: Features) -> WrittenTile:
    """Write the features of a window as float16.

    Raises:
        FeatureValueError: A value does not fit float16.
        StoreError: The file cannot be written.
    """
    tensors = {name: getattr(features, name).to("cpu", torch.float16) for name in _NAMES}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FeatureValueError(f"The encoder returned values in {name} that do not fit 16 bits.")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    content = pack_tile(store.manifest.uuid, window, arrays)
    file = window.file_name(generation)
    path = store.new_tile_path(file)
    write_atomically(path, content)
    return WrittenTile(file, len(content), zlib.crc32(content))


def read_tile(store: FeatureStore, window: TileWindow, file: str, crc32: int | None) -> Features:
    """Read the features of a window; they are checked against the store's manifest.

    Args:
        store: The store.
        window: What the tile should cover.
        file: Its name in the store.
        crc32: Checksum from the index; None where the index has none.

    Returns:
        Features as float32 on the CPU.

    Raises:
        DamagedTileError: The file is missing, cut short, changed, or belongs elsewhere.
    """
    path = store.tile_path(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged_tile(path, error.strerror or str(error)) from error
    header = parse_tile_header(content, path)
    found_crc32 = zlib.crc32(content)
    if found_crc32 != header.file_crc32 or crc32 not in (None, found_crc32):
        raise damaged_tile(path, "its checksum is wrong")
    if (header.store, header.window) != (store.manifest.uuid, window):
        raise damaged_tile(path, "it belongs to another store or window")
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError) as error:
        raise damaged_tile(path, "it is not whole") from error
    shapes = store.manifest.model.feature_shapes.to_json()
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != shapes or any(tensor.dtype != torch.float16 for tensor in tensors.values()):
        raise damaged_tile(path, "its arrays are not those of the manifest")
    features = Features(*(tensors[name].float() for name in _NAMES))
    if not all(torch.isfinite(getattr(features, name)).all() for name in _NAMES):
        raise damaged_tile(path, "it holds values that are not numbers")
    return features


def write_decoder(store: FeatureStore, tensors: Mapping[str, Tensor]) -> None:
    """Write what decoding needs of the model, in fp32, so that a store can be used without it."""
    write_atomically(store.decoder_path, safetensors.torch.save(dict(tensors)))


def read_decoder(store: FeatureStore) -> dict[str, Tensor]:
    """Read the decoder's weights.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        return safetensors.torch.load(store.decoder_path.read_bytes())
    except OSError as error:
        raise StoreError(
            f"The store in {store.folder} has no readable decoder file ({error.strerror or error}).",
            "Restore it from a copy, or encode again.",
        ) from error
    except safetensors.SafetensorError as error:
        raise StoreError(
            f"The decoder file of the store in {store.folder} is damaged.",
            "Restore it from a copy, or encode again.",
        ) from error

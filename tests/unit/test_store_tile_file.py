# SPDX-License-Identifier: GPL-3.0-or-later
"""A tile file says what it is, and its header alone gives the checksum of all of it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from geo_sam2.errors import DamagedTileError
from geo_sam2.tile_file import pack_tile, parse_tile_header, read_tile_header
from geo_sam2.tile_window import TileWindow

WINDOW = TileWindow(1, 2048, 1024, 700, 900)
UUID = "0123456789abcdef" * 2


def packed(sizes=(3, 5)):
    rng = np.random.default_rng(len(sizes))
    arrays = {f"part_{i}": rng.normal(size=(2, size, 7)).astype(np.float16) for i, size in enumerate(sizes)}
    return pack_tile(UUID, WINDOW, arrays)


def with_header(content, change):
    """Return a tile file with a changed header."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header = change(header) or header
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@pytest.mark.parametrize("sizes", [(3, 5), (1,), (4, 0, 9)])
def test_header_tells_store_window_shapes_length_and_checksum(tmp_path, sizes):
    content = packed(sizes)
    path = tmp_path / "tile"
    path.write_bytes(content)
    header = read_tile_header(path)
    assert (header.store, header.window) == (UUID, WINDOW)
    assert header.shapes == {f"part_{i}": (2, size, 7) for i, size in enumerate(sizes)}
    assert (header.file_bytes, header.file_crc32) == (len(content), zlib.crc32(content))


def test_data_begin_at_a_multiple_of_eight_bytes():
    assert int.from_bytes(packed()[:8], "little") % 8 == 0


def test_checksum_of_the_header_betrays_a_flipped_bit():
    content = bytearray(packed())
    content[-1] ^= 1
    assert parse_tile_header(bytes(content), Path("tile")).file_crc32 != zlib.crc32(content)


def test_only_float16_is_packed():
    with pytest.raises(TypeError, match="float32"):
        pack_tile(UUID, WINDOW, {"part": np.zeros(3, np.float32)})


DAMAGE = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:100],
    "cut in the data": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "absurd length": lambda content: b"\xff" * 8 + content[8:],
    "no JSON": lambda content: content[:8] + b"}" + content[9:],
    "deep JSON": lambda content: (60000).to_bytes(8, "little") + b"[" * 60000,
    "a list": lambda content: with_header(content, lambda header: [header]),
    "no metadata": lambda content: with_header(content, lambda header: header.pop("__metadata__") and None),
    "no window": lambda content: with_header(
        content, lambda header: header["__metadata__"].pop("window") and None
    ),
    "window that is none": lambda content: with_header(
        content, lambda header: header["__metadata__"].update(window='{"level": -1}')
    ),
    "checksum that is none": lambda content: with_header(
        content, lambda header: header["__metadata__"].update(data_crc32="x")
    ),
    "other dtype": lambda content: with_header(content, lambda header: header["part_0"].update(dtype="F32")),
    "negative size": lambda content: with_header(
        content, lambda header: header["part_0"].update(shape=[-2, 3, 7])
    ),
    "hole in the data": lambda content: with_header(
        content, lambda header: header["part_1"].update(data_offsets=[100, 100 + 140])
    ),
    "shape beyond the data": lambda content: with_header(
        content, lambda header: header["part_1"].update(shape=[2**30, 2**30])
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "tile"
    path.write_bytes(damage(packed()))
    with pytest.raises(DamagedTileError):
        read_tile_header(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DamagedTileError, match="No such file"):
        read_tile_header(tmp_path / "tile")

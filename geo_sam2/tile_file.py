# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of a tile file: safetensors, whose header says which store and window it belongs to.

A tile says for itself what it is, so that an index that was lost is rebuilt from headers
alone. NumPy and the standard library only; the engine reads and writes tensors with it.

The format (https://huggingface.co/docs/safetensors): 8 bytes, little-endian, with the
header's length; the header, JSON padded with spaces; the arrays one after the other.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geo_sam2.errors import DamagedTileError, GeoSam2Error
from geo_sam2.model_info import FeatureShapes
from geo_sam2.tile_window import TileWindow, read_tile_window

# Ours take some 400 bytes.
_HEADER_BYTES = 512
_MAX_HEADER_BYTES = 65536
_ALIGNMENT = 8
_ENCODE_AGAIN = "Encode it again."
# The polynomial of CRC-32 (IEEE 802.3), bits reflected as zlib has them.
_POLYNOMIAL = 0xEDB88320

Shape = tuple[int, ...]


def tile_bytes(shapes: FeatureShapes) -> int:
    """Return what a tile file takes at most: float16 features and a header."""
    values = sum(
        math.prod(shape) for shape in (shapes.image_embed, shapes.high_res_feats_0, shapes.high_res_feats_1)
    )
    return 2 * values + _HEADER_BYTES


@dataclass(frozen=True)
class TileHeader:
    """What a tile file says of itself.

    Attributes:
        store: UUID of its store.
        window: What it covers.
        shapes: By array name.
        file_bytes: How long the file must be.
        file_crc32: Checksum that the whole file must have.
    """

    store: str
    window: TileWindow
    shapes: Mapping[str, Shape]
    file_bytes: int
    file_crc32: int


def pack_tile(store_uuid: str, window: TileWindow, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the content of a tile file.

    Args:
        store_uuid: Of the store that it is for.
        window: What the features cover.
        arrays: Features by name, float16.
    """
    data, entries, offset = [], {}, 0
    for name, array in arrays.items():
        if array.dtype != np.float16:
            raise TypeError(f"{name} is {array.dtype}; a tile holds float16")
        content = array.astype("<f2", copy=False).tobytes()
        ends = [offset, offset + len(content)]
        entries[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": ends}
        data.append(content)
        offset = ends[1]
    crc32 = 0
    for content in data:
        crc32 = zlib.crc32(content, crc32)
    metadata = {"store": store_uuid, "window": json.dumps(window.to_json()), "data_crc32": f"{crc32:08x}"}
    header = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return b"".join((len(header).to_bytes(8, "little"), header, *data))


def read_tile_header(path: Path) -> TileHeader:
    """Read the header of a tile file and check that the file is as long as it says.

    Raises:
        DamagedTileError: It cannot be read, is no tile or is cut short.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8 + _MAX_HEADER_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise damaged_tile(path, error.strerror or str(error)) from error
    header = parse_tile_header(head, path)
    if header.file_bytes != size:
        raise damaged_tile(path, f"it has {size} bytes where {header.file_bytes} belong")
    return header


def parse_tile_header(content: bytes, path: Path) -> TileHeader:
    """Read the header at the beginning of a tile's content.

    Args:
        content: The file, or as much of it as holds the header.
        path: What to call it in errors.

    Raises:
        DamagedTileError: It is not the header of a tile.
    """
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= min(_MAX_HEADER_BYTES, len(content) - 8):
        raise damaged_tile(path, "it is not whole")
    end = 8 + length
    try:
        entries = json.loads(content[8:end])
        metadata = entries.pop("__metadata__")
        window = read_tile_window(json.loads(metadata["window"]))
        data_crc32 = int(metadata["data_crc32"], 16)
        shapes, data_bytes = {}, 0
        for name, entry in sorted(entries.items(), key=lambda item: int(item[1]["data_offsets"][0])):
            shape = tuple(_size(size) for size in entry["shape"])
            if entry["dtype"] != "F16" or entry["data_offsets"][0] != data_bytes:
                raise damaged_tile(path, "its arrays are not those of a tile")
            data_bytes += 2 * math.prod(shape)
            if entry["data_offsets"][1] != data_bytes:
                raise damaged_tile(path, "its arrays are not those of a tile")
            shapes[str(name)] = shape
        store = str(metadata["store"])
    except DamagedTileError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, GeoSam2Error) as error:
        raise damaged_tile(path, "its header is unreadable") from error
    crc32 = _joined_crc32(zlib.crc32(content[:end]), data_crc32 & 0xFFFFFFFF, data_bytes)
    return TileHeader(store, window, shapes, end + data_bytes, crc32)


def damaged_tile(path: Path, reason: str) -> DamagedTileError:
    """Return the error of a tile file that cannot be used."""
    return DamagedTileError(f"The tile {path} is damaged: {reason}.", _ENCODE_AGAIN)


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError(value)
    return value


def _joined_crc32(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32 of two pieces one after the other, from those of the pieces.

    Appending n bytes multiplies the first checksum by x^(8n) modulo the polynomial (zlib's
    ``crc32_combine``, which Python's module leaves out).
    """
    power, factor, exponent = 1 << 31, 1 << 30, 8 * second_bytes  # x^0 and x^1
    while exponent:
        if exponent & 1:
            power = _multiplied(power, factor)
        factor = _multiplied(factor, factor)
        exponent >>= 1
    return _multiplied(power, first) ^ second


def _multiplied(one: int, other: int) -> int:
    """Multiply two polynomials over GF(2) modulo CRC-32's; the highest bit is x^0."""
    product = 0
    for shift in range(31, -1, -1):
        if one >> shift & 1:
            product ^= other
        other = (other >> 1) ^ (_POLYNOMIAL if other & 1 else 0)
    return product

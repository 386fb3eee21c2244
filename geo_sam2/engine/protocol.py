# SPDX-License-Identifier: GPL-3.0-or-later
r"""The messages that cross the pipes between QGIS and the engine, and how they are framed.

A message is a dictionary of plain values (``fields``) and a dictionary of NumPy
arrays (``arrays``). On the wire it is one frame::

    4 bytes   magic "GS2\n"           a pipe in text mode would damage the line feed
    uint32    header length in bytes  little-endian, at most MAX_HEADER_BYTES
    uint64    payload length in bytes little-endian, at most MAX_PAYLOAD_BYTES
    header    JSON in ASCII: {"fields": {...}, "arrays": [{"name", "dtype", "shape"}, ...]}
    payload   the arrays' bytes one after the other, C order, little-endian

Both lengths stand before the header, so a header that makes no sense can be skipped
together with its payload and the stream stays in step: that is a ``ProtocolError``,
and reading may go on. A ``FramingError`` says that the place of the next frame is
lost (wrong magic, lengths beyond the limits, input that ends within a frame): the
connection has to be ended.

Runs on both sides, hence Python 3.9 and nothing but NumPy; knows neither what the
messages mean nor which process it is in.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, Union, cast

import numpy as np
import numpy.typing as npt

from geo_sam2.errors import ProtocolError

# Raised whenever the two sides of different releases could misunderstand each other.
PROTOCOL_VERSION = 1

MAGIC = b"GS2\n"
PREFIX = struct.Struct("<4sIQ")

MAX_HEADER_BYTES = 4 * 2**20
# A window of pixels is 3 MB and a mask of a whole window 4 MB as float32.
MAX_PAYLOAD_BYTES = 256 * 2**20
MAX_ARRAYS = 4096
MAX_DIMENSIONS = 8
# JSON readers other than Python's lose digits above 2**53; no field needs more than int64.
_MAX_INTEGER_DIGITS = 19
# Frames up to this size are copied into one buffer: one system call costs more than the copy.
_JOIN_BYTES = 64 * 1024
_SKIP_BYTES = 64 * 1024

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
    )
}

Array = npt.NDArray[Any]
Buffer = Union[bytes, memoryview]
T = TypeVar("T")


class FramingError(ProtocolError):
    """The stream is out of step; nothing that follows on it can be read."""


class ReadableStream(Protocol):
    """A binary file object, raw or buffered; short reads are fine."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of ``buffer`` and return the number of bytes, 0 at the end."""


class WritableStream(Protocol):
    """A binary file object, raw or buffered; short writes are fine."""

    def write(self, buffer: Buffer, /) -> int | None:
        """Write the start of ``buffer`` and return the number of bytes taken."""


@dataclass(frozen=True)
class Message:
    """Plain values and arrays that travel together.

    Args:
        fields: What JSON can hold: str, int, float (finite), bool, None, lists, dictionaries.
        arrays: NumPy arrays of a dtype in ``DTYPES``. Those of a message that was read are
            C-contiguous, writable and owned by the reader. Those of a message that is
            sent are not copied: leave them unchanged until the message is answered.
    """

    fields: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)

    @property
    def payload_bytes(self) -> int:
        """Return the size of all arrays in bytes."""
        return sum(array.nbytes for array in self.arrays.values())


_REQUIRED: Any = object()


def read_field(fields: Mapping[str, Any], name: str, kind: type[T], default: T = _REQUIRED) -> T:
    """Return ``fields[name]`` if it is a ``kind``; a whole number passes for a float, a bool for no number.

    Raises:
        ProtocolError: The field has another type, or is missing without a default.
    """
    value = fields.get(name, default)
    if value is _REQUIRED:
        raise ProtocolError(f"The field “{name}” is missing.")
    if value is default and name not in fields:
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return cast(T, float(value))
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ProtocolError(f"The field “{name}” is a {type(value).__name__}, not a {kind.__name__}.")
    return value


def message_buffers(message: Message) -> list[Buffer]:
    """Return the frame of a message as buffers to be written in order; arrays are not copied.

    Non-contiguous and big-endian arrays are the exception, they are copied once.

    Raises:
        ProtocolError: Something in the message cannot travel: NaN or infinity in a field,
            an unknown type or dtype, or more than the limits allow.
    """
    if len(message.arrays) > MAX_ARRAYS:
        raise ProtocolError(f"A message has {len(message.arrays)} arrays; {MAX_ARRAYS} are allowed.")
    announced = []
    payload: list[Buffer] = []
    for name, array in message.arrays.items():
        dtype = DTYPES.get(array.dtype.name) if isinstance(array, np.ndarray) else None
        if dtype is None:
            kind = getattr(array, "dtype", type(array).__name__)
            raise ProtocolError(f"The array “{name}” cannot be sent: it is of type {kind}.")
        if array.ndim > MAX_DIMENSIONS:
            raise ProtocolError(f"The array “{name}” has {array.ndim} dimensions.")
        announced.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        if array.size:
            # asarray keeps 0-d arrays 0-d; the flat view as bytes works for float16 and bool too,
            # which memoryview.cast refuses.
            flat = np.asarray(array, dtype=dtype, order="C").reshape(-1).view(np.uint8)
            payload.append(flat.data)
    header = _encode_header({"fields": message.fields, "arrays": announced})
    payload_bytes = sum(len(buffer) for buffer in payload)
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise ProtocolError(
            f"A message has {payload_bytes} bytes of arrays; {MAX_PAYLOAD_BYTES} are allowed."
        )
    head = PREFIX.pack(MAGIC, len(header), payload_bytes) + header
    if payload and len(head) + payload_bytes <= _JOIN_BYTES:
        return [b"".join([head, *payload])]
    return [head, *payload]


def write_buffers(stream: WritableStream, buffers: Sequence[Buffer]) -> None:
    """Write all bytes of a frame, however small the steps that the stream takes.

    Raises:
        OSError: The other side is gone.
    """
    for buffer in buffers:
        rest = memoryview(buffer)
        while len(rest):
            written = stream.write(rest)
            if written is None:
                raise BlockingIOError("The stream of messages must be a blocking one.")
            rest = rest[written:]


def write_message(stream: WritableStream, message: Message) -> None:
    """Frame and write one message; see ``message_buffers`` and ``write_buffers``."""
    write_buffers(stream, message_buffers(message))


class MessageReader:
    """Reads frames from a stream, on one thread.

    Attributes:
        bytes_read: Bytes seen so far. Another thread may look at it to tell a slow
            sender from a stalled one.
        is_inside_message: Whether a frame has begun and not ended; for other threads too.
    """

    def __init__(self, stream: ReadableStream) -> None:
        self._stream = stream
        self.bytes_read = 0
        self.is_inside_message = False

    def read(self) -> Message | None:
        """Wait for the next message and return it, or None where the input ends between two frames.

        Raises:
            ProtocolError: The frame was read to its end but makes no sense; go on reading.
            FramingError: The stream cannot be read further.
        """
        prefix = memoryview(bytearray(PREFIX.size))
        count = self._read_some(prefix)
        if count == 0:
            return None
        self.is_inside_message = True
        self._fill(prefix[count:])
        magic, header_bytes, payload_bytes = PREFIX.unpack(prefix)
        if magic != MAGIC:
            raise FramingError("The input is not a message of this protocol.")
        if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
            raise FramingError(
                f"A message of {header_bytes} + {payload_bytes} bytes is announced;"
                f" {MAX_HEADER_BYTES} + {MAX_PAYLOAD_BYTES} are allowed."
            )
        header = memoryview(bytearray(header_bytes))
        self._fill(header)
        try:
            fields, announced = _decode_header(bytes(header))
            arrays = _make_arrays(announced, payload_bytes)
        except ProtocolError:
            self._skip(payload_bytes)
            self.is_inside_message = False
            raise
        for array in arrays.values():
            if array.size:
                self._fill(array.reshape(-1).view(np.uint8).data)
        self.is_inside_message = False
        _check_booleans(arrays)
        return Message(fields, arrays)

    def _read_some(self, buffer: memoryview) -> int:
        count = self._stream.readinto(buffer)
        if count is None:
            raise FramingError("The stream of messages must be a blocking one.")
        self.bytes_read += count
        return count

    def _fill(self, buffer: memoryview) -> None:
        while len(buffer):
            count = self._read_some(buffer)
            if count == 0:
                raise FramingError("The input ended in the middle of a message.")
            buffer = buffer[count:]

    def _skip(self, count: int) -> None:
        waste = memoryview(bytearray(min(count, _SKIP_BYTES)))
        while count:
            self._fill(waste[: min(count, len(waste))])
            count -= min(count, len(waste))


def _plain_number(value: object) -> object:
    """Turn a NumPy scalar into Python's; called by json for what it does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")


def _encode_header(header: dict[str, Any]) -> bytes:
    """Write the header as ASCII JSON.

    ASCII, because a path that is no valid UTF-8 comes as lone surrogates, which JSON
    can escape and UTF-8 cannot hold. No NaN and no infinity, because JSON has none.
    """
    try:
        text = json.dumps(header, allow_nan=False, separators=(",", ":"), default=_plain_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"A message has a field that cannot be sent: {error}.") from error
    if len(text) > MAX_HEADER_BYTES:
        raise ProtocolError(f"A message has a header of {len(text)} bytes; {MAX_HEADER_BYTES} are allowed.")
    return text.encode("ascii")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999 is valid JSON and infinite in Python
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _bounded_int(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_INTEGER_DIGITS:
        raise ValueError(f"the number {text[:40]} is too large")
    return int(text)


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


_DECODER = json.JSONDecoder(
    parse_float=_finite_float,
    parse_int=_bounded_int,
    parse_constant=_refuse_constant,
    object_pairs_hook=_unique_keys,
)


def _decode_header(raw: bytes) -> tuple[dict[str, Any], list[Any]]:
    try:
        header = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The header of a message is not valid JSON: {error}.") from error
    if not isinstance(header, dict) or header.keys() != {"fields", "arrays"}:
        raise ProtocolError("The header of a message has not the keys “fields” and “arrays” alone.")
    fields = read_field(header, "fields", dict)
    announced = read_field(header, "arrays", list)
    if len(announced) > MAX_ARRAYS:
        raise ProtocolError(f"A message announces {len(announced)} arrays; {MAX_ARRAYS} are allowed.")
    return fields, announced


def _read_shape(name: str, shape: list[Any]) -> tuple[int, ...]:
    if len(shape) > MAX_DIMENSIONS:
        raise ProtocolError(f"The array “{name}” has {len(shape)} dimensions.")
    elements = 1
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise ProtocolError(f"The array “{name}” has a shape that is not of whole numbers.")
        # NumPy multiplies the lengths of empty arrays too and overflows on huge ones.
        elements *= max(length, 1)
        if elements > MAX_PAYLOAD_BYTES:
            raise ProtocolError(f"The array “{name}” is too large.")
    return tuple(shape)


def _make_arrays(announced: list[Any], payload_bytes: int) -> dict[str, Array]:
    """Allocate the announced arrays if they fill the payload exactly; their values are still unset."""
    checked: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    needed_bytes = 0
    for entry in announced:
        if not isinstance(entry, dict) or entry.keys() != {"name", "dtype", "shape"}:
            raise ProtocolError("An array is not announced by name, dtype and shape.")
        name = read_field(entry, "name", str)
        if name in checked:
            raise ProtocolError(f"The array “{name}” is announced twice.")
        dtype = DTYPES.get(read_field(entry, "dtype", str))
        if dtype is None:
            raise ProtocolError(f"The array “{name}” has a dtype that cannot be sent.")
        shape = _read_shape(name, read_field(entry, "shape", list))
        checked[name] = (shape, dtype)
        needed_bytes += math.prod(shape) * dtype.itemsize
    if needed_bytes != payload_bytes:
        raise ProtocolError(f"The arrays of a message need {needed_bytes} bytes, {payload_bytes} came.")
    try:
        return {name: np.empty(shape, dtype) for name, (shape, dtype) in checked.items()}
    except MemoryError as error:
        raise ProtocolError(f"There is no memory for a message of {payload_bytes} bytes.") from error


def _check_booleans(arrays: dict[str, Array]) -> None:
    """Refuse bools that are neither 0 nor 1; NumPy computes nonsense with them."""
    for name, array in arrays.items():
        if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
            raise ProtocolError(f"The array “{name}” has values that are neither true nor false.")

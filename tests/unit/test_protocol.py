# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages survive the wire unchanged, and what makes no sense is refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from geo_sam2.engine import protocol
from geo_sam2.engine.protocol import (
    MAGIC,
    PREFIX,
    FramingError,
    Message,
    MessageReader,
    message_buffers,
    read_field,
    write_message,
)
from geo_sam2.errors import ProtocolError

VALID = Message({"type": "hello", "id": 1})


class Trickle(io.RawIOBase):
    """A stream that takes and gives at most three bytes at a time."""

    def __init__(self, content=b""):
        self.content = io.BytesIO(content)

    def readinto(self, buffer):
        return self.content.readinto(memoryview(buffer)[:3])

    def write(self, buffer):
        return self.content.write(bytes(buffer[:3]))


def written(message):
    stream = io.BytesIO()
    write_message(stream, message)
    return stream.getvalue()


def read(raw):
    return MessageReader(io.BytesIO(raw)).read()


def round_trip(message):
    return read(written(message))


def raw_frame(header, payload=b""):
    """Frame any header, valid or not."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return PREFIX.pack(MAGIC, len(header), len(payload)) + header + payload


def announcing(*arrays, payload=b""):
    keys = ("name", "dtype", "shape")
    return raw_frame({"fields": {}, "arrays": [dict(zip(keys, array)) for array in arrays]}, payload)


RANDOM = np.random.default_rng(2)


@pytest.mark.parametrize("dtype", sorted(protocol.DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3), (5, 4, 3), (700, 900)])
def test_array_of_any_dtype_and_shape_returns_unchanged(dtype, shape):
    array = np.asarray(RANDOM.random(shape) * 255).astype(dtype)
    (back,) = round_trip(Message({}, {"a": array})).arrays.values()
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
    assert back.flags.c_contiguous
    assert back.flags.writeable
    assert back.flags.owndata


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4).T,
        np.arange(12)[::-2],
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(6, dtype=">i4"),
        np.array(7, dtype=">f8"),
        np.broadcast_to(np.float32(2), (3, 3)),
        np.array([np.nan, np.inf, -0.0], np.float16),
    ],
    ids=["transposed", "reversed", "fortran", "big-endian", "big-endian 0-d", "broadcast", "nan"],
)
def test_array_in_any_layout_returns_with_the_same_values(array):
    back = round_trip(Message({}, {"a": array})).arrays["a"]
    np.testing.assert_array_equal(back, array)
    assert back.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")


def test_several_arrays_keep_their_names_and_order():
    arrays = {"z": np.arange(3), "a": np.zeros((0, 2)), "": np.array(True), "ä": np.ones(2, np.float16)}
    back = round_trip(Message({}, arrays)).arrays
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"a": None, "b": True, "c": -(2**62), "d": 0.1, "e": "", "f": [1, [2, {}]], "g": {"h": []}},
        {"text": "Flächen “ü” 湖 \U0001f30d \x00 \n"},
        {"path": "/data/\udcff\udcfe.tif"},  # a file name that is no UTF-8
    ],
)
def test_fields_return_unchanged(fields):
    assert round_trip(Message(fields)).fields == fields


def test_numpy_scalars_travel_as_numbers():
    fields = {"i": np.int64(3), "f": np.float32(0.5), "d": np.float64(0.25), "b": np.bool_(True)}
    back = round_trip(Message(fields)).fields
    assert back == {"i": 3, "f": 0.5, "d": 0.25, "b": True}
    assert type(back["b"]) is bool


@pytest.mark.parametrize(
    "fields",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": np.float32("nan")},
        {"a": np.zeros(2)},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {(1, 2): 3},
    ],
)
def test_field_that_json_cannot_hold_is_refused_by_the_sender(fields):
    with pytest.raises(ProtocolError, match="cannot be sent"):
        message_buffers(Message(fields))


def test_fields_that_contain_themselves_are_refused_by_the_sender():
    endless = {}
    endless["self"] = endless
    with pytest.raises(ProtocolError, match="cannot be sent"):
        message_buffers(Message(endless))


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([object()]),
        np.zeros(2, np.complex64),
        np.zeros(2, np.longdouble),
        np.zeros(2, [("x", "f4")]),
        np.zeros(2, "datetime64[s]"),
        np.zeros((1,) * 9),
        [1, 2],
        1.0,
    ],
    ids=str,
)
def test_array_that_cannot_travel_is_refused_by_the_sender(array):
    with pytest.raises(ProtocolError):
        message_buffers(Message({}, {"a": array}))


def test_limits_hold_for_the_sender(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_HEADER_BYTES", 100)
    monkeypatch.setattr(protocol, "MAX_PAYLOAD_BYTES", 100)
    monkeypatch.setattr(protocol, "MAX_ARRAYS", 2)
    message_buffers(Message({}, {"a": np.zeros(100, np.uint8)}))
    for message in (
        Message({}, {"a": np.zeros(101, np.uint8)}),
        Message({"text": "x" * 100}),
        Message({}, {name: np.zeros(0) for name in "abc"}),
    ):
        with pytest.raises(ProtocolError, match="are allowed"):
            message_buffers(message)


def test_large_contiguous_array_is_written_and_read_without_a_copy():
    array = np.arange(2**20, dtype=np.float32)
    buffers = message_buffers(Message({}, {"a": array}))
    assert any(np.shares_memory(np.frombuffer(buffer, np.uint8), array) for buffer in buffers[1:])

    class Recorder(io.BytesIO):
        largest = 0

        def readinto(self, buffer):
            self.largest = max(self.largest, len(buffer))
            return super().readinto(buffer)

    stream = Recorder(b"".join(buffers))
    MessageReader(stream).read()
    assert stream.largest == array.nbytes


def test_streams_may_move_a_few_bytes_at_a_time():
    message = Message({"type": "echo"}, {"a": np.arange(1000), "b": np.array(2.5)})
    stream = Trickle()
    write_message(stream, message)
    back = MessageReader(Trickle(stream.content.getvalue())).read()
    assert back.fields == message.fields
    np.testing.assert_array_equal(back.arrays["a"], np.arange(1000))
    assert back.arrays["b"] == 2.5


def test_non_blocking_streams_are_refused():
    class Empty(io.RawIOBase):
        def readinto(self, _buffer):
            return None

        def write(self, _buffer):
            return None

    with pytest.raises(FramingError, match="blocking"):
        MessageReader(Empty()).read()
    with pytest.raises(BlockingIOError):
        write_message(Empty(), VALID)


def test_end_between_two_messages_is_told_from_an_end_within_one():
    raw = written(Message({"a": 1}, {"b": np.arange(4)}))
    reader = MessageReader(io.BytesIO(raw))
    assert reader.read().fields == {"a": 1}
    assert reader.read() is None
    for length in range(1, len(raw)):
        with pytest.raises(FramingError):
            read(raw[:length])


def test_reader_tells_whether_it_is_inside_a_message():
    raw = written(VALID)
    seen = []

    class Spy(io.BytesIO):
        def readinto(self, buffer):
            seen.append((reader.is_inside_message, reader.bytes_read))
            return super().readinto(buffer)

    reader = MessageReader(Spy(raw))
    reader.read()
    assert seen == [(False, 0), (True, PREFIX.size)]
    assert (reader.is_inside_message, reader.bytes_read) == (False, len(raw))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a message"),
        (written(VALID).replace(b"\n", b"\r\n", 1), "not a message"),  # a pipe in text mode
        (PREFIX.pack(b"GS3\n", 2, 0) + b"{}", "not a message"),
        (PREFIX.pack(MAGIC, protocol.MAX_HEADER_BYTES + 1, 0) + b" " * 100, "are allowed"),
        (PREFIX.pack(MAGIC, 2**32 - 1, 0), "are allowed"),
        (PREFIX.pack(MAGIC, 2, protocol.MAX_PAYLOAD_BYTES + 1) + b"{}", "are allowed"),
        (PREFIX.pack(MAGIC, 2, 2**64 - 1) + b"{}", "are allowed"),
    ],
)
def test_damaged_framing_ends_the_reading(raw, text):
    with pytest.raises(FramingError, match=text):
        read(raw)


BAD_HEADERS = {
    "empty": b"",
    "not JSON": b"hello",
    "cut": b'{"fields":{},"arr',
    "not UTF-8": b'{"fields":{"a":"\xff"},"arrays":[]}',
    "UTF-16": '{"fields":{},"arrays":[]}'.encode("utf-16"),
    "trailing bytes": b'{"fields":{},"arrays":[]}{}',
    "NaN": b'{"fields":{"a":NaN},"arrays":[]}',
    "infinity": b'{"fields":{"a":-Infinity},"arrays":[]}',
    "overflowing float": b'{"fields":{"a":1e999},"arrays":[]}',
    "huge integer": b'{"fields":{"a":' + b"9" * 5000 + b'},"arrays":[]}',
    "integer beyond int64": b'{"fields":{"a":12345678901234567890},"arrays":[]}',
    "deep nesting": b'{"fields":{"a":' + b"[" * 200_000 + b'},"arrays":[]}',
    "key twice": b'{"fields":{"id":1,"id":2},"arrays":[]}',
    "list": [],
    "number": 3,
    "null": None,
    "no fields": {"arrays": []},
    "no arrays": {"fields": {}},
    "more keys": {"fields": {}, "arrays": [], "code": ""},
    "fields is a list": {"fields": [], "arrays": []},
    "arrays is an object": {"fields": {}, "arrays": {}},
    "array is a string": {"fields": {}, "arrays": ["a"]},
}
BAD_ARRAYS = {
    "header and payload": raw_frame(b"hello", b"x" * 200_000),
    "too many arrays": announcing(*((str(number), "uint8", [0]) for number in range(5000))),
    "unknown dtype": announcing(("a", "complex64", [1]), payload=b"12345678"),
    "object dtype": announcing(("a", "object", [1]), payload=b"12345678"),
    "dtype with byte order": announcing(("a", ">i4", [1]), payload=b"1234"),
    "dtype is a list": announcing(("a", [["x", "i4"]], [1]), payload=b"1234"),
    "name is a number": announcing((1, "uint8", [1]), payload=b"1"),
    "name twice": announcing(("a", "uint8", [1]), ("a", "uint8", [1]), payload=b"12"),
    "no shape": announcing(("a", "uint8"), payload=b"1"),
    "shape is a number": announcing(("a", "uint8", 1), payload=b"1"),
    "negative length": announcing(("a", "uint8", [-1, -1]), payload=b"1"),
    "float length": announcing(("a", "uint8", [1.0]), payload=b"1"),
    "bool length": announcing(("a", "uint8", [True]), payload=b"1"),
    "null length": announcing(("a", "uint8", [None]), payload=b"1"),
    "product overflows": announcing(("a", "uint8", [2**32, 2**32])),
    "empty but huge": announcing(("a", "uint8", [0, 2**40])),
    "nine dimensions": announcing(("a", "uint8", [1] * 9), payload=b"1"),
    "payload too short": announcing(("a", "uint16", [2]), payload=b"123"),
    "payload too long": announcing(("a", "uint8", [2]), payload=b"123"),
    "payload unannounced": announcing(payload=b"123"),
    "payload missing": announcing(("a", "uint8", [2])),
    "bool of value 2": announcing(("a", "bool", [2]), payload=b"\x01\x02"),
}
BAD_FRAMES = {**{name: raw_frame(header) for name, header in BAD_HEADERS.items()}, **BAD_ARRAYS}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_senseless_message_is_refused_and_the_next_one_read(name):
    reader = MessageReader(io.BytesIO(BAD_FRAMES[name] + written(VALID)))
    with pytest.raises(ProtocolError) as caught:
        reader.read()
    assert not isinstance(caught.value, FramingError)
    assert not reader.is_inside_message
    assert reader.read() == VALID
    assert reader.read() is None


def test_message_for_which_there_is_no_memory_is_refused_and_the_next_one_read(monkeypatch):
    reader = MessageReader(io.BytesIO(written(Message({}, {"a": np.arange(9)})) + written(VALID)))

    def out_of_memory(*_):
        raise MemoryError

    monkeypatch.setattr(protocol.np, "empty", out_of_memory)
    with pytest.raises(ProtocolError, match="no memory"):
        reader.read()
    assert reader.read() == VALID


@pytest.mark.parametrize(
    ("value", "kind"), [(1, int), (1.5, float), ("a", str), (True, bool), ([], list), ({}, dict)]
)
def test_field_of_the_right_type_is_returned(value, kind):
    assert read_field({"x": value}, "x", kind) == value


def test_whole_number_passes_for_a_float():
    value = read_field({"x": 3}, "x", float)
    assert type(value) is float


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", int), (1.0, int), (True, int), (True, float), (1, bool), (None, str), ([], dict)],
)
def test_field_of_another_type_is_refused_by_name(value, kind):
    with pytest.raises(ProtocolError, match=f"“x” is a {type(value).__name__}, not a {kind.__name__}"):
        read_field({"x": value}, "x", kind)


def test_missing_field_is_its_default_or_an_error():
    assert read_field({}, "x", int, 7) == 7
    with pytest.raises(ProtocolError, match="“x” is missing"):
        read_field({}, "x", int)
    with pytest.raises(ProtocolError, match="NoneType"):
        read_field({"x": None}, "x", int, 7)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Records come back from JSON as they went; what is damaged is refused with its place named."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from geo_sam2.errors import GridError, StoreError
from geo_sam2.json_record import JsonRecord


@dataclass(frozen=True)
class Span(JsonRecord):
    low: float
    high: float

    def __post_init__(self):
        if self.low > self.high:
            raise GridError("The span is upside down.")


@dataclass(frozen=True)
class Everything(JsonRecord):
    flag: bool
    name: str
    count: int
    shape: tuple[int, int]
    terms: tuple[float, ...]
    names: tuple[str, ...]
    span: Span = field(metadata={"record": Span})


RECORD = Everything(True, "lake", 3, (2, 4), (-1.5, 0.0, 1e300), ("a", "b"), Span(-2.0, -1.0))


def changed(**changes):
    return {**json.loads(json.dumps(RECORD.to_json())), **changes}


def test_record_comes_back_from_json():
    assert Everything.from_json(changed()) == RECORD


def test_keys_of_a_newer_version_are_left_alone():
    assert Everything.from_json(changed(later=1)) == RECORD


def test_empty_tuple_of_any_length_is_one():
    assert Everything.from_json(changed(terms=[])).terms == ()


def test_whole_numbers_are_floats_where_floats_belong():
    terms = Everything.from_json(changed(terms=[0, 1])).terms
    assert [type(term) for term in terms] == [float, float]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"flag": 1}, "flag"),
        ({"name": None}, "name"),
        ({"count": -1}, "count"),
        ({"count": True}, "count"),
        ({"count": 2.0}, "count"),
        ({"shape": [2]}, "shape"),
        ({"shape": [2, 4, 6]}, "shape"),
        ({"shape": "24"}, "shape"),
        ({"shape": [2, -4]}, r"shape\[1\]"),
        ({"terms": [1.0, "2"]}, r"terms\[1\]"),
        ({"terms": [float("nan")]}, r"terms\[0\]"),
        ({"terms": [float("inf")]}, r"terms\[0\]"),
        ({"terms": [10**400]}, r"terms\[0\]"),
        ({"terms": {"0": 1.0}}, "terms"),
        ({"names": ["a", 1]}, r"names\[1\]"),
        ({"span": None}, "span"),
        ({"span": {"low": 1.0}}, r"span\.high is missing"),
    ],
)
def test_wrong_value_is_refused_with_its_place(change, where):
    with pytest.raises(StoreError, match=rf"^entry\.{where}"):
        Everything.from_json(changed(**change), "entry")


def test_values_that_contradict_each_other_are_refused_with_their_place():
    with pytest.raises(StoreError, match=r"^entry\.span: The span is upside down\."):
        Everything.from_json(changed(span={"low": 1.0, "high": 0.0}), "entry")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes: names, colours, keys, and their text."""

from __future__ import annotations

import json

import pytest

from geo_sam2.errors import ClassListError
from geo_sam2.segmentation.class_list import PALETTE, ClassList, ObjectClass


def named(*names):
    classes = ClassList()
    for name in names:
        classes = classes.added(name)
    return classes


def test_classes_get_colours_that_differ_while_there_are_any():
    classes = named(*"abcdefgh")
    colours = [item.colour for item in classes.classes]
    assert tuple(colours[: len(PALETTE)]) == PALETTE
    assert colours[len(PALETTE)] == PALETTE[0]
    assert classes.without(2).added("again").classes[-1].colour == PALETTE[2]


def test_number_keys_choose_the_first_nine():
    classes = named(*"abcdefghijk")
    assert [classes.index_of_key(key) for key in (0, 1, 9, 10)] == [None, 0, 8, None]
    assert [classes.key_of(index) for index in (-1, 0, 8, 9)] == [0, 1, 9, 0]
    assert named("a").index_of_key(2) is None


def test_list_is_changed_into_new_ones():
    classes = named("roof", "tree", "road")
    assert [item.name for item in classes.moved(0, 2).classes] == ["tree", "road", "roof"]
    assert classes.renamed(1, " shrub ").index_of("shrub") == 1
    assert classes.recoloured(1, "#ABCDEF").classes[1].colour == "#abcdef"
    assert classes.index_of("tree") == 1
    assert classes.index_of("lake") is None
    assert len(classes) == 3


def test_free_names_are_free():
    classes = named("class", "class 2")
    assert classes.free_name("class") == "class 3"
    assert classes.free_name("roof") == "roof"


def test_text_gives_the_list_back():
    classes = named("Dach", "Bäume", '"quoted", \\ and {}').recoloured(1, "#123456")
    assert ClassList.from_text(classes.to_text()) == classes
    assert ClassList.from_text("") == ClassList.from_text(" \n") == ClassList()
    assert ClassList.from_text(ClassList().to_text()) == ClassList()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "none of this plugin"),
        ('{"version":2,"classes":[]}', "none of this plugin"),
        ('{"version":1}', "none of this plugin"),
        ('{"version":1,"classes":{}}', "none of this plugin"),
        ('{"version":1,"classes":[1]}', "no record"),
        ('{"version":1,"classes":[{"name":"a"}]}', "colour is missing"),
        ('{"version":1,"classes":[{"name":"a","colour":"red"}]}', "no colour"),
        ('{"version":1,"classes":[{"name":" ","colour":"#000000"}]}', "needs a name"),
        (
            '{"version":1,"classes":[{"name":"a","colour":"#000000"},{"name":"a","colour":"#000001"}]}',
            "already",
        ),
        (json.dumps({"version": 1, "classes": "x" * 300_000}), "none of this plugin"),
    ],
)
def test_damaged_text_is_refused_with_a_sentence(text, says):
    with pytest.raises(ClassListError, match=says):
        ClassList.from_text(text)


@pytest.mark.parametrize(
    ("name", "colour", "says"),
    [
        ("", "#000000", "name"),
        ("x" * 201, "#000000", "more than"),
        ("a", "#00000", "no colour"),
        ("a", "", "no"),
    ],
)
def test_class_that_is_none_is_refused(name, colour, says):
    with pytest.raises(ClassListError, match=says):
        ObjectClass(name, colour)


def test_names_differ_and_do_not_run_away():
    with pytest.raises(ClassListError, match="already"):
        named("roof", "tree").renamed(1, "roof")
    with pytest.raises(ClassListError, match="more than"):
        ClassList(tuple(ObjectClass(str(number), "#000000") for number in range(1001)))

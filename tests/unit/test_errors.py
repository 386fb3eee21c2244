# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors keep their class when they cross the process border."""

from __future__ import annotations

from geo_sam2.errors import CheckpointError, EngineError, GeoSam2Error, error_from_name


def test_error_comes_back_as_its_own_class():
    error = error_from_name("CheckpointError", "It is no model.", "Choose another.")
    assert type(error) is CheckpointError
    assert (error.text, error.hint) == ("It is no model.", "Choose another.")


def test_unknown_name_becomes_an_engine_error():
    assert type(error_from_name("KeyError", "x", "")) is EngineError


def test_sentence_and_hint_are_read_together():
    assert str(GeoSam2Error("The disk is full.", "Make room.")) == "The disk is full. Make room."
    assert str(GeoSam2Error("The disk is full.")) == "The disk is full."

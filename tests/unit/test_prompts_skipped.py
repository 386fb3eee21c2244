# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of prompts that could not be used."""

from __future__ import annotations

import pytest

from geo_sam2.segmentation.skipped_prompts import Skipped, SkippedPrompts, ranges


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([4], "4"), ([1, 2], "1–2"), ([9, 1, 2, 3, 7, 3], "1–3, 7, 9"), ([-1, 0], "-1–0")],
)
def test_ids_are_written_as_ranges(numbers, text):
    assert ranges(numbers) == text


def test_each_reason_is_one_sentence_with_all_ids():
    skipped = SkippedPrompts()
    skipped.add(Skipped.OUTSIDE, 7)
    skipped.add(Skipped.OUTSIDE, 3, 4)
    skipped.add(Skipped.NO_GEOMETRY, 5)
    skipped.add(Skipped.OUTSIDE, 7)
    assert skipped.sentences() == [
        "Prompt 5 has no geometry.",
        "3 prompts lie outside the feature store: 3–4, 7.",
    ]
    assert len(skipped) == 4


def test_prompt_with_two_reasons_counts_once():
    skipped = SkippedPrompts()
    skipped.add(Skipped.OUTSIDE, 1)
    skipped.add(Skipped.NO_FOREGROUND, 1, 2)
    assert len(skipped) == 2
    assert len(SkippedPrompts()) == 0


@pytest.mark.parametrize("reason", Skipped)
def test_every_reason_reads_well(reason):
    for count in (1, 2):
        skipped = SkippedPrompts()
        skipped.add(reason, *range(count))
        (sentence,) = skipped.sentences()
        assert sentence.endswith(".")
        assert sentence.startswith("Prompt 0 " if count == 1 else "2 prompts ")

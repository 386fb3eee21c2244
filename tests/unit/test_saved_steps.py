# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted objects on an undo stack that others use as well, and the features that they became."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.segmentation.accepted_features import AcceptedFeatures
from geo_sam2.segmentation.saved_steps import SavedStep, SavedSteps


def step(number, index, *fids, replaced=None):
    return SavedStep(number, index, fids or (-number,), replaced)


def numbers(steps):
    return [item.number for item in steps]


def always(_):
    return True


def never(_):
    return False


def test_only_the_last_command_done_is_ours_to_undo():
    steps = SavedSteps()
    assert steps.top(0) is None
    steps.add(step(1, 1))
    assert steps.top(1).number == 1
    assert steps.top(2) is None  # somebody's command lies upon it


def test_undo_and_redo_are_followed_in_order():
    steps = SavedSteps()
    for number in (1, 2, 3):
        steps.add(step(number, number))
    undone, redone = steps.follow(1, 3, always)
    assert (numbers(undone), numbers(redone)) == ([3, 2], [])
    assert steps.top(1).number == 1
    undone, redone = steps.follow(3, 3, always)
    assert (numbers(undone), numbers(redone)) == ([], [2, 3])
    assert len(steps) == 3


def test_another_command_in_the_place_of_an_undone_one_is_not_ours():
    steps = SavedSteps()
    steps.add(step(1, 1))
    steps.add(step(2, 2))
    steps.follow(0, 2, always)
    assert steps.follow(1, 1, never) == ([], [])
    assert steps.top(1) is None
    assert steps.follow(2, 2, always) == ([], [])


def test_commands_cut_off_by_another_one_never_come_back():
    steps = SavedSteps()
    for number in (1, 2, 3):
        steps.add(step(number, number))
    steps.follow(1, 3, always)
    steps.follow(2, 2, never)  # somebody did something else instead of the second
    assert steps.follow(3, 3, always) == ([], [])
    assert numbers(steps.clear()) == [1]


def test_what_was_undone_before_a_new_object_is_forgotten():
    steps = SavedSteps()
    steps.add(step(1, 1))
    steps.add(step(2, 2))
    steps.follow(0, 2, always)
    steps.add(step(3, 1))
    assert steps.follow(2, 2, always) == ([], [])
    assert steps.top(1).number == 3


@pytest.mark.parametrize("seed", range(20))
def test_any_course_of_events_agrees_with_a_stack_that_knows_its_commands(seed):
    rng = np.random.default_rng(seed)
    steps, stack, index, made = SavedSteps(), [], 0, 0
    for _ in range(200):
        action = rng.choice(["ours", "theirs", "undo", "redo"])
        if action in ("ours", "theirs"):
            del stack[index:]
            made += 1
            stack.append(made if action == "ours" else -made)
            index = len(stack)
            if action == "ours":
                steps.add(step(made, index))
        else:
            index = int(
                rng.integers(0, index + 1) if action == "undo" else rng.integers(index, len(stack) + 1)
            )
        if action != "ours":
            in_effect = set(stack[:index])
            steps.follow(index, len(stack), lambda item, known=in_effect: item.number in known)
        done = [number for number in stack[:index] if number > 0]
        assert len(steps) == len(done)
        top = steps.top(index)
        assert (top.number if top else None) == (stack[index - 1] if index and stack[index - 1] > 0 else None)


def test_object_of_several_features_is_there_while_one_of_them_is():
    accepted = AcceptedFeatures()
    accepted.add(1, (-5, -6))
    assert accepted.lose(-5) == []
    assert accepted.lose(-6) == [1]
    assert accepted.lose(-6) == []
    assert len(accepted) == 0
    assert accepted.find(-6) == [1]
    assert accepted.find(-5) == []
    assert len(accepted) == 1


def test_feature_that_is_none_of_ours_means_nothing():
    accepted = AcceptedFeatures()
    assert accepted.lose(7) == []
    assert accepted.find(7) == []
    assert accepted.newest_of(7) is None


def test_an_object_in_the_place_of_another_goes_and_leaves_that():
    accepted = AcceptedFeatures()
    accepted.add(1, (-5,))
    accepted.add(2, (-5,))
    assert accepted.newest_of(-5) == 2
    assert accepted.withdraw(2)
    assert not accepted.withdraw(2)
    assert accepted.newest_of(-5) == 1
    # What happens to the feature from now on concerns the first alone.
    assert accepted.lose(-5) == [1]
    assert accepted.find(-5) == [1]


def test_features_that_were_taken_over_by_the_source_are_lost_together():
    accepted = AcceptedFeatures()
    accepted.add(1, (-1,))
    accepted.add(2, (-2, -3))
    accepted.add(3, (-4,))
    assert sorted(accepted.keep([-3])) == [1, 3]
    assert len(accepted) == 1

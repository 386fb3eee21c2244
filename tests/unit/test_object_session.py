# SPDX-License-Identifier: GPL-3.0-or-later
"""The session: prompts, history, masks, presses of double-clicks, and answers in any order."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.errors import PromptError
from geo_sam2.segmentation import session as session_module
from geo_sam2.segmentation.object_result import Candidate, ObjectResult
from geo_sam2.segmentation.object_state import MAX_PROMPTS, ObjectState, hovered
from geo_sam2.segmentation.session import Session, Shown
from geo_sam2.tile_window import TileWindow

WINDOW = TileWindow(0, 0, 0, 1024, 1024)
NOTHING = Shown(ObjectState(), None)


def a_result(masks=1, best=0, scores=(0.5, 0.9, 0.7)):
    candidates = tuple(Candidate(mask, Outlines.empty(), scores[mask], 1.0) for mask in range(masks))
    return ObjectResult(candidates, best, False, (WINDOW,))


def answered(session, request, masks=1, best=0):
    """Answer a request that must be the newest; return the result."""
    result = a_result(masks, best)
    assert session.accept_answer(request.number, result)
    assert session.result is result
    return result


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def two_clicks(session):
    """Return the results of the first and of the second click of an open object."""
    first = answered(session, session.add_click(10, 20, 1), masks=3, best=1)
    second = answered(session, session.add_click(30, 40, 0))
    return first, second


# Results


def test_best_candidates_come_first():
    assert a_result(masks=3).best_first == (1, 2, 0)
    assert a_result(masks=3, best=2).shown.mask == 2


@pytest.mark.parametrize(("masks", "chosen"), [(0, 0), (1, 1), (3, -1)])
def test_result_without_its_chosen_candidate_is_refused(masks, chosen):
    with pytest.raises(ValueError, match="is chosen"):
        a_result(masks, chosen)


# Prompts and requests


def test_nothing_is_open_at_first(session):
    assert not session.is_open
    assert not session.can_undo
    assert not session.can_redo
    assert (session.result, session.awaited) == (None, None)
    assert session.undo() is None
    assert session.redo() is None
    assert session.ask_again() is None


def test_each_prompt_asks_for_all_so_far(session):
    first = session.add_click(10.1234567, 20, 1)
    second = session.add_box(50, 60, 30, 20)
    third = session.add_click(5, 6, 0)
    assert first.number < second.number < third.number
    assert third.state == session.state
    click, box, beside = third.state.prompts
    assert (click.x_px, click.y_px, click.label) == (10.123, 20.0, 1)
    assert box.bounds_px == (30, 20, 50, 60)
    assert beside.label == 0
    assert click.source_id < box.source_id < beside.source_id
    assert session.awaited == third
    assert session.result is None


def test_background_alone_asks_nothing_until_it_has_company(session):
    assert session.add_click(1, 1, 0) is None
    assert session.is_open
    assert session.awaited is None
    assert len(session.add_click(2, 2, 1).state.prompts) == 2


@pytest.mark.parametrize(
    "bad",
    [
        lambda session: session.add_click(float("nan"), 1, 1),
        lambda session: session.add_click(1, 1e13, 1),
        lambda session: session.add_click(1, 1, 2),
        lambda session: session.add_click(1, 1, True),
        lambda session: session.add_box(1, 1, 1.0001, 5),
        lambda session: session.move(1, float("inf"), 1),
        lambda session: session.choose_mask(3),
    ],
)
def test_bad_prompt_changes_nothing(session, bad):
    result = answered(session, session.add_click(10, 20, 1), masks=3)
    state = session.state
    with pytest.raises(PromptError):
        bad(session)
    assert session.state == state
    assert session.result is result
    session.undo()
    assert not session.can_undo


def test_prompts_are_limited_to_the_steps_that_the_engine_takes(session):
    for x in range(MAX_PROMPTS):
        session.add_click(x, 0, 0)
    with pytest.raises(PromptError, match="at most"):
        session.add_click(0, 0, 1)
    assert len(session.state.prompts) == MAX_PROMPTS


def test_moved_click_keeps_its_place_in_the_order(session):
    for x in (1, 2, 3):
        session.add_click(x, 0, 1)
    moved = session.move(session.state.prompts[1].source_id, 7, 8).state
    assert [(prompt.x_px, prompt.y_px) for prompt in moved.prompts] == [(1, 0), (7, 8), (3, 0)]


def test_drag_there_and_back_is_the_same_state_and_its_result_is_known(session, two_clicks):
    state, (click, _) = session.state, session.state.prompts
    assert session.move(click.source_id, 500.0003, 600).state != state
    assert session.move(click.source_id, click.x_px, click.y_px) is None
    assert session.state == state
    assert session.result is two_clicks[1]
    assert session.undo() is None  # the drag there is still being asked for
    assert session.result is None


@pytest.mark.parametrize("size", [7, 7.001, 0.001, 1 / 3])
def test_box_dragged_there_and_back_is_the_same_box(session, size):
    session.add_box(10.0005, 20.7, 10.0005 + size, 20.7 + size)
    (box,) = session.state.prompts
    places = np.random.default_rng(1).uniform(-1e5, 1e6, (200, 2))
    for place in np.concatenate((places, places.round())):
        session.move(box.source_id, *place)
        (there,) = session.state.prompts
        assert there.width_px == pytest.approx(box.width_px, abs=1e-9)
    x_min, y_min, x_max, y_max = box.bounds_px
    session.move(box.source_id, (x_min + x_max) / 2, (y_min + y_max) / 2)
    assert session.state.prompts == (box,)


def test_what_changes_nothing_asks_nothing(session, two_clicks):
    click, _ = session.state.prompts
    assert session.move(click.source_id, click.x_px, click.y_px) is None
    assert session.move(99, 5, 5) is None
    assert session.remove(99) is None
    assert session.result is two_clicks[1]
    session.undo()
    session.undo()
    assert not session.can_undo


def test_removed_prompt_was_never_given(session):
    session.add_click(1, 1, 1)
    session.add_click(2, 2, 1)
    first, second = session.state.prompts
    assert session.remove(first.source_id).state.prompts == (second,)
    assert session.remove(second.source_id) is None
    assert not session.is_open
    session.undo()
    assert session.state.prompts == (second,)


# History


def test_undo_and_redo_show_known_results_at_once(session, two_clicks):
    first, second = two_clicks
    assert session.undo() is None
    assert session.result is first
    assert session.can_choose_mask
    assert session.undo() is None
    assert (session.result, session.is_open, session.can_undo) == (None, False, False)
    assert session.redo() is None
    assert session.redo() is None
    assert session.result is second
    assert not session.can_redo


def test_prompt_after_undo_ends_what_could_be_redone(session, two_clicks):
    session.undo()
    session.add_click(7, 7, 1)
    assert not session.can_redo
    assert [prompt.x_px for prompt in session.state.prompts] == [10, 7]


def test_clear_can_be_undone_until_a_new_object_is_begun(session, two_clicks):
    state = session.state
    session.clear()
    assert not session.is_open
    assert session.result is None
    assert session.undo() is None
    assert (session.state, session.result) == (state, two_clicks[1])
    session.redo()
    assert not session.is_open
    session.add_click(1, 1, 1)
    session.undo()
    assert not session.is_open
    assert not session.can_undo


def test_clear_of_nothing_is_no_step(session):
    session.clear()
    assert not session.can_undo


def test_finished_object_is_forgotten(session, two_clicks):
    session.finish()
    assert (session.is_open, session.can_undo, session.can_redo, session.result) == (False,) * 3 + (None,)


def test_restored_object_has_nothing_to_undo_but_what_follows(session, two_clicks):
    request = session.restore(ObjectState(session.state.prompts[:1], mask=2))
    assert request.state.mask == 2
    assert not session.can_undo
    session.clear()
    session.undo()
    assert session.state == request.state
    assert session.restore(ObjectState()) is None
    assert not session.is_open


# Answers


def test_late_answer_is_not_shown_but_kept_for_undo(session):
    early = session.add_click(1, 1, 1)
    newest = session.add_click(2, 2, 1)
    shown = answered(session, newest)
    late = a_result(3)
    assert session.accept_answer(early.number, late) is False
    assert session.result is shown
    assert session.undo() is None
    assert session.result is late


def test_late_answer_does_not_become_the_result_of_what_is_still_asked_for(session):
    early = session.add_click(1, 1, 1)
    newest = session.add_click(2, 2, 1)
    assert session.accept_answer(early.number, a_result()) is False
    assert session.result is None
    assert session.awaited == newest


def test_undo_before_the_answer_waits_for_the_answer_on_its_way(session):
    early = session.add_click(1, 1, 1)
    session.add_click(2, 2, 1)
    assert session.undo() is None
    assert session.awaited == early
    answered(session, early)


def test_answer_counts_once(session):
    request = session.add_click(1, 1, 1)
    shown = answered(session, request)
    assert session.accept_answer(request.number, a_result()) is False
    assert session.accept_answer(999, a_result()) is False
    assert session.result is shown


def test_failure_of_the_newest_is_told_and_can_be_tried_again(session):
    early = session.add_click(1, 1, 1)
    newest = session.add_click(2, 2, 1)
    assert session.request_failed(early.number) is False
    assert session.request_failed(newest.number) is True
    assert session.awaited is None
    assert len(session.state.prompts) == 2
    again = session.ask_again()
    assert again.state == newest.state
    assert again.number > newest.number
    answered(session, again)
    assert session.undo().state == early.state  # its failure left nothing to show


def test_failure_after_the_object_was_finished_is_not_told(session):
    request = session.add_click(1, 1, 1)
    session.finish()
    assert session.request_failed(request.number) is False
    request = session.add_click(1, 1, 1)
    session.clear()
    assert session.request_failed(request.number) is False


def test_other_shape_makes_old_results_and_answers_void(session, two_clicks):
    pending = session.add_click(5, 5, 1)
    again = session.ask_again()
    assert again.state == pending.state
    assert session.accept_answer(pending.number, a_result()) is False
    assert session.result is None
    answered(session, again)
    assert session.undo().state == session.state
    assert session.result is None


@pytest.mark.parametrize("end", [Session.finish, lambda session: session.restore(hovered(1, 1))])
def test_answer_to_an_object_that_is_gone_is_dropped(session, end):
    request = session.add_click(1, 1, 1)
    end(session)
    assert session.accept_answer(request.number, a_result()) is False
    assert session.result is None
    assert session._known.nbytes == 0


def test_cleared_objects_answer_comes_back_with_it(session):
    request = session.add_click(1, 1, 1)
    session.clear()
    late = a_result()
    assert session.accept_answer(request.number, late) is False
    assert session.result is None
    assert session.undo() is None
    assert session.result is late


def test_results_of_a_long_history_are_bounded_but_the_current_one_stays(session, monkeypatch):
    ring = np.array([(0, 0), (0, 1), (1, 1), (0, 0)] * 25_000, np.float64)
    outlines = Outlines(ring, np.array([0, len(ring)], np.int32), np.array([0, 1], np.int32))
    big = [ObjectResult((Candidate(0, outlines, 1.0, 1.0),), 0, False, (WINDOW,)) for _ in range(60)]
    requests = [session.add_click(x, 0, 1) for x in range(60)]
    for request, result in zip(reversed(requests), reversed(big)):
        session.accept_answer(request.number, result)
    assert session.result is big[-1]
    assert session._known.nbytes <= session_module.KNOWN_RESULTS_BYTES
    asked = [session.undo() for _ in range(59)]
    assert asked[-1] is None
    assert 0 < sum(request is not None for request in asked) < 59


# Masks


def test_masks_are_stepped_through_from_the_best_and_round(session):
    answered(session, session.add_click(1, 1, 1), masks=3, best=1)
    seen = []
    for _ in range(4):
        request = session.step_mask(1)
        seen.append(request.state.mask if request else session.state.mask)
    assert seen == [2, 0, 1, 2]
    assert session.step_mask(-1) is None  # it is asked for already
    assert session.state.mask == 1


def test_run_of_choices_is_one_step_of_undo(session):
    result = answered(session, session.add_click(1, 1, 1), masks=3, best=1)
    session.step_mask(1)
    session.step_mask(1)
    session.choose_mask(1)
    session.undo()
    assert session.state.mask is None
    assert session.result is result
    session.redo()
    assert session.state.mask == 1
    session.choose_mask(None)
    assert session.result is result
    session.undo()
    assert not session.is_open


def test_choice_stays_with_its_click_through_corrections(session):
    answered(session, session.add_click(1, 1, 1), masks=3)
    answered(session, session.choose_mask(2), masks=3, best=2)
    request = session.add_click(9, 9, 0)
    assert request.state.mask == 2
    answered(session, request)
    assert not session.can_choose_mask
    assert session.step_mask(1) is None
    assert session.choose_mask(0) is None
    assert session.state.mask == 2
    session.undo()
    assert session.can_choose_mask
    assert session.move(session.state.prompts[0].source_id, 3, 3).state.mask == 2


def test_choice_goes_with_the_click_that_it_was_made_for(session):
    answered(session, session.add_click(1, 1, 1), masks=3)
    session.choose_mask(2)
    session.add_click(9, 9, 1)
    first, second = session.state.prompts
    assert session.remove(first.source_id).state.mask is None
    session.undo()
    session.remove(second.source_id)
    assert session.state.mask == 2


def test_unknown_best_is_not_stepped_from(session):
    session.add_click(1, 1, 1)
    assert session.step_mask(1) is None
    assert session.state.mask is None
    assert session.choose_mask(0).state.mask == 0
    assert session.step_mask(1).state.mask == 1


def test_click_that_has_three_masks_beside_idle_background_can_be_stepped(session):
    session.add_click(5000, 1, 0)
    answered(session, session.add_click(1, 1, 1), masks=3, best=0)
    assert session.step_mask(1).state.mask == 1


@pytest.mark.parametrize("label", [0, 1])
def test_box_and_several_clicks_leave_no_choice(session, label):
    answered(session, session.add_box(1, 1, 9, 9))
    assert not session.can_choose_mask
    session.add_click(2, 2, label)
    assert not session.can_choose_mask


# Double-clicks


def test_presses_of_a_double_click_are_no_prompts(session, two_clicks):
    first, second = two_clicks
    state = session.state
    answered(session, session.add_click(50, 50, 1))
    shown = session.take_back_press()
    assert (shown.state, shown.result) == (state, second)
    assert (session.state, session.result) == (state, second)
    assert not session.can_redo
    session.undo()
    assert session.result is first


def test_double_click_saves_the_hover_preview_where_nothing_was_open(session):
    preview, state = a_result(), hovered(10, 10)
    session.show_hover(state, preview)
    answered(session, session.add_click(11, 10, 1), masks=3)
    assert session.hover is None
    shown = session.take_back_press()
    assert shown == Shown(state, preview)
    assert not session.is_open
    assert session.hover == shown


def test_double_click_on_nothing_shown_saves_nothing(session):
    answered(session, session.add_click(11, 10, 1), masks=3)
    assert session.take_back_press() == NOTHING
    assert not session.is_open
    assert not session.can_undo


def test_hidden_hover_is_not_saved(session):
    session.show_hover(hovered(10, 10), a_result())
    session.hide_hover()
    session.add_click(11, 10, 1)
    assert session.take_back_press() == NOTHING


def test_hover_beside_an_open_object_is_not_saved_instead_of_it(session, two_clicks):
    session.show_hover(hovered(10, 10), a_result())
    session.add_click(11, 10, 1)
    assert session.take_back_press().result is two_clicks[1]


def test_double_click_after_undo_can_still_redo(session, two_clicks):
    session.undo()
    session.add_click(9, 9, 1)
    assert session.take_back_press().result is two_clicks[0]
    session.redo()
    assert session.result is two_clicks[1]


def test_double_click_just_after_clear_can_still_undo_it(session, two_clicks):
    session.clear()
    session.show_hover(hovered(5, 5), a_result())
    session.add_click(5, 5, 1)
    session.take_back_press()
    session.undo()
    assert session.result is two_clicks[1]


def test_answer_that_was_awaited_before_the_press_counts_after_it(session):
    request = session.add_click(1, 1, 1)
    press = session.add_click(2, 2, 1)
    assert session.take_back_press() == Shown(request.state, None)
    assert session.awaited == request
    assert session.accept_answer(press.number, a_result()) is False
    result = answered(session, request)
    assert session.state == request.state
    assert session.result is result


def test_answer_that_came_between_the_presses_counts_too(session):
    request = session.add_click(1, 1, 1)
    session.add_click(2, 2, 1)
    result = a_result()
    session.accept_answer(request.number, result)
    assert session.take_back_press().result is result


def test_what_was_shown_is_saved_even_if_a_tile_arrives_between_the_presses(session, two_clicks):
    session.add_click(2, 2, 1)
    session.ask_again()
    assert session.take_back_press().result is two_clicks[1]


@pytest.mark.parametrize(
    "between",
    [
        lambda session: session.add_box(1, 1, 5, 5),
        lambda session: session.move(session.state.prompts[0].source_id, 99, 99),
        lambda session: (session.undo(), session.redo()),
        lambda session: (session.undo(), session.undo()),
        lambda session: session.choose_mask(None) or session.remove(1),
        lambda session: session.take_back_press(),
    ],
)
def test_press_that_was_no_click_takes_nothing_back(session, two_clicks, between):
    session.add_click(2, 2, 1)
    between(session)
    state = session.state
    assert session.take_back_press().state == state
    assert session.state == state


# Everything at once


class Hands:
    """Does something at random to a session."""

    KINDS = (
        *("click", "undo", "redo") * 4,
        *("box", "move", "remove", "mask", "step", "clear", "double", "shape", "finish", "restore"),
    )

    def __init__(self, session, seed):
        self.dice = np.random.default_rng(seed)
        self.session = session
        self.era = 0
        self.taken_back = None

    def act(self):
        """Return the request that follows, if any."""
        return getattr(self, self.KINDS[self.dice.integers(len(self.KINDS))])()

    def place(self):
        return [int(number) for number in self.dice.integers(4, size=2)]

    def an_id(self):
        ids = [prompt.source_id for prompt in self.session.state.prompts]
        return int(self.dice.choice(ids or [0]))

    def click(self):
        return self.session.add_click(*self.place(), int(self.dice.integers(2)))

    def box(self):
        x, y = self.place()
        return self.session.add_box(x, y, x + 3, y + 2)

    def move(self):
        return self.session.move(self.an_id(), *self.place())

    def remove(self):
        return self.session.remove(self.an_id())

    def mask(self):
        return self.session.choose_mask((None, 0, 1, 2)[self.dice.integers(4)])

    def step(self):
        return self.session.step_mask(int(self.dice.choice([-1, 1])))

    def undo(self):
        return self.session.undo()

    def redo(self):
        return self.session.redo()

    def clear(self):
        self.session.clear()

    def finish(self):
        self.session.finish()

    def restore(self):
        return self.session.restore(self.session.state)

    def shape(self):
        self.era += 1
        return self.session.ask_again()

    def double(self):
        self.taken_back = self.session.take_back_press().result


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_done_a_result_is_that_of_its_own_state_and_shape(seed):
    """Random hands, and answers that come late, out of order, or not at all."""
    session, sent, meant, shown_results = Session(), [], {}, 0
    hands = Hands(session, seed)
    for _ in range(600):
        request = hands.act()
        if request is not None:
            assert request == session.awaited
            assert request.state == session.state
            sent.append((request, hands.era))
        while sent and hands.dice.random() < 0.4:
            request, era = sent.pop(hands.dice.integers(len(sent)))
            if hands.dice.random() < 0.1:
                session.request_failed(request.number)
                continue
            result = a_result(3 if request.state.is_lone_click else 1)
            meant[id(result)] = (result, request.state, era)
            assert session.accept_answer(request.number, result) == (session.result is result)
        if session.result is not None:
            _, state, era = meant[id(session.result)]
            assert state == session.state
            assert era == hands.era or session.result is hands.taken_back
            assert session.awaited is None
            shown_results += 1
        elif session.awaited is not None:
            assert session.awaited in [request for request, _ in sent]
    assert shown_results > 50

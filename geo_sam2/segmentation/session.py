# SPDX-License-Identifier: GPL-3.0-or-later
"""The object that a person is working on: its prompts, their history, and what is known of them.

Owns which state is current, what is to be asked of the engine, and which answers still count.
Ignorant of widgets, layers, tiles and the engine: it hands out requests and is given results. Used
from one thread.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from geo_sam2.engine.byte_cache import ByteCache
from geo_sam2.segmentation.object_result import ObjectResult
from geo_sam2.segmentation.object_state import MASK_COUNT, ObjectState, Prompt, make_box, make_click

__all__ = ["ObjectState", "Prompt", "Session", "SessionRequest", "Shown"]

# A result takes some ten kB, so this is the whole history of nearly every object.
KNOWN_RESULTS_BYTES = 32 * 2**20
_BYTES_OF_RECORD = 1024


@dataclass(frozen=True)
class SessionRequest:
    """A state whose result is wanted.

    Attributes:
        number: Comes back with the answer; each is greater than those before.
        state: What to decode.
    """

    number: int
    state: ObjectState


@dataclass(frozen=True)
class Shown:
    """What was on the screen at some moment.

    Attributes:
        state: What it was prompted with; without prompts if nothing was there.
        result: Its result; None if that was still being asked for, or nothing was there.
    """

    state: ObjectState
    result: ObjectResult | None


@dataclass(frozen=True)
class _Press:
    """How everything was before a click, in case it turns out to begin a double-click."""

    states: tuple[ObjectState, ...]
    position: int
    result: ObjectResult | None
    hover: Shown | None


class Session:
    """One object after the other.

    Whatever changes the prompts returns the request to send, or None where nothing is to be asked:
    nothing changed, no prompt says where the object is, the result is known, or its answer is on
    its way (see ``awaited``). An answer counts for the state that it was asked for, whenever it
    arrives: late ones are kept for undo and redo, and never become the result of another state.
    """

    def __init__(self) -> None:
        self._states: list[ObjectState] = [ObjectState()]
        self._position = 0
        self._result: ObjectResult | None = None
        self._hover: Shown | None = None
        self._press: _Press | None = None
        # Results are the same for the same state until ``ask_again``, so they are found by it.
        self._known: ByteCache[ObjectResult] = ByteCache(
            KNOWN_RESULTS_BYTES, lambda result: result.nbytes + _BYTES_OF_RECORD
        )
        self._asked: dict[int, ObjectState] = {}
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)

    # What there is

    @property
    def state(self) -> ObjectState:
        """The prompts as they are now."""
        return self._states[self._position]

    @property
    def result(self) -> ObjectResult | None:
        """The result of ``state``; None while it is being asked for, could not be had, or nothing is open."""
        return self._result

    @property
    def awaited(self) -> SessionRequest | None:
        """The request whose answer will be ``result``; None if that is there, or nobody will bring it."""
        if self._result is not None:
            return None
        found = (number for number, state in self._asked.items() if state == self.state)
        number = next(found, None)
        return None if number is None else SessionRequest(number, self.state)

    @property
    def hover(self) -> Shown | None:
        """The preview that is on the screen while no object is open."""
        return self._hover

    @property
    def is_open(self) -> bool:
        """Whether there is an object with prompts."""
        return bool(self.state.prompts)

    @property
    def can_undo(self) -> bool:
        """Whether ``undo`` has somewhere to go; also just after ``clear``."""
        return self._position > 0

    @property
    def can_redo(self) -> bool:
        """Whether ``redo`` has somewhere to go."""
        return self._position + 1 < len(self._states)

    @property
    def can_choose_mask(self) -> bool:
        """Whether there are three masks to choose from."""
        if self.state.is_lone_click:
            return True
        return self._result is not None and len(self._result.candidates) == MASK_COUNT

    # Prompts

    def add_click(self, x_px: float, y_px: float, label: int) -> SessionRequest | None:
        """Add a point on the object (label 1) or beside it (0), in grid pixels.

        Raises:
            PromptError: It is no such point, or there are too many; nothing has changed then.
        """
        before = _Press(tuple(self._states), self._position, self._result, self._hover)
        request = self._add(make_click(x_px, y_px, label, next(self._ids)))
        self._press = before
        return request

    def add_box(
        self, x_min_px: float, y_min_px: float, x_max_px: float, y_max_px: float
    ) -> SessionRequest | None:
        """Add a box around the object, in grid pixels, from any two opposite corners.

        Raises:
            PromptError: It is empty, or there are too many prompts; nothing has changed then.
        """
        return self._add(make_box(x_min_px, y_min_px, x_max_px, y_max_px, next(self._ids)))

    def move(self, prompt_id: int, x_px: float, y_px: float) -> SessionRequest | None:
        """Move a click, or the centre of a box, in grid pixels; its place in the order stays.

        Raises:
            PromptError: It would lie on no raster; nothing has changed then.
        """
        return self._change(self.state.moved(prompt_id, x_px, y_px))

    def remove(self, prompt_id: int) -> SessionRequest | None:
        """Take a prompt away, as if it had never been given."""
        return self._change(self.state.without(prompt_id))

    def choose_mask(self, mask: int | None) -> SessionRequest | None:
        """Choose among the three masks of a lone click: 0 part, 1 object, 2 whole, None the best.

        Without effect where there is no choice. A run of choices is one step of undo.

        Raises:
            PromptError: There is no such mask; nothing has changed then.
        """
        chosen = self.state.with_mask(mask)
        if not self.can_choose_mask or chosen == self.state:
            return None
        before = self._states[: self._position]
        if before and before[-1].prompts == chosen.prompts:
            # The current state was a choice as well.
            self._press = None
            states = before if before[-1] == chosen else [*before, chosen]
            return self._enter(states, len(states) - 1)
        return self._change(chosen)

    def step_mask(self, by: int) -> SessionRequest | None:
        """Go on by a number of masks, part to object to whole and round again; backwards if negative.

        Without effect where there is no choice, and while it is unknown which mask is the best.
        """
        mask = self.state.mask
        if mask is None and self._result is not None:
            mask = self._result.shown.mask
        return None if mask is None else self.choose_mask((mask + by) % MASK_COUNT)

    # History

    def undo(self) -> SessionRequest | None:
        """Go back to the state before; its result is there at once if it is still known."""
        self._press = None
        return self._enter(self._states, max(self._position - 1, 0))

    def redo(self) -> SessionRequest | None:
        """Go forward to the state that was undone."""
        self._press = None
        return self._enter(self._states, min(self._position + 1, len(self._states) - 1))

    def clear(self) -> None:
        """Drop the object. ``undo`` brings it back until a new one is begun: Esc is hit by mistake."""
        if self.is_open:
            self._change(ObjectState())

    def finish(self) -> None:
        """Forget the object and its history: it was saved, or is not wanted. Late answers are dropped."""
        self._press = self._hover = None
        self._known.discard(lambda _: True)
        self._asked.clear()
        self._enter([ObjectState()], 0)

    def restore(self, state: ObjectState) -> SessionRequest | None:
        """Open an object as it was saved, its prompts numbered anew; what was open before is forgotten."""
        self.finish()
        return self._enter([state.numbered(self._ids)], 0)

    def take_back_press(self) -> Shown:
        """Undo the first press of a double-click, whose presses are no prompts; return what was shown then.

        To be called when the press before was answered with ``add_click`` and nothing came
        between. Everything is as it was before that click, what could be redone too. Where no
        object was open, it is the hover preview that was shown. A result that is None while
        ``awaited`` is not will be there when its answer is.

        Returns:
            What is to be saved. If the last change was no click: what is open now.
        """
        press, self._press = self._press, None
        hover = self._hover
        if press is not None:
            self._states, self._position = list(press.states), press.position
            # Its answer may have come since. What was seen stays, even if ``ask_again`` forgot it since.
            self._result = press.result or self._known.get(self.state)
            self._hover = hover = press.hover
        if self.is_open:
            return Shown(self.state, self._result)
        return hover or Shown(ObjectState(), None)

    # Hover

    def show_hover(self, state: ObjectState, result: ObjectResult) -> None:
        """Note that a preview is on the screen, which a double-click would save."""
        self._hover = Shown(state, result)

    def hide_hover(self) -> None:
        """Note that there is no preview on the screen any more."""
        self._hover = None

    # Answers

    def accept_answer(self, number: int, result: ObjectResult) -> bool:
        """Take the answer to a request.

        Returns:
            Whether it is the result of the current state, to be shown. If not, it is kept for undo
            and redo, or dropped if it was asked for before ``ask_again``, ``finish`` or ``restore``.
        """
        state = self._asked.pop(number, None)
        if state is None:
            return False
        self._known.put(state, result)
        if state != self.state:
            return False
        self._result = result
        return True

    def request_failed(self, number: int) -> bool:
        """Note that a request will not be answered; ``ask_again`` tries once more.

        Returns:
            Whether the current state waits in vain now, so that the reason is worth a sentence.
        """
        state = self._asked.pop(number, None)
        return state == self.state and self._result is None and self.awaited is None

    def ask_again(self) -> SessionRequest | None:
        """Ask for the current state anew, forgetting all results and what is on its way.

        For when results change though prompts do not: other shape options, a tile that was encoded
        meanwhile, another store, an engine that died.
        """
        self._known.discard(lambda _: True)
        self._asked.clear()
        return self._enter(self._states, self._position)

    def _add(self, prompt: Prompt) -> SessionRequest | None:
        state = self.state.with_prompt(prompt)
        if not self.is_open:
            # A new object begins, with nothing to undo before it.
            self._states, self._position = [ObjectState()], 0
        return self._change(state)

    def _change(self, state: ObjectState) -> SessionRequest | None:
        """Make a state the newest one of the history; one that is current already changes nothing."""
        self._press = None
        if state == self.state:
            return None
        self._hover = None
        return self._enter([*self._states[: self._position + 1], state], self._position + 1)

    def _enter(self, states: list[ObjectState], position: int) -> SessionRequest | None:
        """Make a state of a history the current one, and ask for its result if need be."""
        self._states, self._position = states, position
        self._result = self._known.get(self.state)
        if self._result is not None or not self.state.has_foreground or self.awaited is not None:
            return None
        request = SessionRequest(next(self._numbers), self.state)
        self._asked[request.number] = request.state
        return request

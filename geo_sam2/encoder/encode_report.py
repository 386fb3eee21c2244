# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads while a raster is encoded and afterwards: sentences, percent, remaining time.

Works on anything that has the methods of ``QgsProcessingFeedback``; ignorant of QGIS itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from geo_sam2.encoder.encode_request import EncodePlan, EncodeResult
from geo_sam2.encoder.progress import EncodeProgress, duration_text, size_text

# Each text becomes a line in the dialog's log.
_TEXT_INTERVAL_S = 5.0


class Feedback(Protocol):
    """The part of ``QgsProcessingFeedback`` that is used; safe from the job's thread."""

    def pushInfo(self, text: str) -> None:
        """Show a line."""

    def pushWarning(self, text: str) -> None:
        """Show a line that stands out."""

    def setProgress(self, percent: float) -> None:
        """Move the bar."""

    def setProgressText(self, text: str) -> None:
        """Show what is being done."""


class EncodeReport:
    """Tells the feedback what the job tells it.

    Args:
        feedback: Where to.
        clock: Seconds that only run forward.
    """

    def __init__(self, feedback: Feedback, clock: Callable[[], float]) -> None:
        self._feedback = feedback
        self._clock = clock
        self._text_told_s = -_TEXT_INTERVAL_S
        self._has_told_time = False
        self._is_waiting = False

    def step(self, text: str) -> None:
        """Say what is being done that has no count."""
        self._feedback.setProgressText(text)

    def waiting(self, progress: EncodeProgress | None) -> None:
        """Say that another job of this process encodes into the store, and how far it is."""
        if not self._is_waiting:
            self._is_waiting = True
            self._feedback.pushInfo(
                "Another run in this QGIS encodes into this store: joined. What it leaves is encoded next."
            )
        if progress is not None:
            self.progressed(progress)

    def planned(self, plan: EncodePlan) -> None:
        """Say what is going to be done, before the first tile."""
        for line in plan_lines(plan):
            self._feedback.pushInfo(line)
        if not plan.fits:
            self._feedback.pushWarning(
                f"The disk may become full: up to {size_text(plan.bytes_needed)} are needed and"
                f" {size_text(plan.bytes_free)} are free. What is encoded until then stays, and the same run"
                " goes on from there."
            )

    def progressed(self, progress: EncodeProgress) -> None:
        """Move the bar; say more now and then, and at once when the remaining time becomes known."""
        self._feedback.setProgress(100.0 * progress.done / progress.total if progress.total else 100.0)
        now_s = self._clock()
        is_first_time = not self._has_told_time and progress.seconds_left is not None
        if is_first_time or now_s - self._text_told_s >= _TEXT_INTERVAL_S:
            self._has_told_time = progress.seconds_left is not None
            self._text_told_s = now_s
            self._feedback.setProgressText(progress_text(progress))


def progress_text(progress: EncodeProgress) -> str:
    """Return how far a job is, such as “Tile 12 of 90, about 3 min left”."""
    if progress.done == 0:
        return "Encoding the first tile"
    text = f"Tile {progress.done} of {progress.total}"
    if progress.seconds_left is not None:
        text += f", about {duration_text(progress.seconds_left)} left"
    return text


def plan_lines(plan: EncodePlan) -> Iterator[str]:
    """Return sentences about a plan."""
    yield f"{'New store' if plan.is_new else 'Store'}: {plan.folder}"
    yield f"Model {plan.model_id} in {plan.precision} on {plan.device}."
    if plan.to_encode == 0:
        yield f"All {plan.selected} tiles are in the store already."
        return
    there = plan.selected - plan.to_encode
    yield (
        f"{plan.to_encode} tiles to encode"
        + (f", {there} of {plan.selected} are in the store already" if there else "")
        + f": up to {size_text(plan.bytes_needed)} on disk, {size_text(plan.bytes_free)} are free."
    )


def result_lines(result: EncodeResult) -> Iterator[str]:
    """Return sentences about what was done."""
    yield from result.notes
    yield from result.problems
    yield ", ".join(_counted(result)) + "."
    if result.is_cancelled:
        yield f"Cancelled: {result.left} tiles are left. The same run again goes on from here."
    if result.is_partial:
        yield "The store is partial; what is in it can be used."


def _counted(result: EncodeResult) -> Iterator[str]:
    """Return what became of the tiles; of what may well not be there, nothing is said if it is not."""
    took = f" in {duration_text(result.seconds)}" if result.encoded else ""
    yield f"{result.encoded} tiles encoded{took}"
    for count, what in (
        (result.empty, "without valid pixels"),
        (result.failed, "failed"),
        (result.present, "in the store already"),
    ):
        if count:
            yield f"{count} {what}"

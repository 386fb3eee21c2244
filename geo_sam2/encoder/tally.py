# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run over windows has done so far: counts, and what is worth telling afterwards.

Ignorant of where windows come from and who encodes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from geo_sam2.errors import GeoSam2Error
from geo_sam2.store_index import TileRecord, TileState
from geo_sam2.tile_window import TileWindow

_MAX_PROBLEMS = 20


@dataclass
class Tally:
    """What a run has done so far; changed by the job's thread only.

    Attributes:
        encoded: Windows that were encoded and recorded.
        empty: Windows without a valid pixel.
        failed: Windows that could not be read or encoded.
        present: Windows that the store had already when their turn came.
        problems: A sentence for each of the first few that failed.
        notes: What the engine did differently than asked, each once.
    """

    encoded: int = 0
    empty: int = 0
    failed: int = 0
    present: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def settled(self) -> int:
        """Windows that this run needs to look at no more."""
        return self.encoded + self.empty + self.failed + self.present

    def count(self, rows: Sequence[TileRecord]) -> None:
        """Count rows that are in the index."""
        self.encoded += sum(row.state is TileState.DONE for row in rows)
        self.empty += sum(row.state is TileState.EMPTY for row in rows)
        self.failed += sum(row.state is TileState.FAILED for row in rows)

    def add_notes(self, notes: Iterable[object]) -> None:
        """Keep what the engine noted, each once."""
        self.notes.extend(note for note in map(str, notes) if note not in self.notes)

    def add_problem(self, window: TileWindow, error: GeoSam2Error) -> None:
        """Keep the sentence for a window that failed, if there are few."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(f"The window at column {window.xoff}, row {window.yoff} failed: {error}")

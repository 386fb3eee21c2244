# SPDX-License-Identifier: GPL-3.0-or-later
"""Patience with files that other programs hold for a moment.

Windows refuses to rename or delete what a virus scanner or an indexer has open; they let go in
seconds. Standard library only; used by both processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 5.0
STEP_S = 0.1


def patiently(action: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Do something to a file, again and again while another program holds it.

    Args:
        action: Renames or deletes; done wholly or not at all.
        patience_s: How long to try.

    Raises:
        PermissionError: It is held for longer, or is not ours to touch.
        OSError: What else the action raised, at once.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            action()
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(STEP_S)
        else:
            return

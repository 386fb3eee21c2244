# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that belongs to a process and its children alone, from Linux's accounts."""

from __future__ import annotations

from pathlib import Path

_PRIVATE = ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:", "Swap:")


def private_bytes(pid: int) -> int:
    """Return the private bytes of a process, 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(_PRIVATE))


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run, and theirs."""
    found = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        for task in tasks:
            for child in map(int, (task / "children").read_text(encoding="ascii").split()):
                found += [child, *children(child)]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found

# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is on this machine: the environment, its parts, its devices, its room on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from geo_sam2.runtime import disk, environment, proof
from geo_sam2.runtime.environment import find, problem
from geo_sam2.runtime.folders import PathLike, folders

NOT_INSTALLED, DAMAGED, OUTDATED, READY = "not installed", "damaged", "of another release", "ready"


@dataclass(frozen=True)
class Status:
    """The state of the private environment.

    ``state`` is one of ``not installed``, ``damaged``, ``of another release`` (works, an install
    brings it up to date) and ``ready``; ``problem`` and ``hint`` say more. ``devices`` is asked of
    torch at this moment when the status is live, else as it was at the install.
    """

    state: str
    home: str
    folder: str = ""
    python: str = ""
    python_version: str = ""
    torch: str = ""
    sam2: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    variant: str = ""
    variant_reason: str = ""
    fallback_reason: str = ""
    devices: tuple[dict[str, Any], ...] = ()
    size_bytes: int = 0
    free_bytes: int = 0
    installed_at: str = ""
    problem: str = ""
    hint: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether an engine can be started."""
        return self.state in (READY, OUTDATED)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {**asdict(self), "devices": list(self.devices), "is_usable": self.is_usable}


def status(home: PathLike | None = None, *, live: bool = True) -> Status:
    """Look at the environment; ``live`` starts its Python for some seconds, and so finds more."""
    places = folders(home)
    free = disk.free_bytes(places.home)
    trouble = problem(home)
    found = find(home)
    if found is None:
        state = DAMAGED if places.pointer.exists() else NOT_INSTALLED
        text, hint = (trouble.text, trouble.hint) if trouble else ("", "")
        return Status(state, str(places.home), free_bytes=free, problem=text, hint=hint)
    facts = dict(found.record)
    text = _damage(found.folder)
    if live and not text:
        now = proof.facts_of(found.python)
        text = str(now.get("error", ""))
        facts.update(now)
    versions = dict(facts.get("versions", {}))
    state = DAMAGED if text else READY if found.is_current else OUTDATED
    return Status(
        state,
        str(places.home),
        str(found.folder),
        str(found.python),
        str(facts.get("python", "")),
        str(versions.get("torch", "")),
        str(versions.get("sam2", "")),
        versions,
        found.variant,
        str(facts.get("variant_reason", "")),
        found.fallback_reason,
        tuple(facts.get("devices", ())),
        disk.used_bytes(found.folder),
        free,
        str(facts.get("installed_at", "")),
        text,
        "" if state == READY else "Install again.",
    )


def _damage(folder: Path) -> str:
    damaged = environment.damaged_files(folder)
    if not damaged:
        return ""
    more = " and others" if len(damaged) > 1 else ""
    return f"{damaged[0]}{more} in the environment are missing or cut short."

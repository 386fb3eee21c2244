# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user chose once and for all, in QGIS's own settings, and what follows from it.

Owns the keys below ``geo_sam2/`` and their defaults. Reading is cheap and allowed on any
thread: each call makes its own ``QgsSettings``, which is what Qt asks for.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from qgis.core import QgsSettings

from geo_sam2.runtime import model_catalogue
from geo_sam2.runtime.folders import HOME_VARIABLE, folders

_PREFIX = "geo_sam2/"
_HOME, _STORES, _LAST_MODEL, _IDLE_MINUTES = "home", "stores_folder", "last_model", "engine_idle_minutes"
_TILE_SECONDS = "tile_seconds"
_MOST_TILE_SECONDS = 50


def _read(name: str) -> str:
    return str(QgsSettings().value(_PREFIX + name, "") or "")


def _write(name: str, value: str) -> None:
    QgsSettings().setValue(_PREFIX + name, value)


def home() -> Path:
    """Return the folder of environment and models: GEO_SAM2_HOME, else the setting, else the default.

    The variable goes first, so that a script can say where without touching the user's profile.
    """
    return folders(os.environ.get(HOME_VARIABLE) or _read(_HOME) or None).home


def set_home(folder: Path | None) -> None:
    """Choose another folder of environment and models; None for the default."""
    _write(_HOME, "" if folder is None else str(folder))


def stores_folder() -> Path:
    """Return where stores go that cannot lie beside their rasters."""
    return Path(_read(_STORES)) if _read(_STORES) else folders(home()).home / "stores"


def set_stores_folder(folder: Path | None) -> None:
    """Choose another folder of stores; None for the default."""
    _write(_STORES, "" if folder is None else str(folder))


def engine_idle_timeout_s() -> float | None:
    """Return after how much idle time the engine gives its memory back; None for never."""
    try:
        minutes = float(_read(_IDLE_MINUTES) or 0)
    except ValueError:
        return None
    return minutes * 60 if minutes > 0 else None


def set_engine_idle_minutes(minutes: float | None) -> None:
    """Choose the idle time; None for never."""
    _write(_IDLE_MINUTES, "" if minutes is None else str(minutes))


def default_model() -> str:
    """Return the official model last used that is there, else any that is there, else the demo model."""
    there = [model.id for model in model_catalogue.installed(home())]
    last = _read(_LAST_MODEL)
    if last in there:
        return last
    return there[0] if there else model_catalogue.DEMO_ID


def tile_seconds(model_id: str, device: str) -> float | None:
    """Return what a tile took on this computer the last time; None where that is not known.

    Args:
        model_id: As in manifests.
        device: As it is asked for: ``auto``, ``cpu``, ``cuda`` and so on.
    """
    seconds = _tile_seconds().get(f"{model_id} {device}")
    return seconds if isinstance(seconds, float) and 0 < seconds < math.inf else None


def remember_tile_seconds(model_id: str, device: str, seconds: float) -> None:
    """Note what a tile took, for later estimates; any thread."""
    known = _tile_seconds()
    known.pop(f"{model_id} {device}", None)  # so that it comes to stand last
    known[f"{model_id} {device}"] = round(float(seconds), 4)
    # Models named by a digest come and go; the last ones are enough.
    _write(_TILE_SECONDS, json.dumps(dict(list(known.items())[-_MOST_TILE_SECONDS:])))


def _tile_seconds() -> dict[str, Any]:
    try:
        known = json.loads(_read(_TILE_SECONDS) or "{}")
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def remember_model(model_id: str) -> None:
    """Note which model was used last; only official ones become the default."""
    if any(model.id == model_id for model in model_catalogue.OFFICIAL):
        _write(_LAST_MODEL, model_id)

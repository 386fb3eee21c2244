# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said at the top of the dock: the last failure, else what is missing, with the way out.

Owns the choice of one sentence among many and of the button that mends it. Ignorant of how it is
mended.
"""

from __future__ import annotations

from dataclasses import dataclass

from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.errors import (
    EngineDiedError,
    EngineError,
    EngineTimeoutError,
    EnvironmentMissingError,
    GeoSam2Error,
    OutputError,
)
from geo_sam2.ui.dock_view import Level, Mend, Notice

translate = QCoreApplication.translate


@dataclass(frozen=True)
class Situation:
    """What the choice depends on.

    Attributes:
        error: The last failure that nothing has mended since.
        is_encoding_stopped: It stopped the encoder.
        has_prompts: An object is open.
        journal: A sentence about objects of a QGIS that crashed; empty without any.
        has_rasters: The project has raster layers.
        has_raster: One of them is chosen.
        raster_problem: Why it cannot be encoded.
        has_ground: There is something to click on.
        is_looking: Stores are being looked for.
        done: Tiles that can be decoded on.
        is_encoding: Tiles are on their way.
        is_segmenting: The segment tool is on the canvas.
        is_reopening: The re-open tool is.
    """

    error: GeoSam2Error | None = None
    is_encoding_stopped: bool = False
    has_prompts: bool = False
    journal: str = ""
    has_rasters: bool = False
    has_raster: bool = False
    raster_problem: GeoSam2Error | None = None
    has_ground: bool = False
    is_looking: bool = False
    done: int = 0
    is_encoding: bool = False
    is_segmenting: bool = False
    is_reopening: bool = False


def choose_notice(situation: Situation) -> Notice | None:
    """Return what to say; None where all is well."""
    if situation.error is not None:
        return notice_of_error(
            situation.error,
            is_encoding_stopped=situation.is_encoding_stopped,
            has_prompts=situation.has_prompts,
        )
    if situation.journal:
        return Notice(
            situation.journal,
            translate("Notices", "They can be brought back."),
            Level.WARNING,
            Mend.RESTORE_JOURNAL,
            translate("Notices", "Restore"),
            translate("Notices", "Discard"),
        )
    if situation.raster_problem is not None and not situation.has_ground:
        error = situation.raster_problem
        return Notice(
            error.text, error.hint, Level.WARNING, Mend.ADD_RASTER, translate("Notices", "Add image…")
        )
    if situation.has_ground or situation.is_looking or situation.has_raster:
        return _start_notice(situation)
    if situation.has_rasters:
        text = translate("Notices", "No image is chosen.")
        return Notice(text, translate("Notices", "Choose the one whose objects you want to outline."))
    return Notice(
        translate("Notices", "There is no image in the project."),
        translate("Notices", "Add one, or open the folder of a feature store."),
        Level.INFO,
        Mend.ADD_RASTER,
        translate("Notices", "Add image…"),
    )


def notice_of_error(error: GeoSam2Error, *, is_encoding_stopped: bool, has_prompts: bool) -> Notice:
    """Return a failure as a notice with the button that mends it."""
    hint, second = error.hint, translate("Notices", "Close")
    if isinstance(error, EnvironmentMissingError):
        mend, button = Mend.COPY_INSTALL_COMMAND, translate("Notices", "Copy command")
        second = translate("Notices", "Look again")
    elif isinstance(error, OutputError):
        mend, button = Mend.NEW_OUTPUT, translate("Notices", "New layer…")
    elif isinstance(error, (EngineDiedError, EngineTimeoutError, EngineError)):
        mend, button = Mend.START_ENGINE, translate("Notices", "Try again")
        if has_prompts:
            kept = translate("Notices", "Your prompts are kept.")
            hint = f"{hint} {kept}".strip()
    elif is_encoding_stopped:
        mend, button = Mend.RESUME, translate("Notices", "Try again")
    else:
        mend, button, second = Mend.DISMISS, second, ""
    return Notice(error.text, hint, Level.ERROR, mend, button, second, error.details)


def _start_notice(situation: Situation) -> Notice | None:
    """Say how to begin as long as nobody has begun."""
    if situation.is_looking or situation.has_prompts or situation.is_reopening or not situation.has_ground:
        return None
    if not situation.is_segmenting:
        return Notice(
            translate("Notices", "Ready."),
            translate("Notices", "Take the Segment tool and click on an object."),
            Level.INFO,
            Mend.SEGMENT,
            translate("Notices", "Segment"),
        )
    if not situation.done and not situation.is_encoding:
        return Notice(
            translate("Notices", "Nothing of this image is encoded yet."),
            translate(
                "Notices", "Click on an object: the tile under it is encoded first. Or encode what you see."
            ),
            Level.INFO,
            Mend.ENCODE_VIEW,
            translate("Notices", "Encode view"),
        )
    return None


def hint_text(*, is_segmenting: bool, is_reopening: bool, is_open: bool, kind: str) -> str:
    """Return what hand and keys do just now."""
    if is_reopening:
        return translate(
            "Notices", "Click a saved polygon to correct it · Enter: the one under the pointer · Esc: back"
        )
    if not is_segmenting:
        return ""
    if is_open:
        return translate(
            "Notices",
            "Left click: add · Right click: take away · Enter or double-click: save · Esc: clear ·"
            " Ctrl+Z: undo · M or Shift+wheel: part, object, whole · Drag a marker to move it,"
            " right click on it to remove it",
        )
    first = {
        "auto": translate("Notices", "Click an object, or drag a box round it"),
        "foreground": translate("Notices", "Click on the object"),
        "background": translate("Notices", "Click beside the object"),
        "box": translate("Notices", "Drag a box, or click two corners"),
    }[kind]
    keys = translate("Notices", "Tab: kind of prompt · F, B: add, take away by key · 1–9: class · Space: pan")
    return f"{first} · {keys}"

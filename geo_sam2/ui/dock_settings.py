# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock remembers between sessions, below ``geo_sam2/dock/`` in QGIS's settings."""

from __future__ import annotations

from dataclasses import fields

from qgis.core import QgsSettings

from geo_sam2.errors import GeoSam2Error
from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.dock_view import SwitchesView

_PREFIX = "geo_sam2/dock/"
_FOLDER = _PREFIX + "folder"


def read_shape() -> ShapeOptions:
    """Return the options used last; the defaults where they cannot be read."""
    try:
        return ShapeOptions.from_text(str(QgsSettings().value(_PREFIX + "shape", "") or ""))
    except GeoSam2Error:
        return ShapeOptions()


def write_shape(shape: ShapeOptions) -> None:
    """Keep the options."""
    QgsSettings().setValue(_PREFIX + "shape", shape.to_text())


def read_switches() -> SwitchesView:
    """Return the switches as they were."""
    settings, default = QgsSettings(), SwitchesView()
    values = {
        field.name: settings.value(_PREFIX + field.name, getattr(default, field.name), type=bool)
        for field in fields(SwitchesView)
    }
    return SwitchesView(**values)


def write_switches(switches: SwitchesView) -> None:
    """Keep the switches."""
    for field in fields(SwitchesView):
        QgsSettings().setValue(_PREFIX + field.name, getattr(switches, field.name))


def last_folder() -> str:
    """Return the folder in which a file was chosen last; empty without one."""
    return str(QgsSettings().value(_FOLDER, "") or "")


def remember_folder(folder: str) -> None:
    """Keep the folder in which a file was chosen."""
    QgsSettings().setValue(_FOLDER, folder)


def forget() -> None:
    """Set everything back to its default."""
    QgsSettings().remove(_PREFIX.rstrip("/"))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin's icons, loaded by path: compiled resources would import PyQt5 by name."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtGui import QIcon

ICON_FOLDER = Path(__file__).resolve().parent / "icons"


def icon(name: str) -> QIcon:
    """Return the icon ``icons/<name>.svg``."""
    return QIcon(str(ICON_FOLDER / f"{name}.svg"))

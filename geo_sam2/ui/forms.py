# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms made in Designer, as classes to be inherited from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.PyQt import uic
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAbstractButton

from geo_sam2.icon_files import icon


def form(name: str) -> Any:
    """Return the class that ``ui/<name>.ui`` describes."""
    form_class, _ = uic.loadUiType(str(Path(__file__).with_name(f"{name}.ui")))
    return form_class


def set_icon(button: QAbstractButton, name: str | QIcon) -> None:
    """Give a button an icon of ours by its name, or any other; its text stays for who cannot see it."""
    button.setIcon(icon(name) if isinstance(name, str) else name)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms made in Designer, as classes to be inherited from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qgis.PyQt import uic
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAbstractButton, QComboBox, QGroupBox, QLabel, QToolButton

from geo_sam2.icon_files import icon


def form(name: str) -> Any:
    """Return the class that ``ui/<name>.ui`` describes."""
    form_class, _ = uic.loadUiType(str(Path(__file__).with_name(f"{name}.ui")))
    return form_class


def set_icon(button: QAbstractButton, name: str | QIcon) -> None:
    """Give a button an icon of ours by its name, or any other; its text stays for who cannot see it."""
    button.setIcon(icon(name) if isinstance(name, str) else name)


def show_text(label: QLabel, text: str) -> None:
    """Show a text in a label of a narrow dock: paths and names may break, and a tooltip has them whole."""
    # Else the longest word would be the least width of the dock.
    label.setMinimumWidth(1)
    label.setText(re.sub(r"([/\\_.·-])(?=[^\W\d])", "\\1\u200b", text))
    label.setToolTip(text)
    label.setVisible(bool(text))


def let_shrink(combo: QComboBox) -> None:
    """Let a combo box be narrower than its entries: names of layers are long, the dock is not wide."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(4)


def name_arrow(group: QGroupBox, name: str) -> None:
    """Name the arrow by which QGIS's groups are folded, for who cannot see it."""
    arrow = group.findChild(QToolButton, "collapseButton")
    if arrow is not None:
        arrow.setAccessibleName(name)
        arrow.setToolTip(name)

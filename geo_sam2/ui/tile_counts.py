# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of tiles in words, which translators can give as many plural forms as their language has."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication

translate = QCoreApplication.translate

# English is in the source, so that it needs no translation of its own: “tile” for one, “tiles” else.
# %n is Qt's: it stands for the number by which a translation chooses among its forms.


def tiles_text(count: int) -> str:
    """Return “1 tile” or “9 tiles”."""
    if count == 1:
        return translate("TileCounts", "%n tile", "", count)
    return translate("TileCounts", "%n tiles", "", count)


def done_text(done: int, total: int) -> str:
    """Return “1 of 9 tiles”, for what a store has."""
    if total == 1:
        text = translate("TileCounts", "{done} of %n tile", "", total)
    else:
        text = translate("TileCounts", "{done} of %n tiles", "", total)
    return text.format(done=done)


def encoded_text(done: int, total: int) -> str:
    """Return “1 of 9 tiles encoded”, for what is under way."""
    if total == 1:
        text = translate("TileCounts", "{done} of %n tile encoded", "", total)
    else:
        text = translate("TileCounts", "{done} of %n tiles encoded", "", total)
    return text.format(done=done)

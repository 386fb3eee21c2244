# SPDX-License-Identifier: GPL-3.0-or-later
"""A window with all that is known of a failure, to be read and copied."""

from __future__ import annotations

from qgis.gui import QgsMessageViewer
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtWidgets import QWidget


def show_details(parent: QWidget, *parts: str) -> QgsMessageViewer:
    """Show parts of a message below each other.

    Args:
        parent: Over which the window is shown.
        parts: Sentence, hint, traceback or end of a log; empty ones are left out.

    Returns:
        The window; it deletes itself when it is closed.
    """
    viewer = QgsMessageViewer(parent)
    viewer.setTitle(QCoreApplication.translate("Details", "Geo-SAM2: details"))
    viewer.setMessageAsPlainText("\n\n".join(filter(None, parts)))
    viewer.show()
    return viewer

# SPDX-License-Identifier: GPL-3.0-or-later
"""The bar at the top of the dock: one sentence, what to do next, and the button that does it."""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QPalette
from qgis.PyQt.QtWidgets import QStyle, QWidget

from geo_sam2.ui.details import show_details
from geo_sam2.ui.dock_view import Level, Notice
from geo_sam2.ui.forms import form, show_text

_Form = form("notice_bar")

_ICONS = {
    Level.INFO: "/mIconInfo.svg",
    Level.WARNING: "/mIconWarning.svg",
    Level.ERROR: "/mIconCritical.svg",
}


class NoticeBar(QWidget, _Form):
    """Shows a notice, or nothing."""

    mend_requested = pyqtSignal()
    second_requested = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        self._notice: Notice | None = None
        # Tooltip colours belong together in every theme, light or dark, and differ from the panels'.
        self.frame.setBackgroundRole(QPalette.ColorRole.ToolTipBase)
        self.textLabel.setForegroundRole(QPalette.ColorRole.ToolTipText)
        self.frame.setAutoFillBackground(True)
        self.mendButton.clicked.connect(self.mend_requested)
        self.secondButton.clicked.connect(self.second_requested)
        self.detailsButton.clicked.connect(self._show_details)
        self.hide()

    def show_view(self, notice: Notice | None) -> None:
        """Show a notice; None hides the bar."""
        self._notice = notice
        self.setVisible(notice is not None)
        if notice is None:
            return
        size = self.style().pixelMetric(QStyle.PixelMetric.PM_SmallIconSize)
        self.iconLabel.setPixmap(QgsApplication.getThemeIcon(_ICONS[notice.level]).pixmap(size, size))
        show_text(self.textLabel, f"{notice.text} {notice.hint}".strip())
        for button, text in ((self.mendButton, notice.button), (self.secondButton, notice.second)):
            button.setText(text)
            button.setVisible(bool(text))
        self.detailsButton.setVisible(bool(notice.details))

    def _show_details(self) -> None:
        if self._notice is None:
            return
        notice = self._notice
        show_details(self.window(), notice.text, notice.hint, notice.details)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn on the map, and the way to its colours; shows ``SwitchesView``."""

from __future__ import annotations

from dataclasses import replace

from qgis.PyQt.QtCore import QSignalBlocker, pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from geo_sam2.ui.dock_view import SwitchesView
from geo_sam2.ui.forms import form, name_arrow

_Form = form("display_panel")


class DisplayPanel(QWidget, _Form):
    """A collapsible form at the end of the dock."""

    switches_changed = pyqtSignal(object)  # SwitchesView
    style_requested = pyqtSignal()
    reset_requested = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        self._checks = {
            "preview": self.previewCheck,
            "tiles": self.tilesCheck,
            "boundary": self.boundaryCheck,
        }
        self._shown = SwitchesView()
        for name, check in self._checks.items():
            check.toggled.connect(lambda value, name=name: self._change(name, value))
        self.styleButton.clicked.connect(self.style_requested)
        self.resetButton.clicked.connect(self.reset_requested)
        self.groupBox.setSettingGroup("geo_sam2/display")
        self.groupBox.setCollapsed(True)
        name_arrow(self.groupBox, self.tr("Show or hide what is drawn on the map"))

    def show_view(self, switches: SwitchesView) -> None:
        """Draw the switches."""
        self._shown = switches
        for name, check in self._checks.items():
            with QSignalBlocker(check):
                check.setChecked(getattr(switches, name))

    def _change(self, name: str, value: bool) -> None:
        self.switches_changed.emit(replace(self._shown, **{name: value}))

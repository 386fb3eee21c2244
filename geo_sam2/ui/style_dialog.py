# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours, markers and line width of what is drawn on the map; a change shows at once.

Shows an ``OverlayStyle`` and tells of new ones; who keeps and draws them is not known here.
"""

from __future__ import annotations

from dataclasses import replace

from qgis.PyQt.QtCore import QSignalBlocker, pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QWidget

from geo_sam2.ui.forms import form
from geo_sam2.ui.overlay_style import MARKER_SHAPES, MARKER_SIZES_PX, WIDTHS_PX, OverlayStyle

_Form = form("style_dialog")


class StyleDialog(QDialog, _Form):
    """A window beside the map, so that the colours are seen where they are used."""

    style_changed = pyqtSignal(object)  # OverlayStyle

    def __init__(self, style: OverlayStyle, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        self._style = style
        self._colours = {
            "foreground": self.foregroundButton,
            "background": self.backgroundButton,
            "box": self.boxButton,
            "hover": self.hoverButton,
            "object": self.objectButton,
            "boundary": self.boundaryButton,
        }
        names = (self.tr("Circle"), self.tr("Square"), self.tr("Diamond"), self.tr("Cross"))
        for name, shape in zip(names, MARKER_SHAPES):
            self.shapeCombo.addItem(name, shape)
        self.sizeSpin.setRange(*MARKER_SIZES_PX)
        self.widthSpin.setRange(*WIDTHS_PX)
        self.show_style(style)
        for name, button in self._colours.items():
            button.colorChanged.connect(lambda colour, name=name: self._change(name, QColor(colour).name()))
        self.shapeCombo.activated.connect(
            lambda _: self._change("marker_shape", self.shapeCombo.currentData())
        )
        self.sizeSpin.valueChanged.connect(lambda value: self._change("marker_size_px", value))
        self.widthSpin.valueChanged.connect(lambda value: self._change("width_px", value))
        self.buttonBox.rejected.connect(self.close)
        defaults = self.buttonBox.button(QDialogButtonBox.StandardButton.RestoreDefaults)
        defaults.clicked.connect(self._restore)

    def show_style(self, style: OverlayStyle) -> None:
        """Show a style without telling anybody."""
        self._style = style
        for name, button in self._colours.items():
            with QSignalBlocker(button):
                button.setColor(QColor(getattr(style, name)))
        with QSignalBlocker(self.shapeCombo), QSignalBlocker(self.sizeSpin), QSignalBlocker(self.widthSpin):
            self.shapeCombo.setCurrentIndex(self.shapeCombo.findData(style.marker_shape))
            self.sizeSpin.setValue(style.marker_size_px)
            self.widthSpin.setValue(style.width_px)

    def _change(self, name: str, value: object) -> None:
        self._style = replace(self._style, **{name: value})
        self.style_changed.emit(self._style)

    def _restore(self) -> None:
        self.show_style(OverlayStyle())
        self.style_changed.emit(self._style)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The live options of the outline. Shows ``ShapeOptions`` and tells of new ones; knows nothing else."""

from __future__ import annotations

from dataclasses import replace

from qgis.PyQt.QtCore import QSignalBlocker, pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from geo_sam2.segmentation.shape_options import ShapeOptions
from geo_sam2.ui.forms import form, let_shrink, name_arrow

_Form = form("shape_panel")


class ShapePanel(QWidget, _Form):
    """A collapsible form; every change counts at once."""

    shape_changed = pyqtSignal(object)  # ShapeOptions

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        self.styleCombo.addItem(self.tr("Smooth"), "smooth")
        self.styleCombo.addItem(self.tr("Along pixels"), "pixel")
        let_shrink(self.styleCombo)
        self._numbers = {
            "threshold": self.thresholdSpin,
            "simplify_px": self.simplifySpin,
            "min_area_px2": self.areaSpin,
            "max_hole_px2": self.holeSpin,
        }
        self._checks = {"largest_only": self.largestCheck, "right_angles": self.rightAnglesCheck}
        self._shape = ShapeOptions()
        self.show_view(self._shape, None)
        for name, spin in self._numbers.items():
            spin.valueChanged.connect(lambda value, name=name: self._change(name, float(value)))
        for name, check in self._checks.items():
            check.toggled.connect(lambda value, name=name: self._change(name, bool(value)))
        self.styleCombo.activated.connect(lambda _: self._change("style", self.styleCombo.currentData()))
        self.resetButton.clicked.connect(lambda: self.shape_changed.emit(ShapeOptions()))
        # Its own keys: QGIS would keep the state under the title, which is translated.
        self.groupBox.setSettingGroup("geo_sam2/shape")
        self.groupBox.setCollapsed(True)
        name_arrow(self.groupBox, self.tr("Show or hide the options of the outline"))

    def show_view(self, shape: ShapeOptions, pixel_m: float | None) -> None:
        """Show options; ``pixel_m`` is the side of a pixel on the ground, None where unknown."""
        self._shape = shape
        for name, spin in self._numbers.items():
            if spin.value() != getattr(shape, name):
                with QSignalBlocker(spin):
                    spin.setValue(getattr(shape, name))
        for name, check in self._checks.items():
            with QSignalBlocker(check):
                check.setChecked(getattr(shape, name))
        with QSignalBlocker(self.styleCombo):
            self.styleCombo.setCurrentIndex(max(0, self.styleCombo.findData(shape.style)))
        self.resetButton.setEnabled(shape != ShapeOptions())
        self.pixelLabel.setText(
            "" if pixel_m is None else self.tr("1 px = {size} m").format(size=f"{pixel_m:.3g}")
        )

    def _change(self, name: str, value: object) -> None:
        self.shape_changed.emit(replace(self._shape, **{name: value}))

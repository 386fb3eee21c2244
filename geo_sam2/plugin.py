# SPDX-License-Identifier: GPL-3.0-or-later
"""What QGIS holds of Geo-SAM2: wires the Processing provider, and in the desktop the dock.

``unload`` undoes ``initGui`` in reverse. Ignorant of how anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QApplication

from geo_sam2 import engine_session
from geo_sam2.processing_provider import ALGORITHMS, GeoSam2Provider

if TYPE_CHECKING:
    from qgis.gui import QgisInterface, QgsProcessingAlgorithmDialogBase

    from geo_sam2.ui.desktop import Desktop


class GeoSam2Plugin:
    """The plugin of one QGIS process.

    Args:
        iface: The desktop, or None where there is none (``qgis_process``).

    Attributes:
        desktop: What was added to the main window; None without one.
    """

    def __init__(self, iface: QgisInterface | None) -> None:
        self._iface = iface
        self._provider: GeoSam2Provider | None = None
        self.desktop: Desktop | None = None

    def initProcessing(self) -> None:  # the only call in qgis_process
        """Add the algorithms to Processing."""
        if self._provider is None:
            self._provider = GeoSam2Provider()
            # The registry owns it from here on.
            QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Add what the desktop shows; the dock itself comes when it is asked for."""
        self.initProcessing()
        if self._iface is not None and self.desktop is None:
            from geo_sam2.ui.desktop import Desktop  # qgis_process has no use for widgets

            self.desktop = Desktop(self._iface)

    def unload(self) -> None:
        """Take everything out again and end the engine, with a bound of some seconds."""
        if self.desktop is not None:
            self.desktop.remove()
            self.desktop = None
        if self._provider is not None:
            _close_dialogs()
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
        engine_session.end()


def _close_dialogs() -> None:
    """Close what is open of our algorithms, which point to the provider after it is deleted.

    QGIS crashes when Run is pressed there (seen in 3.22: ``isSupportedOutputValue`` asks the provider).
    """
    if not isinstance(QApplication.instance(), QApplication):
        return  # qgis_process on a machine without a screen
    from qgis.gui import QgsProcessingAlgorithmDialogBase  # costs qgis_process time for nothing

    for widget in QApplication.topLevelWidgets():
        # Not by the algorithm's provider: a hidden dialog may be left whose provider has gone before.
        if isinstance(widget, QgsProcessingAlgorithmDialogBase) and isinstance(
            widget.algorithm(), ALGORITHMS
        ):
            _close_after_run(widget)
            widget.close()


def _close_after_run(dialog: QgsProcessingAlgorithmDialogBase) -> None:
    """Close a dialog again that is shown again because its run has failed without the engine."""
    dialog.algorithmFinished.connect(lambda *_: QTimer.singleShot(0, dialog.close))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The Processing provider ``geo_sam2``: which algorithms there are."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from geo_sam2 import __version__
from geo_sam2.encoder.encode_algorithm import EncodeAlgorithm
from geo_sam2.icon_files import ICON_FOLDER, icon
from geo_sam2.segmentation.segment_prompts_algorithm import SegmentPromptsAlgorithm

ALGORITHMS = (EncodeAlgorithm, SegmentPromptsAlgorithm)


class GeoSam2Provider(QgsProcessingProvider):
    """Offers the algorithms in the toolbox, in models and in ``qgis_process``."""

    def id(self) -> str:
        """Return what precedes the colon in the ids of the algorithms; public."""
        return "geo_sam2"

    def name(self) -> str:
        """Return the name of the group in the toolbox."""
        return "Geo-SAM2"

    def longName(self) -> str:
        """Return the name with its version."""
        return f"Geo-SAM2 {__version__}"

    def versionInfo(self) -> str:
        """Return the version."""
        return __version__

    def icon(self) -> QIcon:
        """Return the icon of the group."""
        return icon("geo_sam2")

    def svgIconPath(self) -> str:
        """Return the same icon as a file."""
        return str(ICON_FOLDER / "geo_sam2.svg")

    def loadAlgorithms(self) -> None:
        """Make one of each algorithm; the provider owns them."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

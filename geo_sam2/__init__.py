# SPDX-License-Identifier: GPL-3.0-or-later
"""Geo-SAM2: clicks on imagery become polygons, with Segment Anything 2.

This file stays free of imports at the top: QGIS, the engine process and plain scripts
all load the package, and each of them has only a part of its dependencies.
"""

from __future__ import annotations

__version__ = "0.2.0"


def classFactory(iface: object) -> object:
    """Return the plugin; called by QGIS, with None for ``iface`` in ``qgis_process``."""
    from geo_sam2.plugin import GeoSam2Plugin

    return GeoSam2Plugin(iface)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Geo-SAM2: clicks on imagery become polygons, with Segment Anything 2.

This file stays free of imports: QGIS, the engine process and plain scripts all
load the package, and each of them has only a part of its dependencies.
"""

__version__ = "0.2.0"

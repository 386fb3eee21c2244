# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts to polygons, on the QGIS side."""

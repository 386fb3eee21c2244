# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that run in QGIS, without a screen."""

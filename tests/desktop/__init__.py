# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the plugin in the real QGIS, on a screen of its own, with a real mouse."""

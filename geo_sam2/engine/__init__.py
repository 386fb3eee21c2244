# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: SAM 2 in its own process. Knows torch, never QGIS; ``protocol`` knows neither."""

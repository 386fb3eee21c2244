# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see and touch in QGIS: the dock, its map tools and what they draw."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs inside the QGIS that is driven: it answers questions, and the mouse does the rest."""

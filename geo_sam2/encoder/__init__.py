# SPDX-License-Identifier: GPL-3.0-or-later
"""From a raster to a feature store: tiling, reading, stretching, and the job that encodes."""

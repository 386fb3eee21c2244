# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawn aerial scenes with their truth, for training and for measuring the demo model."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files that ship with the plugin."""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Real installs of the private environment: from nothing, killed, without space, without network."""

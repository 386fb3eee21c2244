# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed of the engine, always as a ratio to upstream or to the bare work in the same run."""

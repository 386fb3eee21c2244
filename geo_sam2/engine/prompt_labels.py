# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of SAM 2's prompt encoder: what a point says of the object."""

from __future__ import annotations

PADDING, BACKGROUND, FOREGROUND, BOX_FIRST, BOX_SECOND = -1, 0, 1, 2, 3

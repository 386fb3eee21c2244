# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets go of what an error that is kept would hold: open rasters, windows of pixels, whole stores.

An error's traceback keeps the local variables of every function that it passed. An error that
crosses threads or is shown in a dock lives long, and a file that it holds cannot be replaced.
"""

from __future__ import annotations

import logging
import traceback

from geo_sam2.errors import GeoSam2Error

LOG = logging.getLogger(__name__)


def let_go(error: BaseException) -> None:
    """Drop the traceback of an error that has a sentence, and of its causes; it is logged for debugging.

    Of a fault, whose traceback is all that there is, the functions' variables are emptied instead.
    That does not reach those that a comprehension or a lambda shares.
    """
    is_told = isinstance(error, GeoSam2Error)
    if is_told:
        LOG.debug("%s", error, exc_info=error)
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if is_told:
            link.__traceback__ = None
        else:
            traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__

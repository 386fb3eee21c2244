# SPDX-License-Identifier: GPL-3.0-or-later
"""What the live encoder tells on its thread, as calls on the main thread.

One bridge belongs to one encoder: what a closed one still had to say is never heard. Ignorant of what
is done about it.
"""

from __future__ import annotations

import functools
from typing import Any

from geo_sam2.encoder.progress import EncodeProgress
from geo_sam2.errors import GeoSam2Error
from geo_sam2.feature_store import FeatureStore, TileRecord
from geo_sam2.tile_window import TileWindow
from geo_sam2.ui.background import MainThreadCaller


class LiveBridge:
    """A ``LiveListener`` for somebody on the main thread.

    Args:
        listener: Has the methods of a ``LiveListener``, told on the thread on which the bridge was
            made; ``failed`` is ``encoder_failed`` there, for a QObject may have a signal of that name.
    """

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        self._caller = MainThreadCaller()

    def opened(self, store: FeatureStore) -> None:
        """The store is there."""
        self._tell(self._listener.opened, store)

    def started(self, window: TileWindow) -> None:
        """The engine has been sent a window."""
        self._tell(self._listener.started, window)

    def settled(self, record: TileRecord) -> None:
        """A window is in the index."""
        self._tell(self._listener.settled, record)

    def progressed(self, progress: EncodeProgress) -> None:
        """How far it is."""
        self._tell(self._listener.progressed, progress)

    def failed(self, error: GeoSam2Error) -> None:
        """Nothing more is encoded until it is resumed."""
        self._tell(self._listener.encoder_failed, error)

    def went_idle(self) -> None:
        """All that was wanted is settled."""
        self._tell(self._listener.went_idle)

    def close(self) -> None:
        """Hear nothing any more; main thread."""
        self._caller.close()

    def _tell(self, listener: Any, *arguments: Any) -> None:
        self._caller.call(functools.partial(listener, *arguments))

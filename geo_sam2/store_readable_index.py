# SPDX-License-Identifier: GPL-3.0-or-later
"""An index that can be read, whatever became of the store's own.

One that is lost or damaged is rebuilt from the tiles: in its place, by us or by the writer that
is at work, or, where the medium cannot be written, in a temporary folder.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from geo_sam2.errors import DamagedIndexError, StoreError, StoreLockedError
from geo_sam2.store_files import rebuild_index
from geo_sam2.store_index import TileIndex
from geo_sam2.store_lock import WriterLock
from geo_sam2.store_manifest import INDEX_NAME, StoreManifest

# Another process that has the writer's lock rebuilds a damaged index itself, first of all.
_REBUILD_PATIENCE_S = 3.0
_REBUILD_STEP_S = 0.1


class ReadableIndex:
    """The index of a store, made readable.

    Args:
        folder: The store's folder, absolute.
        manifest: What was read from it.
        path: The store's own index.

    Attributes:
        index: The index.

    Raises:
        StoreError: It can neither be read nor rebuilt.
    """

    def __init__(self, folder: Path, manifest: StoreManifest, path: Path) -> None:
        self._folder = folder
        self._manifest = manifest
        self._path = path
        # Removed with this object, which a store keeps as long as it reads that index.
        self._spare: tempfile.TemporaryDirectory[str] | None = None
        self.index = self._read_or_rebuilt()

    @property
    def is_spare(self) -> bool:
        """Whether the index lies in a temporary folder instead of the store."""
        return self._spare is not None

    def _read_or_rebuilt(self) -> TileIndex:
        index = TileIndex(self._path)
        try:
            index.counts()
        except DamagedIndexError:
            return self._rebuilt()
        return index

    def _rebuilt(self) -> TileIndex:
        try:
            with WriterLock(self._folder):
                rebuild_index(self._folder, self._manifest, self._path)
                return TileIndex(self._path)
        except StoreLockedError:
            rebuilt = self._rebuilt_by_writer()
        except StoreError:
            rebuilt = None  # the medium cannot be written
        return self._rebuilt_aside() if rebuilt is None else rebuilt

    def _rebuilt_by_writer(self) -> TileIndex | None:
        """Wait a little for the index that whoever holds the writer's lock makes."""
        index = TileIndex(self._path)
        deadline_s = time.monotonic() + _REBUILD_PATIENCE_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(DamagedIndexError):
                index.counts()
                return index
            time.sleep(_REBUILD_STEP_S)
        return None

    def _rebuilt_aside(self) -> TileIndex:
        self._spare = tempfile.TemporaryDirectory(prefix="geo_sam2_index_")
        spare = Path(self._spare.name) / INDEX_NAME
        rebuild_index(self._folder, self._manifest, spare)
        return TileIndex(spare)

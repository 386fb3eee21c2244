# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store an encode writes to: a new one, one that goes on, or one that replaces another.

Nothing that a user has is deleted before something whole stands in its place: an old store
that is to be overwritten waits aside (``store_aside``) until the new one is whole. Whatever
happens in between, the same call again goes on where it was interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from geo_sam2.errors import StoreError, StoreExistsError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.model_info import ModelInfo
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_aside import (
    discard,
    give_place_back,
    has_store,
    recover,
    replaced_place,
    take_place,
    unfinished_place,
)
from geo_sam2.store_lock import WriterLock


def store_for_encoding(
    folder: Path,
    model: ModelInfo,
    source: SourceInfo,
    *,
    overwrite: bool = False,
    software: Mapping[str, str] | None = None,
) -> FeatureStore:
    """Return the store that an encode into a folder writes to, made if need be.

    Args:
        folder: The store's folder, absolute.
        model: The model at work.
        source: The raster as it is read now.
        overwrite: Put a new store in the place of the one that is there. An overwriting that was
            interrupted goes on if it was the same, and its new store is returned.
        software: As ``FeatureStore.create`` takes it.

    Returns:
        A store that matches model and source. Its writer removes the store that was replaced
        once the new one is whole; ``undo_overwriting`` brings it back.

    Raises:
        StoreMismatchError: Without ``overwrite``: the store there was made from something else.
        StoreLockedError: With ``overwrite``: another process writes to the store there.
        StoreError: The folder holds something else, or cannot be written.
    """
    recover(folder)
    if not has_store(folder):
        with contextlib.suppress(StoreExistsError):  # another process has just made it
            return FeatureStore.create(folder, model, source, software)
    if not overwrite:
        store = FeatureStore.open(folder)
        store.check_matches(model, source)
        return store
    if has_store(replaced_place(folder)):
        started = _matching_store(folder, model, source)
        if started is not None:
            return started
        undo_overwriting(folder)
    with WriterLock(folder):
        pass  # a moved folder must not be one that somebody writes to
    place = unfinished_place(folder)
    if _matching_store(place, model, source) is None:
        discard(place)
        FeatureStore.create(place, model, source, software)
    take_place(folder)
    store = FeatureStore.open(folder)
    store.remember_source(source)
    return store


def undo_overwriting(folder: Path) -> bool:
    """Bring the old store back into its place; the new one is kept aside for another try.

    Call it when an overwriting encode fails. The writer must have been left.

    Returns:
        Whether there was an old store to bring back.

    Raises:
        StoreError: A folder is held by another program.
    """
    if not has_store(replaced_place(folder)):
        return False
    give_place_back(folder)
    return True


def _matching_store(folder: Path, model: ModelInfo, source: SourceInfo) -> FeatureStore | None:
    """Return the store in a folder if it is readable and was made from the same."""
    with contextlib.suppress(StoreError):
        store = FeatureStore.open(folder)
        store.check_matches(model, source)
        return store
    return None

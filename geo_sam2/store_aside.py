# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a store waits while another one takes its place, as renames of folders.

Beside ``lake.tiny.geosam2`` lie, while it is being replaced or was interrupted in it::

    lake.tiny.geosam2.replaced      the old store, until the new one is whole
    lake.tiny.geosam2.unfinished    a new store before it takes the place, or after it lost it
    lake.tiny.geosam2.….removing    what of these is being deleted

Each step is one rename, so that a process that is killed leaves every store whole under one of
these names. Ignorant of what is in a store but for its manifest's name.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from geo_sam2.errors import StoreError
from geo_sam2.held_files import STEP_S, patiently
from geo_sam2.runtime.disk import remove_tree
from geo_sam2.store_manifest import MANIFEST_NAME

_PATIENCE_S = 5.0


def replaced_place(folder: Path) -> Path:
    """Return where the old store waits."""
    return folder.with_name(folder.name + ".replaced")


def unfinished_place(folder: Path) -> Path:
    """Return where a new store lies that does not have the place."""
    return folder.with_name(folder.name + ".unfinished")


def has_store(folder: Path) -> bool:
    """Whether a folder holds a manifest, readable or not."""
    return (folder / MANIFEST_NAME).is_file()


def recover(folder: Path) -> bool:
    """Bring the old store back where a replacement was killed between its two renames.

    Returns:
        Whether there was one to bring back.
    """
    if has_store(folder) or folder.is_dir() or not has_store(replaced_place(folder)):
        return False
    # Another process that is at work just now needs microseconds for it; it keeps its right.
    time.sleep(STEP_S)
    if not folder.exists():
        with contextlib.suppress(OSError):
            replaced_place(folder).rename(folder)
    return has_store(folder)


def take_place(folder: Path) -> None:
    """Move the old store aside and the unfinished one into its place.

    Raises:
        StoreError: A folder is held by another program; the old store is where it was then.
    """
    _move(folder, replaced_place(folder))
    try:
        _move(unfinished_place(folder), folder)
    except StoreError:
        _move(replaced_place(folder), folder)
        raise


def give_place_back(folder: Path) -> None:
    """Move the new store out of the place, unfinished, and the old one back into it.

    Raises:
        StoreError: A folder is held by another program.
    """
    discard(unfinished_place(folder))
    if folder.exists():
        _move(folder, unfinished_place(folder))
    _move(replaced_place(folder), folder)


def remove_replaced(folder: Path) -> None:
    """Delete the old store: the new one is whole. What other programs hold is left for the next time."""
    discard(replaced_place(folder))


def discard(folder: Path) -> None:
    """Delete a store; renamed first, so that no half of it is ever taken for one."""
    removing = folder.with_name(folder.name + ".removing")
    remove_tree(removing)
    if folder.exists():
        with contextlib.suppress(StoreError):
            _move(folder, removing)
            remove_tree(removing)


def _move(source: Path, target: Path) -> None:
    """Rename a folder; on Windows any open file in it holds it for a while."""
    try:
        patiently(lambda: source.rename(target), _PATIENCE_S)
    except OSError as error:
        raise _held(source, error) from error


def _held(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{folder} cannot be moved: {error.strerror or error}.",
        "Close what has it open, remove its layer from QGIS, and try again.",
    )

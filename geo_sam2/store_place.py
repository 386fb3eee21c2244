# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the store of a raster goes by default, and where the stores of a raster are found.

Beside the raster if that is local and can be written, for there people look and copy; else in
the stores folder of the user. Ignorant of GDAL: a fingerprint is asked of the caller.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from geo_sam2.errors import StoreError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.source_info import SourceInfo
from geo_sam2.store_sqlite import can_write

SUFFIX = ".geosam2"

# File systems allow 255 bytes a name; the rest is for model, bands, digest and what stands aside.
_MAX_STEM_BYTES = 150
# What a name may not hold on some system, and what ends a name on Windows.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
_NETWORK_TYPES = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "afpfs", "webdav", "davfs", "ceph", "glusterfs", "lustre")
)
_WINDOWS_REMOTE_DRIVE = 4

IsLocal = Callable[[Path], bool]


def default_store_folder(
    raster: str,
    model_id: str,
    bands: Sequence[int],
    default_bands: Sequence[int],
    user_folder: Path,
    is_local: IsLocal | None = None,
    factor: int = 1,
) -> Path:
    """Return the folder of a raster's store, which may exist or not.

    It is named ``<raster stem>.<model>[.<bands>][.x<factor>].geosam2``, with bands and factor only
    where they are not the default. Where that is the store of a raster of another file name (``lake.tif`` and
    ``lake.jp2``), the whole file name takes the stem's place. In the folder of the user, where
    rasters of all folders meet, a digest of the raster's path is added.

    Args:
        raster: What GDAL opens: a file, or a name such as ``/vsizip/…`` or a subdataset.
        model_id: Of the model.
        bands: Bands that are encoded, counted from 1.
        default_bands: Bands that are encoded when none are chosen.
        user_folder: The stores folder in the user's data directory.
        is_local: Says of a folder whether it is on this computer; for tests.
        factor: How many times larger than the raster's own the pixels are that are encoded.
    """
    path = Path(raster)
    tail = [_safe(model_id)]
    if tuple(bands) != tuple(default_bands):
        tail.append("b" + "-".join(str(band) for band in bands))
    if factor != 1:
        tail.append(f"x{factor}")
    if (
        raster
        and _is_file(path)
        and (is_local or is_on_this_computer)(path.parent)
        and can_write(path.parent)
    ):
        folder = _named(path.parent.absolute(), path.stem, tail)
        if _is_of_another_file(folder, path.name):
            folder = _named(path.parent.absolute(), path.name, tail)
        return folder
    name = str(path.absolute()) if raster and _is_file(path) else raster
    digest = hashlib.sha256(os.path.normcase(name).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    stem = re.split(r"[/\\]", raster.rstrip("/\\"))[-1].partition("?")[0]
    return _named(user_folder, Path(stem).stem, [digest, *tail])


def stores_for(
    raster: str,
    user_folder: Path,
    fingerprint: Callable[[SourceInfo], str | None],
    more_folders: Iterable[Path] = (),
) -> list[FeatureStore]:
    """Return the stores that were made from a raster: beside it, and in the folder of the user.

    A store whose raster has kept place, size and time is believed; for any other the pixels are
    asked. Whether model and bands are what one wants is the caller's choice.

    Args:
        raster: What GDAL opens.
        user_folder: The stores folder in the user's data directory.
        fingerprint: Returns the fingerprint of the raster when it is read on the grid and in the
            bands of a store's source; None when it cannot be read so.
        more_folders: Other folders to look into.

    Returns:
        Readable stores, those beside the raster first, each folder's by name.
    """
    path = Path(raster)
    folders = [path.parent] if raster and _is_file(path) else []
    known: dict[tuple[object, ...], str | None] = {}
    found = []
    for store in find_stores([*folders, user_folder, *more_folders]):
        source = store.manifest.source
        is_same_file = bool(raster) and store.locate_source() == str(path.resolve())
        if not (is_same_file and not source.has_file_changed(raster)):
            key = (source.grid, source.bands)
            if key not in known:
                known[key] = fingerprint(source)
            if known[key] is None or known[key] != source.fingerprint:
                continue
        found.append(store)
    return found


def find_stores(folders: Iterable[Path]) -> list[FeatureStore]:
    """Return the readable stores that lie directly in some folders, each once, by folder and name."""
    found: dict[Path, FeatureStore] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                with contextlib.suppress(StoreError):
                    found.setdefault(path.resolve(), FeatureStore.open(path.absolute()))
    return list(found.values())


def is_in_temporary_folder(folder: Path, roots: Iterable[Path] = ()) -> bool:
    """Say whether a folder lies where systems and programs delete what they like.

    Args:
        folder: The folder; it need not exist.
        roots: Temporary folders that are known beside the system's own.
    """
    places = [Path(tempfile.gettempdir()), *roots]
    resolved = folder.resolve()
    return any(place.resolve() in (resolved, *resolved.parents) for place in places)


def is_on_this_computer(folder: Path) -> bool:
    """Say whether a folder lies on a drive of this computer rather than on a network.

    SQLite's locks and hours of writing do not go well with network drives. What cannot be
    told counts as local.
    """
    if sys.platform == "win32":
        return _is_local_on_windows(folder)
    with contextlib.suppress(OSError):
        kind = _mounted_type(folder.resolve(), Path("/proc/mounts").read_text(errors="replace"))
        return kind not in _NETWORK_TYPES and not kind.startswith(("fuse.sshfs", "fuse.rclone", "fuse.s3"))
    return True


def _is_local_on_windows(folder: Path) -> bool:
    import ctypes

    anchor = folder.absolute().anchor
    if anchor.startswith("\\\\"):
        return False
    kind: int = ctypes.windll.kernel32.GetDriveTypeW(anchor)  # type: ignore[attr-defined, unused-ignore]
    return kind != _WINDOWS_REMOTE_DRIVE


def _mounted_type(folder: Path, mounts: str) -> str:
    """Return the type of the file system that holds a folder, from the text of ``/proc/mounts``."""
    best, kind = "", ""
    for line in mounts.splitlines():
        place, file_system = (line.split(" ") + ["", ""])[1:3]
        # Spaces and the like stand there as octal numbers.
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
        is_above = Path(place) == folder or Path(place) in folder.parents
        if is_above and len(place) >= len(best):  # of two at one place the later one counts
            best, kind = place, file_system
    return kind


def _named(folder: Path, stem: str, tail: Sequence[str]) -> Path:
    safe = _safe(stem) or "raster"
    if len(safe.encode()) > _MAX_STEM_BYTES:
        digest = hashlib.sha256(safe.encode()).hexdigest()[:8]
        safe = safe.encode()[: _MAX_STEM_BYTES - 9].decode(errors="ignore") + "-" + digest
    return folder / (".".join((safe, *tail)) + SUFFIX)


def _safe(name: str) -> str:
    """Return a name that every system takes, also names that came with bytes that are no text."""
    text = name.encode("utf-8", "replace").decode()
    return _NOT_IN_NAMES.sub("_", text).strip(" .")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # names that no file can have
        return False


def _is_of_another_file(folder: Path, name: str) -> bool:
    """Whether there is a store in a folder that was made from a file of another name."""
    with contextlib.suppress(StoreError):
        source = FeatureStore.open(folder).manifest.source
        made_from = Path(source.path_relative or source.path_absolute).name
        return bool(made_from) and made_from != name
    return False

# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception tree of Geo-SAM2.

Every error carries a sentence for the person (``text``) and what to do next
(``hint``). The tree is known to both processes: the engine sends an error by its
class name, and the client raises the same class again (see ``error_from_name``).
Ignorant of QGIS, torch and the protocol.
"""

from __future__ import annotations


class GeoSam2Error(Exception):
    """Base of all errors that a user may see.

    Args:
        text: One sentence that says what happened, in the user's words.
        hint: One sentence that says what to do next; empty when there is nothing to do.

    Attributes:
        details: What a "Details" button shows: a traceback of the engine or the end of its
            log; empty when there is none. Set after construction by who has them.
    """

    details: str = ""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.text} {self.hint}".strip()


class PromptError(GeoSam2Error):
    """A point, box, label or mask prompt cannot be used."""


class OutlineOptionsError(GeoSam2Error):
    """An outline is asked for in a way that cannot be made."""


class OutputError(GeoSam2Error):
    """An object cannot be saved into a layer, or not read back from it."""


class ClassListError(GeoSam2Error):
    """A class has no proper name or colour, or a list of classes cannot be read."""


class JournalError(GeoSam2Error):
    """Accepted objects cannot be kept for the case of a crash."""


class WindowError(GeoSam2Error):
    """A window of pixels has the wrong dtype, shape or place."""


class GridError(GeoSam2Error):
    """A pixel grid, or an extent on it, cannot be used."""


class RasterReadError(GeoSam2Error):
    """A raster cannot be opened or read, or not in the way asked for."""


class RasterGoneError(RasterReadError):
    """The file of a raster was there and is no longer; none of its windows can be read."""


class StretchError(GeoSam2Error):
    """Pixel values cannot be brought to 0–255."""


class EncodeRequestError(GeoSam2Error):
    """What is asked to be encoded, or where to, makes no sense."""


class StoreError(GeoSam2Error):
    """A feature store cannot be opened or written."""


class StoreMismatchError(StoreError):
    """A feature store was made from something else than what is asked for."""


class StoreExistsError(StoreError):
    """There is a feature store where a new one is to be made."""


class StoreLockedError(StoreError):
    """Another program is writing to a feature store."""


class DamagedIndexError(StoreError):
    """The index of a feature store is missing or unreadable; it can be rebuilt from the tiles."""


class DamagedTileError(StoreError):
    """A tile file is missing, cut short or not what its store says.

    Attributes:
        file: Its name in the store, where that is known; set after construction, and kept on
            the way from the engine.
    """

    file: str = ""


class CheckpointError(GeoSam2Error):
    """A file of model weights cannot be used."""


class DeviceError(GeoSam2Error):
    """The device or precision asked for is not on this machine."""


class DeviceMemoryError(DeviceError):
    """The device ran out of memory."""


class FeatureValueError(GeoSam2Error):
    """The encoder returned NaN or infinite features; such a tile is never stored."""


class EnvironmentMissingError(GeoSam2Error):
    """The private Python environment is missing or broken."""


class InstallError(GeoSam2Error):
    """The private Python environment could not be installed."""


class DownloadError(GeoSam2Error):
    """A download failed or its digest is wrong."""


class EngineError(GeoSam2Error):
    """The engine reported a failure that has no name of its own."""


class EngineDiedError(EngineError):
    """The engine process ended while it was needed."""


class EngineTimeoutError(EngineError):
    """The engine process neither answers nor says that it is busy."""


class ProtocolError(EngineError):
    """A message could not be understood."""


class CancelledError(GeoSam2Error):
    """The request was cancelled, or a newer preview took its place."""


def _all_subclasses(cls: type[GeoSam2Error]) -> list[type[GeoSam2Error]]:
    found = [cls]
    for child in cls.__subclasses__():
        found.extend(_all_subclasses(child))
    return found


def error_from_name(name: str, text: str, hint: str) -> GeoSam2Error:
    """Rebuild an error that crossed the process border; unknown names become EngineError."""
    by_name = {cls.__name__: cls for cls in _all_subclasses(GeoSam2Error)}
    return by_name.get(name, EngineError)(text, hint)

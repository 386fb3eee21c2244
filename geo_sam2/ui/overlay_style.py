# SPDX-License-Identifier: GPL-3.0-or-later
"""How prompts and outlines look on the canvas, and where that is kept between sessions.

Owns the defaults and the keys below ``geo_sam2/overlay/`` in QGIS's settings. Ignorant of how
anything is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from qgis.core import QgsSettings
from qgis.PyQt.QtGui import QColor

MARKER_SHAPES = ("circle", "square", "diamond", "cross")
MARKER_SIZES_PX = (6, 40)
WIDTHS_PX = (1.0, 8.0)

_PREFIX = "geo_sam2/overlay/"
_NUMBERS = {"marker_size_px": MARKER_SIZES_PX, "width_px": WIDTHS_PX}


@dataclass(frozen=True)
class OverlayStyle:
    """The look of everything that is drawn over the map; lengths are device-independent pixels.

    The defaults differ in lightness as well as in hue, and prompts carry a sign, so that they can
    be told apart by those who do not see red and green.

    Attributes:
        foreground: Colour of points on the object, ``#rrggbb``.
        background: Colour of points beside it.
        box: Colour of boxes.
        hover: Colour of the outline under the pointer.
        object: Colour of the outline of the object that is being worked on.
        boundary: Colour of the raster's boundary and of its tiles' seams.
        marker_shape: One of ``MARKER_SHAPES``.
        marker_size_px: Diameter of a point's marker.
        width_px: Of lines, without their halo.
    """

    foreground: str = "#0a9d57"
    background: str = "#d0342c"
    box: str = "#e08600"
    hover: str = "#0a7cff"
    object: str = "#d6006e"
    boundary: str = "#5b3fd6"
    marker_shape: str = "circle"
    marker_size_px: int = 14
    width_px: float = 2.0

    def write(self) -> None:
        """Keep this style for the next session."""
        settings = QgsSettings()
        for field in fields(self):
            settings.setValue(_PREFIX + field.name, getattr(self, field.name))

    @classmethod
    def read(cls) -> OverlayStyle:
        """Return what was kept; the default for whatever is missing or unusable."""
        settings, default = QgsSettings(), cls()
        return cls(
            **{
                field.name: _usable(
                    field.name, settings.value(_PREFIX + field.name), getattr(default, field.name)
                )
                for field in fields(cls)
            }
        )

    @classmethod
    def reset(cls) -> OverlayStyle:
        """Forget what was kept; returns the default."""
        QgsSettings().remove(_PREFIX.rstrip("/"))
        return cls()


def halo_of(colour: QColor) -> QColor:
    """Return what goes under a line of a colour so that it is seen on dark and on light ground."""
    is_light = 0.299 * colour.redF() + 0.587 * colour.greenF() + 0.114 * colour.blueF() > 0.7
    return QColor(0, 0, 0, 190) if is_light else QColor(255, 255, 255, 220)


def _usable(name: str, kept: Any, default: Any) -> Any:
    """Return a value from the settings as the type of its default, or the default itself."""
    if kept is None:
        return default
    if name == "marker_shape":
        return kept if kept in MARKER_SHAPES else default
    if name in _NUMBERS:
        low, high = _NUMBERS[name]
        try:
            number = type(default)(float(kept))  # INI files give text
        except (TypeError, ValueError, OverflowError):
            return default
        return number if low <= number <= high else default
    colour = QColor(str(kept))
    return colour.name() if colour.isValid() else default

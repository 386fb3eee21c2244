# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw what the demo made, with QGIS: the raster, the grid of its store, clicks and polygons.

No words in the picture: a bare machine may have no fonts. The colours are ``COLOURS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsMapLayer,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMarkerSymbol,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

#: Of the polygons, by what was clicked on.
COLOURS = {
    "shadow": "#27b5ff",
    "crown": "#ffd400",
    "dead tree": "#ff5ac8",
    "log": "#ff7a00",
    "meadow": "#b4ff3c",
}
WIDTH_PX = 1150


class DemoError(RuntimeError):
    """A layer that the demo made cannot be drawn."""


def grid_layer(index: Path) -> QgsVectorLayer:
    """Return the windows of a store as frames: those encoded white, others red.

    Args:
        index: The store's GeoPackage.
    """
    layer = _vector(f"{index}|layername=tiles", "windows")
    # The last one is for windows without a valid pixel, and draws nothing.
    frames = {"done": "255,255,255,230", "pending": "255,60,60,255", "failed": "255,60,60,255", "": "0,0,0,0"}
    categories = [QgsRendererCategory(state, _frame(colour), state) for state, colour in frames.items()]
    layer.setRenderer(QgsCategorizedSymbolRenderer("state", categories))
    return layer


def polygon_layer(path: Path) -> QgsVectorLayer:
    """Return the polygons, filled thinly in the colour of their kind."""
    layer = _vector(str(path), "polygons")
    categories = []
    for kind, name in COLOURS.items():
        fill = QColor(name)
        fill.setAlpha(80)
        symbol = QgsFillSymbol.createSimple(
            {"color": _rgba(fill), "outline_color": _rgba(QColor(name)), "outline_width": "0.5"}
        )
        categories.append(QgsRendererCategory(kind, symbol, kind))
    layer.setRenderer(QgsCategorizedSymbolRenderer("KIND", categories))
    return layer


def click_layer(path: Path) -> QgsVectorLayer:
    """Return the clicks: white on an object, red beside it."""
    layer = _vector(str(path), "clicks")
    categories = [
        QgsRendererCategory(
            label,
            QgsMarkerSymbol.createSimple(
                {"color": colour, "outline_color": "20,20,20,255", "outline_width": "0.3", "size": "2"}
            ),
            str(label),
        )
        for label, colour in ((1, "255,255,255,255"), (0, "230,0,0,255"))
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("LABEL", categories))
    return layer


def raster_layer(path: Path) -> QgsRasterLayer:
    """Return the raster as QGIS shows it by itself."""
    return _valid(QgsRasterLayer(str(path), "raster"))


def draw(layers: Sequence[QgsMapLayer], pictures: Sequence[Path]) -> None:
    """Draw layers over each other and write the picture, in the format of each file's name.

    Args:
        layers: From the top down; the last one gives CRS and extent, and is drawn north up.
        pictures: Files to write.

    Raises:
        DemoError: A file cannot be written.
    """
    base = layers[-1]
    extent = base.extent()
    settings = QgsMapSettings()
    settings.setLayers(list(layers))
    settings.setDestinationCrs(base.crs())
    settings.setOutputSize(QSize(WIDTH_PX, round(WIDTH_PX * extent.height() / extent.width())))
    settings.setExtent(extent)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if job.errors():
        raise DemoError("; ".join(error.message for error in job.errors()))
    image = job.renderedImage()
    for picture in pictures:
        if not image.save(str(picture), quality=80):
            raise DemoError(f"{picture} cannot be written.")


def _vector(source: str, name: str) -> QgsVectorLayer:
    return _valid(QgsVectorLayer(source, name, "ogr"))


def _valid(layer: QgsMapLayer) -> QgsMapLayer:
    if not layer.isValid():
        raise DemoError(f"QGIS cannot open {layer.source()}.")
    return layer


def _frame(colour: str) -> QgsFillSymbol:
    return QgsFillSymbol.createSimple({"style": "no", "outline_color": colour, "outline_width": "0.4"})


def _rgba(colour: QColor) -> str:
    return f"{colour.red()},{colour.green()},{colour.blue()},{colour.alpha()}"

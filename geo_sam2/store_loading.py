# SPDX-License-Identifier: GPL-3.0-or-later
"""What LOAD does with a finished store, on the main thread of a desktop.

Whoever can show more of a store than its tile index registers here; the index layer is
what there is without it. Ignorant of how the store was made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsProject,
    QgsRendererCategory,
    QgsVectorLayer,
)

from geo_sam2.errors import StoreError
from geo_sam2.store_index import TileState
from geo_sam2.store_manifest import INDEX_NAME

# Takes the folder of a store and shows it; returns what it did, in a sentence.
StoreOpener = Callable[[Path], str]

_STATE_COLOURS = {
    TileState.DONE: "57,160,95",
    TileState.EMPTY: "150,150,150",
    TileState.PENDING: "230,160,40",
    TileState.FAILED: "217,72,43",
}
_openers: list[StoreOpener] = []


def register_opener(opener: StoreOpener) -> None:
    """Let a part of the desktop show stores from now on; main thread."""
    _openers.append(opener)


def unregister_opener(opener: StoreOpener) -> None:
    """Undo ``register_opener``."""
    _openers.remove(opener)


def load_store(folder: Path, project: QgsProject) -> str:
    """Show a store with the opener registered last, else by its tile index; main thread.

    Returns:
        A sentence about what is shown now.

    Raises:
        StoreError: The index cannot be opened.
    """
    if _openers:
        return _openers[-1](folder)
    layer = load_index_layer(folder, project)
    return f"The tile index of the store is shown as the layer “{layer.name()}”."


def load_index_layer(folder: Path, project: QgsProject) -> QgsVectorLayer:
    """Return the layer of a store's tiles in the project; added where it is not there yet.

    Raises:
        StoreError: The index cannot be opened.
    """
    path = folder / INDEX_NAME
    for layer in project.mapLayers().values():
        if isinstance(layer, QgsVectorLayer) and _is_index(layer, path):
            layer.reload()
            return layer
    layer = QgsVectorLayer(f"{path}|layername=tiles", f"{folder.stem} tiles", "ogr")
    if not layer.isValid():
        raise StoreError(f"{path} cannot be shown as a layer.", "Encode into the store again to repair it.")
    layer.setRenderer(_state_renderer())
    # Not by way of the legend: QGIS would make it the current layer, which Processing offers as
    # the first input of the next run, and tiles are no prompts.
    project.addMapLayer(layer, False)
    project.layerTreeRoot().insertLayer(0, layer)
    return layer


def _is_index(layer: QgsVectorLayer, path: Path) -> bool:
    source = layer.source().partition("|")[0]
    return bool(source) and Path(source) == path


def _state_renderer() -> QgsCategorizedSymbolRenderer:
    """Return outlines, and a tint on what cannot be used: tiles overlap, so tints would add up."""
    categories = []
    for state, colour in _STATE_COLOURS.items():
        opacity = 0 if state is TileState.DONE else 40
        symbol = QgsFillSymbol.createSimple(
            {"color": f"{colour},{opacity}", "outline_color": colour, "outline_width": "0.4"}
        )
        categories.append(QgsRendererCategory(state.value, symbol, state.value))
    return QgsCategorizedSymbolRenderer("state", categories)

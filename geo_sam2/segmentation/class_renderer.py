# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours by class for the layers that the dock makes; the style of any other layer is its user's."""

from __future__ import annotations

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsRendererCategory,
    QgsSimpleFillSymbolLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QColor

from geo_sam2.segmentation.class_list import ClassList, ObjectClass
from geo_sam2.segmentation.output_fields import CLASS

#: A layer's custom property: the dock made it, and keeps its colours.
MADE_BY_DOCK = "geo_sam2/made_by_dock"

# Of no hue, for it is none of the classes'.
_NO_CLASS = "#ffffff"
# The image stays visible through it.
_FILL_ALPHA = 70
_OUTLINE_MM = "0.46"
# Under the outline, for in shade a dark line is lost, and on bare ground a light one.
_HALO_MM = "0.9"
_LIGHT_HALO, _DARK_HALO = "255,255,255,220", "0,0,0,190"
# Luminance from which a colour stands out from black more than from white.
_LIGHT_FROM = 0.25


def class_renderer(classes: ClassList) -> QgsCategorizedSymbolRenderer:
    """Return a renderer with a symbol for each class, and one for objects of none of them."""
    categories = [_category(item) for item in classes.classes]
    categories.append(QgsRendererCategory(None, _symbol(_NO_CLASS), _other()))
    return QgsCategorizedSymbolRenderer(CLASS, categories)


def show_classes(layer: QgsVectorLayer, classes: ClassList) -> bool:
    """Bring the colours of a layer that the dock made up to date; say whether anything changed.

    What the user changed stays: a symbol is replaced only where its colour is another than the
    class's, categories of other values are kept, and a renderer of another kind is left alone.
    """
    renderer = layer.renderer()
    if (
        not layer.customProperty(MADE_BY_DOCK)
        or not isinstance(renderer, QgsCategorizedSymbolRenderer)
        or renderer.classAttribute() != CLASS
    ):
        return False
    is_changed = False
    for item in classes.classes:
        index = renderer.categoryIndexForValue(item.name)
        if index < 0:
            # Before the one for all others, which stands last.
            renderer.addCategory(_category(item))
            renderer.moveCategory(len(renderer.categories()) - 1, max(0, len(renderer.categories()) - 2))
        elif _colour(renderer, index) != item.colour:
            renderer.updateCategorySymbol(index, _symbol(item.colour))
        else:
            continue
        is_changed = True
    if is_changed:
        layer.triggerRepaint()
        layer.emitStyleChanged()
        layer.rendererChanged.emit()
    return is_changed


def _category(item: ObjectClass) -> QgsRendererCategory:
    return QgsRendererCategory(item.name, _symbol(item.colour), item.name)


def _symbol(colour: str) -> QgsFillSymbol:
    fill = QColor(colour)
    fill.setAlpha(_FILL_ALPHA)
    symbol = QgsFillSymbol.createSimple(
        {
            "color": f"{fill.red()},{fill.green()},{fill.blue()},{fill.alpha()}",
            "outline_color": colour,
            "outline_width": _OUTLINE_MM,
        }
    )
    halo = QgsSimpleFillSymbolLayer.create(
        {"style": "no", "outline_color": _halo_of(fill), "outline_width": _HALO_MM, "joinstyle": "round"}
    )
    # The colour of the symbol is that of its first layer that is not locked, also where a user changes it.
    halo.setLocked(True)
    symbol.insertSymbolLayer(0, halo)
    return symbol


def _halo_of(colour: QColor) -> str:
    parts = (colour.redF(), colour.greenF(), colour.blueF())
    luminance = sum(weight * part**2.2 for weight, part in zip((0.2126, 0.7152, 0.0722), parts))
    return _DARK_HALO if luminance >= _LIGHT_FROM else _LIGHT_HALO


def _colour(renderer: QgsCategorizedSymbolRenderer, index: int) -> str:
    # A copy, which owns its symbol: it has to outlive it.
    category = renderer.categories()[index]
    return str(category.symbol().color().name())


def _other() -> str:
    return QCoreApplication.translate("ClassRenderer", "no class")

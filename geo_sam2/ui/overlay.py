# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn over the map while an object is being worked on.

Owns the items for the outline under the pointer, the object, its prompts and the box that is being
drawn; they follow pan, zoom, rotation and the project's CRS by themselves. Shows what it is
given and decides nothing. Never refreshes the map: only the items are repainted. Main thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsPointXY, QgsRectangle
from qgis.gui import QgsMapCanvas
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, QPoint
from qgis.PyQt.QtGui import QColor

from geo_sam2.ui.canvas_placement import on_canvas
from geo_sam2.ui.outline_item import OutlineItem
from geo_sam2.ui.overlay_style import OverlayStyle
from geo_sam2.ui.prompt_item import BOX, PlacedPrompt, PromptItem

_HOVER_Z, _OBJECT_Z, _DRAWN_BOX_Z, _PROMPTS_Z = 60.0, 61.0, 62.0, 63.0
# A preview is looked through: at the ground, and at what was saved there a moment ago.
_HOVER_OPACITY, _OBJECT_OPACITY = 0.12, 0.2
_HOVER_WIDTH_SHARE = 0.75

_Placed = tuple[QgsGeometry, QgsCoordinateReferenceSystem]


@dataclass(frozen=True)
class ShownPrompt:
    """A prompt as it is shown.

    Attributes:
        id: Of the prompt in its session; unique among those shown.
        kind: ``"foreground"``, ``"background"`` or ``"box"``.
        geometry: A point, or the polygon of a box.
        crs: Of the geometry; if it is invalid, its numbers are those of the canvas.
    """

    id: int
    kind: str
    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem


class Overlay(QObject):
    """The items over one canvas.

    Args:
        canvas: The map; its scene owns the items until ``remove`` takes them out.
        parent: Of the object.
    """

    def __init__(self, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._style = OverlayStyle()
        self._hover: _Placed | None = None
        self._object: _Placed | None = None
        self._prompts: tuple[ShownPrompt, ...] = ()
        self._hover_item = OutlineItem(canvas, _HOVER_Z)
        self._object_item = OutlineItem(canvas, _OBJECT_Z)
        self._box_item = OutlineItem(canvas, _DRAWN_BOX_Z)
        self._prompt_item = PromptItem(canvas, _PROMPTS_Z)
        self._is_removed = False
        self.set_style(self._style)
        canvas.destinationCrsChanged.connect(self._place_anew)
        canvas.transformContextChanged.connect(self._place_anew)

    @property
    def style(self) -> OverlayStyle:
        """How things are drawn now."""
        return self._style

    def set_style(self, style: OverlayStyle) -> None:
        """Draw everything that is and will be shown in another style."""
        self._style = style
        self._hover_item.set_look(QColor(style.hover), _HOVER_WIDTH_SHARE * style.width_px, _HOVER_OPACITY)
        self._object_item.set_look(QColor(style.object), style.width_px, _OBJECT_OPACITY)
        self._box_item.set_look(QColor(style.box), style.width_px, 0.08)
        self._prompt_item.set_style(style)

    def set_hover(
        self, geometry: QgsGeometry | None, crs: QgsCoordinateReferenceSystem | None = None
    ) -> None:
        """Show the outline under the pointer, or none.

        Args:
            geometry: Polygons; the caller leaves them unchanged from here on.
            crs: Of the geometry; None or invalid: its numbers are those of the canvas.
        """
        self._hover = _placed(geometry, crs)
        self._show_outline(self._hover_item, self._hover)

    def set_object(
        self, geometry: QgsGeometry | None, crs: QgsCoordinateReferenceSystem | None = None
    ) -> None:
        """Show the outline of the object, or none; arguments as in ``set_hover``."""
        self._object = _placed(geometry, crs)
        self._show_outline(self._object_item, self._object)

    def set_prompts(self, prompts: Sequence[ShownPrompt]) -> None:
        """Show these prompts and no others; the last one is on top.

        One that has no place in the CRS of the canvas is not shown.
        """
        self._prompts = tuple(prompts)
        self._place_prompts()

    def prompt_at(self, at: QPoint) -> int | None:
        """Return the id of the prompt that a pixel of the canvas hits: a point before a box's line."""
        return self._prompt_item.prompt_at(at)

    def prompt_centre(self, prompt_id: int) -> QgsPointXY | None:
        """Return the place of a prompt, or the middle of its box, in the CRS of the canvas."""
        prompt = self._prompt_item.prompt(prompt_id)
        return None if prompt is None else prompt.centre

    def set_hot_prompt(self, prompt_id: int | None) -> None:
        """Draw the prompt larger that the next press would take."""
        self._prompt_item.set_hot(prompt_id)

    def drag_prompt(self, prompt_id: int, dx: float, dy: float) -> None:
        """Draw a prompt away from its place by map units of the canvas, until ``drop_prompt``."""
        self._prompt_item.drag(prompt_id, dx, dy)

    def drop_prompt(self) -> None:
        """Draw the prompt that was dragged where it was set."""
        self._prompt_item.drop()

    def set_drawn_box(self, rectangle: QgsRectangle | None) -> None:
        """Show the box that is being drawn, in the CRS of the canvas, or none."""
        self._box_item.set_shape(None if rectangle is None else QgsGeometry.fromRect(rectangle))

    def clear(self) -> None:
        """Show nothing."""
        self.set_hover(None)
        self.set_object(None)
        self.set_drawn_box(None)
        self.set_hot_prompt(None)
        self.set_prompts(())

    def remove(self) -> None:
        """Take everything out of the scene, for good; a second call does nothing."""
        if self._is_removed:
            return
        self._is_removed = True
        if sip.isdeleted(self._canvas):
            return  # and the scene with its items
        self._canvas.destinationCrsChanged.disconnect(self._place_anew)
        self._canvas.transformContextChanged.disconnect(self._place_anew)
        for item in (self._hover_item, self._object_item, self._box_item, self._prompt_item):
            self._canvas.scene().removeItem(item)

    def _place_anew(self) -> None:
        """Follow a change of the project's CRS, or of how QGIS gets there."""
        self._show_outline(self._hover_item, self._hover)
        self._show_outline(self._object_item, self._object)
        self.set_drawn_box(None)
        self._place_prompts()

    def _show_outline(self, item: OutlineItem, placed: _Placed | None) -> None:
        item.set_shape(None if placed is None else on_canvas(*placed, self._canvas))

    def _place_prompts(self) -> None:
        placed = []
        for prompt in self._prompts:
            is_box = prompt.kind == BOX
            geometry = on_canvas(prompt.geometry, prompt.crs, self._canvas, has_long_sides=is_box)
            if geometry is not None:
                placed.append(PlacedPrompt(prompt.id, prompt.kind, geometry))
        self._prompt_item.set_prompts(placed)


def _placed(geometry: QgsGeometry | None, crs: QgsCoordinateReferenceSystem | None) -> _Placed | None:
    return None if geometry is None else (geometry, crs or QgsCoordinateReferenceSystem())

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock shows, and what is in the layer that it saves into."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path

from qgis.core import QgsProject, QgsVectorLayer
from qgis.PyQt.QtWidgets import QCheckBox, QDockWidget, QWidget
from qgis.utils import iface

# Nothing of the plugin is imported: once it is reloaded, it has other classes of the same names.
OBJECT_NAME = "GeoSam2Dock"
_HOVER_Z = 60.0


def dock() -> QDockWidget:
    """Return the dock.

    Raises:
        LookupError: It was not opened yet, or is hidden.
    """
    found = iface.mainWindow().findChild(QDockWidget, OBJECT_NAME)
    if found is None or not found.isVisible():
        raise LookupError("The dock is not shown.")
    return found


def view() -> dict[str, object]:
    """Return all that the dock shows, as plain values."""
    return _plain(dock()._controller.view())


def part(path: str) -> object:
    """Return one value of the view, ``object.can_accept`` for instance."""
    value = view()
    for name in path.split("."):
        value = None if value is None else value[name]
    return value


def has(path: str, value: object) -> bool:
    """Return whether a value of the view is this one."""
    return part(path) == value


def is_calm() -> bool:
    """Return whether nothing is under way: no answer, no tile, no search."""
    shown = dock()._controller.view()
    return not (shown.object.is_busy or shown.encoding.is_running or shown.imagery.is_looking)


def is_object_shown() -> bool:
    """Return whether a polygon of the newest prompts is on the screen."""
    shown = dock()._controller.view().object
    return shown.can_accept and not shown.is_busy


def is_object_closed() -> bool:
    """Return whether no prompts are left of the last object."""
    return not dock()._controller.view().object.is_open


def prompts() -> list[list[object]]:
    """Return the prompts of the object in their order: kind and grid pixels."""
    state = dock()._controller.prompting.session.state
    return [
        ["box", *prompt.bounds_px]
        if hasattr(prompt, "bounds_px")
        else [prompt.label, prompt.x_px, prompt.y_px]
        for prompt in state.prompts
    ]


def has_prompts(count: int) -> bool:
    """Return whether the object has so many prompts."""
    return len(prompts()) == count


def object_outline() -> str:
    """Return the outline on the screen as well-known text.

    Raises:
        LookupError: There is none, or it is not yet that of all prompts.
    """
    if not is_object_shown():
        raise LookupError("The outline is not on the screen.")
    return dock()._controller.prompting.shown.geometry.asWkt(6)


def hover_is_shown() -> bool:
    """Return whether there is an outline under the pointer."""
    items = iface.mapCanvas().scene().items()
    return any(item.isVisible() for item in items if _is_outline(item) and item.zValue() == _HOVER_Z)


def _is_outline(item: object) -> bool:
    return type(item).__name__ == "OutlineItem"


def has_settled(count: int) -> bool:
    """Return whether so many tiles of this bout of encoding are done, and more are to come."""
    encoding = dock()._controller.view().encoding
    return encoding.is_running and count <= encoding.done < encoding.total


def show_tiles(is_on: bool) -> None:
    """Switch the tile grid on or off, by its box in the dock."""
    _set(dock().contents.displayPanel.tilesCheck, is_on)


def scroll_to(name: str) -> None:
    """Bring a widget of the dock into view."""
    contents = dock().contents
    contents.scrollArea.ensureWidgetVisible(contents.findChild(QWidget, name))


def set_preview(is_on: bool) -> None:
    """Switch the preview under the pointer on or off, by its box in the dock."""
    _set(dock().contents.displayPanel.previewCheck, is_on)


def _set(check: QCheckBox, is_on: bool) -> None:
    if check.isChecked() != is_on:
        check.click()


def output_layer() -> QgsVectorLayer:
    """Return the layer that objects are saved into.

    Raises:
        LookupError: There is none.
    """
    layer = QgsProject.instance().mapLayer(view()["output"]["layer_id"])
    if layer is None:
        raise LookupError("There is no output layer.")
    return layer


def output_source() -> str:
    """Return the file of the output layer."""
    return output_layer().source()


def saved_count() -> int:
    """Return how many objects the output layer has, edits included; 0 without layer."""
    try:
        return output_layer().featureCount()
    except LookupError:
        return 0


def has_saved(count: int) -> bool:
    """Return whether the output layer has so many objects."""
    return saved_count() == count


def saved_outlines() -> list[str]:
    """Return the outlines in the output layer, edits included, as well-known text, sorted."""
    return sorted(feature.geometry().asWkt(6) for feature in output_layer().getFeatures())


def is_output_committed() -> bool:
    """Return whether no edit waits to be saved."""
    return not output_layer().isModified()


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

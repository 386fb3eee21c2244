# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are on the screen, and what they show. Places are pixels of the screen, (x, y)."""

from __future__ import annotations

from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform, QgsPointXY, QgsProject
from qgis.PyQt.QtCore import QPoint
from qgis.PyQt.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QToolBar,
    QWidget,
)
from qgis.utils import iface


def find(name: str) -> QWidget:
    """Return the visible widget of this object name.

    Raises:
        LookupError: There is none, or it is hidden.
    """
    found = [widget for widget in QApplication.allWidgets() if widget.objectName() == name]
    shown = [widget for widget in found if widget.isVisible()]
    if not shown:
        raise LookupError(f"No widget “{name}” is shown; {len(found)} are hidden.")
    return shown[0]


def place(name: str) -> list[int]:
    """Return the middle of a widget that is shown."""
    return _middle(find(name))


def place_of_action(name: str) -> list[int]:
    """Return the middle of the toolbar button of an action."""
    for bar in iface.mainWindow().findChildren(QToolBar):
        for action in bar.actions():
            button = bar.widgetForAction(action)
            if action.objectName() == name and button is not None and button.isVisible():
                return _middle(button)
    raise LookupError(f"No button of the action “{name}” is shown.")


def place_of_button(text: str) -> list[int]:
    """Return the middle of the shown button with this text, in a box or anywhere."""
    for widget in QApplication.allWidgets():
        if not isinstance(widget, QAbstractButton) or not widget.isVisible():
            continue
        if widget.text().replace("&", "") == text:
            return _middle(widget)
    raise LookupError(f"No button says “{text}”.")


def place_of_choice(name: str, text: str) -> list[int]:
    """Return the middle of an entry in the open list of a combo box."""
    view = find(name).view()
    model = view.model()
    for row in range(model.rowCount()):
        index = model.index(row, 0)
        if text in str(index.data()):
            view.scrollTo(index)
            return _on_screen(view.viewport(), view.visualRect(index).center())
    raise LookupError(f"“{name}” offers no “{text}”.")


def place_on_map(x_map: float, y_map: float, crs: str) -> list[int]:
    """Return where a point of the map is; its CRS by name, "" for that of the canvas."""
    canvas = iface.mapCanvas()
    point = QgsPointXY(x_map, y_map)
    if crs:
        there = canvas.mapSettings().destinationCrs()
        here = QgsCoordinateReferenceSystem(crs)
        point = QgsCoordinateTransform(here, there, QgsProject.instance()).transform(point)
    pixel = canvas.getCoordinateTransform().transform(point)
    inside = QPoint(round(pixel.x()), round(pixel.y()))
    if not canvas.viewport().rect().contains(inside):
        raise LookupError(f"The point is off the canvas, at {pixel.x():.0f}, {pixel.y():.0f}.")
    return _on_screen(canvas.viewport(), inside)


def is_shown(name: str) -> bool:
    """Return whether a widget of this name is shown."""
    return any(widget.objectName() == name and widget.isVisible() for widget in QApplication.allWidgets())


def is_enabled(name: str) -> bool:
    """Return whether a widget that is shown can be used."""
    return find(name).isEnabled()


def text(name: str) -> str:
    """Return what a label, button or combo box shows."""
    widget = find(name)
    return widget.currentText() if isinstance(widget, QComboBox) else widget.text()


def messages() -> list[str]:
    """Return the texts of QGIS's message bar, the newest first."""
    bar = iface.messageBar()
    return [
        " ".join(label.text() for label in item.findChildren(QLabel) if label.text())
        or getattr(item, "text", str)()
        for item in bar.items()
    ]


def open_box() -> str:
    """Return the title and text of the modal box that is open; "" where none is."""
    box = QApplication.activeModalWidget()
    if box is None:
        return ""
    return " ".join([box.windowTitle(), *(label.text() for label in box.findChildren(QLabel))])


def _middle(widget: QWidget) -> list[int]:
    return _on_screen(widget, widget.rect().center())


def _on_screen(widget: QWidget, inside: QPoint) -> list[int]:
    # Qt counts in its own pixels, the mouse in those of the screen.
    found, ratio = widget.mapToGlobal(inside), widget.devicePixelRatioF()
    return [round(found.x() * ratio), round(found.y() * ratio)]

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test lays out before the mouse takes over, and what QGIS as a whole is asked."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsProject, QgsRasterLayer, QgsRectangle, QgsVectorLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QDockWidget
from qgis.utils import iface, plugins

from geo_sam2 import engine_session
from geo_sam2.runtime.engine_command import engine_command


def version() -> str:
    """Return which QGIS this is."""
    return Qgis.QGIS_VERSION


def loaded_plugins() -> list[str]:
    """Return the names of the plugins that have started."""
    return sorted(plugins)


def is_ready() -> bool:
    """Return whether the window is shown in its full size."""
    window = iface.mainWindow()
    return window.isVisible() and window.isMaximized()


def maximise() -> None:
    """Fill the screen with the window, so that pictures are alike."""
    iface.mainWindow().showMaximized()


def tidy() -> None:
    """Close what pictures of the dock do not need: QGIS's browser."""
    for dock in iface.mainWindow().findChildren(QDockWidget):
        if dock.objectName() in ("Browser", "Browser2"):
            dock.close()


def add_raster(path: str) -> str:
    """Add a raster to the project and show all of it; return the id of its layer."""
    layer = QgsRasterLayer(path, Path(path).stem)
    if not layer.isValid():
        raise ValueError(f"{path} is no raster.")
    QgsProject.instance().addMapLayer(layer)
    iface.mapCanvas().setExtent(
        iface.mapCanvas().mapSettings().layerExtentToOutputExtent(layer, layer.extent())
    )
    iface.mapCanvas().refresh()
    return layer.id()


def add_vector(path: str) -> str:
    """Add a vector layer to the project; return its id."""
    layer = QgsVectorLayer(path, Path(path.partition("|")[0]).stem, "ogr")
    if not layer.isValid():
        raise ValueError(f"{path} is no vector layer.")
    QgsProject.instance().addMapLayer(layer)
    return layer.id()


def remove_layer(layer_id: str) -> None:
    """Take a layer out of the project."""
    QgsProject.instance().removeMapLayer(layer_id)


def zoom_to(x_min: float, y_min: float, x_max: float, y_max: float) -> None:
    """Show a part of the map, in the CRS of the canvas."""
    iface.mapCanvas().setExtent(QgsRectangle(x_min, y_min, x_max, y_max))
    iface.mapCanvas().refresh()


def map_state() -> list[object]:
    """Return whether the canvas is drawing, its size, and the part of the map that it shows."""
    canvas = iface.mapCanvas()
    return [canvas.isDrawing(), canvas.width(), canvas.height(), canvas.extent().toString(6)]


def use_fake_engine(python: str, script: str, log: str, variables: dict[str, str]) -> None:
    """Put the fake engine in the place of this process's engine (see ``tests.qgis.fake_engine``)."""
    engine_session.end()
    environ = {f"FAKE_ENGINE_{name.upper()}": str(value) for name, value in variables.items()}
    command = engine_command(
        Path(python), launcher=Path(script), options=("--heartbeat", "0.2"), environ=environ
    )
    engine_session._session = engine_session.EngineSession(lambda: command, lambda: Path(log))


def leave() -> None:
    """End QGIS as from its menu, after the answer to this question."""
    QTimer.singleShot(0, iface.actionExit().trigger)


def leave_quietly() -> None:
    """End QGIS without being asked about the project."""
    QgsProject.instance().setDirty(False)
    leave()

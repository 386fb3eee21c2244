# SPDX-License-Identifier: GPL-3.0-or-later
"""A dock over a canvas of its own, with a raster to work on and the fake engine behind it."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QElapsedTimer, QPoint
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication

from geo_sam2 import engine_session
from geo_sam2.runtime.folders import HOME_VARIABLE
from geo_sam2.ui.controller import Controller
from geo_sam2.ui.dock import GeoSam2Dock
from tests.qgis.canvas_hand import Hand
from tests.qgis.canvases import canvas_shown
from tests.qgis.rasters import make_raster
from tests.qgis.segmenting import UTM_GEOTRANSFORM, bright

PATIENCE_MS = 30000

# Bright squares by name, in pixels of the raster: x_min, y_min, x_max, y_max.
HOUSE = (100, 100, 180, 160)
SHED = (300, 80, 360, 140)
# Across the seam of the first two tiles of a raster that is wide enough.
HALL = (980, 300, 1080, 380)


def scene_raster(path, width=600, height=400, *squares):
    """Write an image of bright squares at half a metre a pixel; all of the canvas of ``canvas_shown``."""
    image = bright(width, height, *(squares or (HOUSE, SHED)))
    return Path(make_raster(path, image.transpose(2, 0, 1), geotransform=UTM_GEOTRANSFORM, epsg=32612))


class Scene:
    """A dock with all that belongs to it.

    Attributes:
        canvas: On which everything happens.
        controller: The dock's.
        dock: The widget.
        hand: On the canvas.
        views: All views that were told.
        messages: (text, hint) of all messages.
    """

    def __init__(self, canvas, engine):
        self.canvas = canvas
        self.controller = Controller(canvas, QgsProject.instance(), engine)
        self.views, self.messages = [], []
        self.controller.changed.connect(self.views.append)
        self.controller.message.connect(lambda text, hint, level: self.messages.append((text, hint)))
        self.dock = GeoSam2Dock(self.controller)
        self.dock.opened.connect(lambda: self.controller.set_shown(True))
        self.dock.closed.connect(lambda: self.controller.set_shown(False))
        self.hand = Hand(canvas)
        self.clicks = 0

    def open(self):
        """Show the dock."""
        self.dock.setFloating(True)
        self.dock.show()
        self.controller.set_shown(True)

    @property
    def view(self):
        """What the dock shows now."""
        return self.controller.view()

    @property
    def session(self):
        """The prompts."""
        return self.controller.prompting.session

    def add_raster(self, path, name="scene"):
        """Add a raster to the project, without choosing it."""
        layer = QgsRasterLayer(str(path), name)
        assert layer.isValid()
        QgsProject.instance().addMapLayer(layer)
        return layer

    def wait(self, condition, what=""):
        """Let events happen until a condition holds."""
        since = QElapsedTimer()
        since.start()
        while not condition():
            if since.elapsed() > PATIENCE_MS:
                raise AssertionError(f"Waited in vain. {what} {self.view}")
            QTest.qWait(5)

    def pick(self, layer):
        """Choose a raster, and wait until its stores are known."""
        self.controller.set_raster(layer)
        self.wait(lambda: not self.view.imagery.is_looking)

    def look_at(self, x_px, y_px):
        """Bring a pixel of the raster into the middle of the canvas."""
        x, y = 528000 + x_px * 0.5, 4978000 - y_px * 0.5
        self.canvas.setExtent(QgsRectangle(x - 150, y - 100, x + 150, y + 100))

    def at(self, x_px, y_px, crs=None):
        """Return the pixel of the canvas on which a pixel of the raster lies."""
        point = QgsPointXY(528000 + x_px * 0.5, 4978000 - y_px * 0.5)
        target = self.canvas.mapSettings().destinationCrs()
        if target.authid() != "EPSG:32612":
            from qgis.core import QgsCoordinateTransform

            source = QgsCoordinateReferenceSystem("EPSG:32612")
            point = QgsCoordinateTransform(source, target, QgsProject.instance()).transform(point)
        place = self.canvas.getCoordinateTransform().transform(point)
        return QPoint(round(place.x()), round(place.y()))

    def click(self, square, *arguments):
        """Click into a square of the raster, near its middle; twice into the same one is no double-click."""
        self.clicks += 1
        beside = 2 * QApplication.startDragDistance() * (self.clicks % 2)
        place = self.at((square[0] + square[2]) / 2 + beside, (square[1] + square[3]) / 2)
        self.hand.click(place.x(), place.y(), *arguments)

    def wait_for_outline(self):
        """Wait until the outline of all prompts is on the canvas."""
        self.wait(lambda: self.view.object.can_accept, "No outline.")

    def make_object(self, square):
        """Click on a square, wait for its outline, and accept it."""
        self.click(square)
        self.wait_for_outline()
        assert self.controller.accept()

    def close(self):
        """End it as the plugin does."""
        self.controller.close()
        sip.delete(self.dock)
        sip.delete(self.controller)


@contextmanager
def own_home():
    """Let settings, journals and prompts of other tests be of no effect, and leave none behind."""
    before = os.environ.get(HOME_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[HOME_VARIABLE] = folder
        QgsSettings().remove("geo_sam2")
        try:
            yield Path(folder)
        finally:
            QgsSettings().remove("geo_sam2")
            if before is None:
                del os.environ[HOME_VARIABLE]
            else:
                os.environ[HOME_VARIABLE] = before


@contextmanager
def dock_scene(crs="EPSG:32612", engine=None):
    """Show a dock over the ground of ``scene_raster``; the engine is the session's by default."""
    with own_home(), canvas_shown(crs) as canvas:
        scene = Scene(canvas, engine or engine_session.client)
        try:
            scene.look_at(300, 200)
            QApplication.processEvents()
            scene.open()
            yield scene
        finally:
            scene.close()
            QgsProject.instance().clear()


def square_of(geometry, side_m=0.5):
    """Return the bounds of a geometry in pixels of the raster."""
    box = geometry.boundingBox()
    return (
        round((box.xMinimum() - 528000) / side_m),
        round((4978000 - box.yMaximum()) / side_m),
        round((box.xMaximum() - 528000) / side_m),
        round((4978000 - box.yMinimum()) / side_m),
    )

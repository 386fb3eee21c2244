# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores made of images in memory, layers of prompts, and runs of geo_sam2:segment_prompts on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProject,
    QgsVectorLayer,
    QgsWkbTypes,
)

from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.grid import PixelGrid
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER
from geo_sam2.segmentation.segment_prompts_algorithm import SegmentPromptsAlgorithm
from geo_sam2.source_info import SourceInfo

MODEL = {"checkpoint": str(DEMO_FOLDER / "demo.safetensors"), "device": "cpu", "precision": "fp32"}
UTM = "EPSG:32612"
UTM_GEOTRANSFORM = (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5)


def bright(width, height, *rectangles):
    """Return a dark image with bright rectangles (x_min, y_min, x_max, y_max) in pixels."""
    image = np.full((height, width, 3), 30, np.uint8)
    for x_min, y_min, x_max, y_max in rectangles:
        image[y_min:y_max, x_min:x_max] = 220
    return image


def grid_of(image, crs=UTM, geotransform=UTM_GEOTRANSFORM):
    """Return the grid of an image placed on the map."""
    height, width, _ = image.shape
    wkt = QgsCoordinateReferenceSystem(crs).toWkt() if crs else ""
    return PixelGrid(width, height, geotransform, wkt, crs)


def make_store(folder, engine, image, grid=None, states=None):
    """Encode an image in memory with an engine.

    Args:
        folder: Of the store.
        engine: A client.
        image: (height, width, 3) uint8.
        grid: Its place; that of ``grid_of`` by default.
        states: States other than done, by (xoff, yoff); None leaves the window out.
    """
    grid = grid or grid_of(image)
    info = engine.request({"type": "load_model", "model": MODEL}).result().fields["model_info"]
    source = replace(SourceInfo.of_pixels(grid.width, grid.height), grid=grid)
    store = FeatureStore.create(folder, ModelInfo.from_json(info), source)
    place = {"store": str(folder), "model": MODEL}
    engine.request({"type": "write_decoder", **place}).result()
    states = states or {}
    wanted = [window for window in store.tiling if states.get((window.xoff, window.yoff), "done") is not None]
    with store.writer() as writer:
        writer.add_pending(wanted)
        for window in wanted:
            state = states.get((window.xoff, window.yoff), TileState.DONE)
            if state is not TileState.DONE:
                writer.record([TileRecord(window, state)])
                continue
            pixels = image[window.yoff :, window.xoff :][: window.height, : window.width]
            tiles = [{"window": window.to_json(), "generation": writer.next_generation(window)}]
            request = {"type": "encode", **place, "tiles": tiles}
            answer = engine.request(request, {"image_0": np.ascontiguousarray(pixels)}).result()
            (made,) = answer.fields["tiles"]
            writer.record([TileRecord(window, TileState.DONE, **made)])
    return store


def prompt_layer(kind, rows, crs=UTM, fields=""):
    """Return a layer in memory.

    Args:
        kind: Point, LineString, Polygon or NoGeometry, or one of their multi types.
        rows: (WKT or None, attribute, …) each.
        crs: Of the layer; empty for none.
        fields: As ``name:type``, separated by &.
    """
    definition = "&".join([f"{kind}?crs={crs}", *[f"field={field}" for field in fields.split("&") if field]])
    layer = QgsVectorLayer(definition, "prompts", "memory")
    assert layer.isValid()
    if not crs:
        layer.setCrs(QgsCoordinateReferenceSystem())
    for wkt, *attributes in rows:
        feature = QgsFeature(layer.fields())
        if wkt is not None:
            feature.setGeometry(QgsGeometry.fromWkt(wkt))
        feature.setAttributes(attributes)
        assert layer.dataProvider().addFeature(feature)
    return layer


def map_wkt(grid, *points_px):
    """Return a point, or for several a multi-point, at places of the grid."""
    text = ",".join(f"({x!r} {y!r})" for x, y in grid.to_map(points_px))
    return f"Point{text}" if len(points_px) == 1 else f"MultiPoint({text})"


def box_wkt(grid, x_min, y_min, x_max, y_max):
    """Return a polygon round a rectangle of the grid."""
    corners = grid.to_map([(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max), (x_min, y_min)])
    return "Polygon((" + ",".join(f"{x!r} {y!r}" for x, y in corners) + "))"


class Feedback(QgsProcessingFeedback):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(False)
        self.warnings, self.infos, self.errors, self.percents = [], [], [], []
        self.progressChanged.connect(self.percents.append)

    def pushWarning(self, text):  # noqa: N802
        self.warnings.append(text)

    def reportError(self, text, _is_fatal=False):  # noqa: N802
        self.errors.append(text)

    def pushInfo(self, text):  # noqa: N802
        self.infos.append(text)


class Run:
    """A finished run.

    Attributes:
        results: What the algorithm returned.
        layer: Its output.
        rows: The features of the output as dictionaries, their geometries under ``geometry``.
        feedback: What it said.
    """

    def __init__(self, results, context, feedback):
        self.results, self.feedback = results, feedback
        self.context = context  # owns the layer
        self.layer = QgsProcessingUtils.mapLayerFromString(results["OUTPUT"], context)
        names = [field.name() for field in self.layer.fields()]
        self.rows = []
        for feature in self.layer.getFeatures():
            geometry = QgsGeometry(feature.geometry())
            assert geometry.wkbType() == QgsWkbTypes.Type.MultiPolygon
            assert geometry.isGeosValid()
            values = [None if value is None or _is_null(value) else value for value in feature.attributes()]
            self.rows.append({**dict(zip(names, values)), "geometry": geometry})

    def row(self, **wanted):
        """Return the one row with these values."""
        (found,) = [row for row in self.rows if all(row[key] == value for key, value in wanted.items())]
        return found


def segment(store, prompts, feedback=None, **parameters):
    """Run the algorithm; raises what it raises."""
    context, feedback = QgsProcessingContext(), feedback or Feedback()
    context.setProject(QgsProject.instance())
    given = {
        "FEATURES": str(getattr(store, "folder", store)),
        "PROMPTS": prompts,
        "OUTPUT": "memory:",
        **parameters,
    }
    algorithm = SegmentPromptsAlgorithm().create()
    results, is_fine = algorithm.run(given, context, feedback, {}, False)
    if not is_fine:  # what prepareAlgorithm raises, QGIS reports to the feedback alone
        raise QgsProcessingException(" ".join(feedback.errors))
    return Run(results, context, feedback)


def pixels_of(geometry, grid):
    """Return the vertices of each ring in grid pixels, without the repeated last one, as sorted tuples."""
    return [
        sorted({(round(x, 3), round(y, 3)) for x, y in grid.to_grid([(p.x(), p.y()) for p in ring])})
        for polygon in geometry.asMultiPolygon()
        for ring in polygon
    ]


def corners(x_min, y_min, x_max, y_max):
    """Return what ``pixels_of`` gives for a rectangle."""
    return sorted([(x_min, y_min), (x_min, y_max), (x_max, y_min), (x_max, y_max)])


def _is_null(value):
    return hasattr(value, "isNull") and value.isNull()

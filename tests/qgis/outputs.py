# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers to save objects into, and objects to be saved."""

from __future__ import annotations

from dataclasses import replace

from osgeo import ogr, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFields,
    QgsGeometry,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)

from geo_sam2.segmentation.output_feature import SavedObject
from geo_sam2.segmentation.output_fields import new_output_fields

UTM = "EPSG:32612"


def square(x, y, side=10.0):
    """Return a multi-polygon of one square, its lower left corner given."""
    corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]
    text = ",".join(f"{a!r} {b!r}" for a, b in corners)
    return QgsGeometry.fromWkt(f"MultiPolygon((({text})))")


def saved(geometry, crs=UTM, **fields):
    """Return an object with this geometry."""
    values = {
        "geometry": geometry,
        "crs": QgsCoordinateReferenceSystem(crs),
        "class_name": "roof",
        "score": 0.91,
        "stability": 0.95,
        "model": "demo",
        "store_id": "0d5c7d66-7e0f-4f35-a2f0-2c1c0a7d9e5b",
        "tile_ids": ("0/0/0", "0/1024/0"),
        "prompts": '{"version":1}',
        "outline": '{"version":1,"threshold":0.0}',
        "is_truncated": False,
        "created": "2026-11-22T12:00:00.000Z",
    }
    return SavedObject(**{**values, **fields})


def changed(item, **fields):
    """Return an object with other values."""
    return replace(item, **fields)


def memory_layer(definition="MultiPolygon", crs=UTM, fields="class:string"):
    """Return an empty layer in memory; fields as ``name:type``, separated by &."""
    parts = [f"{definition}?crs={crs}", *[f"field={field}" for field in fields.split("&") if field]]
    layer = QgsVectorLayer("&".join(parts), "objects", "memory")
    assert layer.isValid()
    if not crs:
        layer.setCrs(QgsCoordinateReferenceSystem())
    return layer


def file_layer(path, driver="GPKG", kind=QgsWkbTypes.Type.MultiPolygon, crs=UTM, fields=None):
    """Return an empty layer in a new file, with the fields of a layer made by the dock by default."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = driver
    options.layerName = "objects"
    fields = new_output_fields() if fields is None else fields
    writer = QgsVectorFileWriter.create(
        str(path),
        fields if isinstance(fields, QgsFields) else _fields(fields),
        kind,
        QgsCoordinateReferenceSystem(crs),
        QgsCoordinateTransformContext(),
        options,
    )
    assert writer.hasError() == QgsVectorFileWriter.WriterError.NoError, writer.errorMessage()
    del writer
    layer = QgsVectorLayer(str(path), "objects", "ogr")
    assert layer.isValid()
    return layer


def strict_layer(path, *definitions, kind=ogr.wkbMultiPolygon, srs=UTM):
    """Return an empty layer in a new GeoPackage whose fields have constraints of their own.

    Args:
        path: Of the file.
        definitions: (name, OGR type, what to call on the definition: value) each.
        kind: OGR type of the geometry.
        srs: Its CRS.
    """
    reference = osr.SpatialReference()
    reference.SetFromUserInput(srs)
    source = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = source.CreateLayer("objects", reference, kind)
    for name, field_type, calls in definitions:
        definition = ogr.FieldDefn(name, field_type)
        for method, value in calls.items():
            getattr(definition, method)(value)
        assert layer.CreateField(definition) == 0
    del layer, source
    opened = QgsVectorLayer(str(path), "objects", "ogr")
    assert opened.isValid()
    return opened


def _fields(items):
    fields = QgsFields()
    for field in items:
        fields.append(field)
    return fields


def rows(layer):
    """Return the features of a layer as dictionaries, geometries under ``geometry``, NULL as None."""
    names = [field.name() for field in layer.fields()]
    found = []
    for feature in layer.getFeatures():
        values = [None if _is_null(value) else value for value in feature.attributes()]
        row = {**dict(zip(names, values)), "geometry": QgsGeometry(feature.geometry())}
        found.append({**row, "id": feature.id()})
    return found


def _is_null(value):
    return value is None or (hasattr(value, "isNull") and value.isNull())

# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a new layer for objects: in a GeoPackage, beside the raster by default.

Never overwrites anything: into a GeoPackage that is there goes one more layer.
"""

from __future__ import annotations

from pathlib import Path

from osgeo import ogr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.errors import OutputError
from geo_sam2.segmentation.class_list import ClassList
from geo_sam2.segmentation.class_renderer import MADE_BY_DOCK, class_renderer
from geo_sam2.segmentation.output_fields import new_output_fields
from geo_sam2.store_sqlite import can_write

SUFFIX = ".gpkg"
_LAYER = "objects"


def default_output_path(raster: str, fallback: Path) -> Path:
    """Return where a new layer goes by default: ``<raster stem>_objects.gpkg``; it may exist.

    Args:
        raster: What GDAL opens: a file, or a name such as ``/vsizip/…``.
        fallback: A folder for rasters that are no files or lie where nothing can be written.
    """
    path = Path(raster) if raster else None
    try:
        is_file = path is not None and path.is_file()
    except (OSError, ValueError):  # names that no file can have
        is_file = False
    if path is not None and is_file and can_write(path.parent):
        return path.parent.absolute() / f"{path.stem}_{_LAYER}{SUFFIX}"
    stem = Path(raster.rstrip("/\\").replace("\\", "/").rpartition("/")[2].partition("?")[0]).stem
    safe = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in stem)[:100].strip(
        " ."
    )
    return fallback / f"{safe + '_' if safe else ''}{_LAYER}{SUFFIX}"


def create_output(
    path: Path, crs: QgsCoordinateReferenceSystem, classes: ClassList, layer_name: str = _LAYER
) -> QgsVectorLayer:
    """Make a layer with all fields, coloured by class, and return it; it is in no project yet.

    Args:
        path: A GeoPackage that is there or not; the suffix is added where it is missing.
        crs: Of the layer: that of the feature store, so that nothing has to be moved.
        classes: For the colours.
        layer_name: In the GeoPackage; numbered where it is taken.

    Raises:
        OutputError: It cannot be made; what was there before is untouched.
    """
    if path.suffix.lower() != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
    is_new = not path.exists()
    taken = set() if is_new else _layer_names(path)
    name = _free_name(layer_name, taken)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(path, error.strerror or str(error)) from error
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = name
    actions = QgsVectorFileWriter.ActionOnExistingFile
    options.actionOnExistingFile = actions.CreateOrOverwriteFile if is_new else actions.CreateOrOverwriteLayer
    writer = QgsVectorFileWriter.create(
        str(path),
        new_output_fields(),
        QgsWkbTypes.Type.MultiPolygon,
        crs,
        QgsCoordinateTransformContext(),
        options,
    )
    has_failed = writer.hasError() != QgsVectorFileWriter.WriterError.NoError
    reason = writer.errorMessage()
    del writer  # closes the file
    layer = None if has_failed else _opened(path, name, crs)
    if layer is None:
        if is_new:
            path.unlink(missing_ok=True)
        raise _cannot(
            path, reason or QCoreApplication.translate("OutputCreation", "the new layer cannot be opened")
        )
    layer.setRenderer(class_renderer(classes))
    layer.setCustomProperty(MADE_BY_DOCK, True)
    return layer


def _opened(path: Path, name: str, crs: QgsCoordinateReferenceSystem) -> QgsVectorLayer | None:
    options = QgsVectorLayer.LayerOptions()
    # Without a CRS there is nothing to ask the user about: the raster has none either.
    options.skipCrsValidation = True
    title = path.stem if name == _LAYER else f"{path.stem} {name}"
    layer = QgsVectorLayer(f"{path}|layername={name}", title, "ogr", options)
    if not layer.isValid():
        return None
    if not crs.isValid():
        layer.setCrs(QgsCoordinateReferenceSystem())
    return layer


def _layer_names(path: Path) -> set[str]:
    """Return the names of the tables of a GeoPackage.

    Raises:
        OutputError: It is none.
    """
    if not path.is_file():
        raise _cannot(path, QCoreApplication.translate("OutputCreation", "there is a folder of that name"))
    try:
        source = ogr.GetDriverByName("GPKG").Open(str(path), 0)
    except RuntimeError:  # with GDAL's exceptions on
        source = None
    if source is None:
        raise _cannot(
            path, QCoreApplication.translate("OutputCreation", "the file that is there is no GeoPackage")
        )
    # Tables of attributes and of other kinds too: a layer may have the name of none of them.
    tables = source.ExecuteSQL("SELECT name FROM sqlite_master")
    names = {row.GetField(0).lower() for row in tables}
    source.ReleaseResultSet(tables)
    return names


def _free_name(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name.lower() in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _cannot(path: Path, reason: str) -> OutputError:
    return OutputError(
        QCoreApplication.translate(
            "OutputCreation", "The output layer {path} cannot be made: {reason}."
        ).format(path=path, reason=reason.rstrip(".")),
        QCoreApplication.translate(
            "OutputCreation", "Choose another file, in a folder that can be written to."
        ),
    )

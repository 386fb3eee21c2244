# SPDX-License-Identifier: GPL-3.0-or-later
"""Rasters made for tests: of any type, placed in any way."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from osgeo import gdal, gdal_array, osr


def crs_of(epsg):
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(epsg)
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return srs


def make_raster(
    path, values, *, geotransform=None, epsg=None, gcps=(), rpc=None, nodata=None, options=(), finish=None
):
    """Write a GeoTIFF and return its path as text.

    Args:
        path: Where to.
        values: (rows, columns) or (bands, rows, columns) of the wanted type.
        geotransform: Six terms; None for none.
        epsg: CRS of the geotransform or of the GCPs.
        gcps: (x, y, column, row) each.
        rpc: Metadata of the RPC domain.
        nodata: One value for all bands, or one per band.
        options: Of the driver.
        finish: Called with the dataset before it is closed.
    """
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    bands, rows, columns = values.shape
    data_type = gdal_array.NumericTypeCodeToGDALTypeCode(values.dtype.type)
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), columns, rows, bands, data_type, list(options))
    if geotransform is not None:
        dataset.SetGeoTransform(geotransform)
    if gcps:
        points = [gdal.GCP(x, y, 0, column, row) for x, y, column, row in gcps]
        dataset.SetGCPs(points, crs_of(epsg).ExportToWkt())
    elif epsg is not None:
        dataset.SetSpatialRef(crs_of(epsg))
    if rpc:
        dataset.SetMetadata(rpc, "RPC")
    for number, band_values in enumerate(values, start=1):
        band = dataset.GetRasterBand(number)
        band.WriteArray(band_values)
        if nodata is not None:
            band.SetNoDataValue(nodata[number - 1] if isinstance(nodata, (tuple, list)) else nodata)
    if finish is not None:
        finish(dataset)
    return str(path)


def positions(width, height):
    """Return float32 (2, height, width): where each pixel's centre is, column and row."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    return np.stack([columns, rows])


@contextmanager
def gdal_exceptions(are_on):
    """Let GDAL raise or not, as another plugin may have decided for the whole process."""
    were_on = gdal.GetUseExceptions(), osr.GetUseExceptions()
    _switch(gdal, are_on)
    _switch(osr, are_on)
    try:
        yield
    finally:
        _switch(osr, were_on[1])
        _switch(gdal, were_on[0])


def _switch(module, is_on):
    if bool(module.GetUseExceptions()) != bool(is_on):
        module.UseExceptions() if is_on else module.DontUseExceptions()

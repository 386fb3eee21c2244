# SPDX-License-Identifier: GPL-3.0-or-later
"""The encoding grid of a raster: its own, or that of a warped VRT.

The raster's own grid serves whenever an affine geotransform says where pixels lie, however it
is rotated. A warped VRT serves where a CRS or a resolution is asked for, and where GCPs or RPCs
place the raster: then on the grid of GDAL's auto-warped VRT, which is the one QGIS draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from osgeo import gdal

from geo_sam2.encoder.crs import crs_texts, full_turn, read_crs
from geo_sam2.encoder.extent_outline import bounds_of, rectangle_outline, unwrapped
from geo_sam2.encoder.gdal_calls import ask
from geo_sam2.encoder.tiling import MAX_TILES, Tiling
from geo_sam2.errors import RasterReadError
from geo_sam2.grid import UNGEOREFERENCED, PixelGrid

# What QGIS allows itself in qgsgdalprovider.cpp for the grid of an auto-warped VRT.
_QGIS_ERROR_PX = 0.2
# What is read lies closer than that: GDAL interpolates between exact points within this.
_ERROR_PX = 0.02


def native_grid(dataset: Any) -> PixelGrid:
    """Return the grid of a dataset as its geotransform says, or where QGIS draws it without one."""
    geotransform = dataset.GetGeoTransform(can_return_null=True)
    wkt, authid = crs_texts(dataset.GetSpatialRef())
    place = UNGEOREFERENCED if geotransform is None else tuple(geotransform)
    return PixelGrid(dataset.RasterXSize, dataset.RasterYSize, place, wkt, authid)  # type: ignore[arg-type]


def place(
    dataset: Any,
    target_crs: str = "",
    resolution: float | Sequence[float] | None = None,
    factor: int = 1,
) -> tuple[Any, PixelGrid]:
    """Return the dataset to read from and its grid.

    Args:
        dataset: ``gdal.Dataset`` of values and perhaps alpha; kept alive by the result.
        target_crs: WKT or name; empty for the raster's own.
        resolution: Side of a pixel, or (along x, along y), in units of the target CRS; None
            for one like the raster's own.
        factor: How many times the sides of the raster's own pixels a pixel's sides are; takes the
            place of a resolution.

    Raises:
        RasterReadError: The raster has no place that could be changed, or the grid asked for is
            absurd.
        GridError: The target is no CRS.
    """
    target = read_crs(target_crs) if target_crs else None
    sides = None if resolution is None else _sides(resolution)
    is_by_points = _is_placed_by_points(dataset)
    if target is None and sides is None and factor == 1 and not is_by_points:
        return dataset, native_grid(dataset)
    source = _source_crs(dataset, is_by_points)
    if source is None and (target is not None or sides is not None or factor != 1):
        wish = "a target CRS" if target is not None else "a target resolution"
        raise RasterReadError(
            f"The raster has no coordinate reference system, so {wish} means nothing for it.",
            "Set the raster's CRS first (Raster, Projections, Assign projection), or leave it out.",
        )
    crs = target if target is not None else source
    own = _grid_across_the_antimeridian(dataset, target, full_turn(crs)) or _suggested_grid(dataset, target)
    wkt, authid = crs_texts(crs)  # GDAL's suggestion leaves it out for RPCs
    own = replace(own, crs_wkt=wkt, crs_authid=authid)
    if sides is None and factor != 1:
        x_side, y_side = (own if target is not None or is_by_points else native_grid(dataset)).pixel_size()
        sides = factor * x_side, factor * y_side
    if sides is None:
        # GCPs and RPCs alone: no mixing is asked for beyond what the new grid needs.
        return _warped(dataset, own, target, "bilinear"), _checked(own)
    grid = _checked(_resized(own, sides))
    # Averaging sees every source pixel; where pixels grow finer, there is nothing to average.
    is_coarser = max(sides[0] / own.geotransform[1], sides[1] / -own.geotransform[5]) > 1 + 1e-6
    return _warped(dataset, grid, target, "average" if is_coarser else "bilinear"), grid


def _is_placed_by_points(dataset: Any) -> bool:
    """Say whether GCPs or RPCs place the raster, by GDAL's order: a geotransform comes first."""
    if not dataset.GetGCPCount() and not dataset.GetMetadata("RPC"):
        return False
    geotransform = dataset.GetGeoTransform(can_return_null=True)
    if geotransform is None:
        return True
    # What GDALCreateGenImgProjTransformer2 takes for no geotransform.
    return tuple(geotransform[:5]) == (0, 1, 0, 0, 0) and abs(geotransform[5]) == 1


def _source_crs(dataset: Any, is_by_points: bool) -> Any:
    if not is_by_points:
        if dataset.GetSpatialRef() is None and dataset.GetMetadata("GEOLOCATION").get("SRS"):
            return read_crs(dataset.GetMetadata("GEOLOCATION")["SRS"])
        return dataset.GetSpatialRef()
    if dataset.GetGCPCount():
        return dataset.GetGCPSpatialRef()
    return read_crs("EPSG:4326")  # RPCs are in WGS 84 by their definition


def _sides(resolution: float | Sequence[float]) -> tuple[float, float]:
    sides = tuple(resolution) if isinstance(resolution, Sequence) else (resolution, resolution)
    if len(sides) != 2 or not all(math.isfinite(side) and side > 0 for side in sides):
        raise RasterReadError(
            f"A target resolution of {resolution} is impossible.",
            "Give a number above 0, in units of the target CRS, or leave it out.",
        )
    return float(sides[0]), float(sides[1])


def _suggested_grid(dataset: Any, target: Any) -> PixelGrid:
    """Return the grid that GDAL, and so QGIS, would give the raster north-up in a CRS."""
    wkt = target.ExportToWkt() if target is not None else None
    warped, message = ask(
        gdal.AutoCreateWarpedVRT, dataset, None, wkt, gdal.GRA_NearestNeighbour, _QGIS_ERROR_PX
    )
    if warped is None or warped.RasterXSize < 1 or warped.RasterYSize < 1:
        message = message or "there it would have no pixels"
        name = target.GetName() if target is not None else "its CRS"
        raise RasterReadError(
            f"The raster cannot be placed in {name}: {message.rstrip('.')}.",
            "Choose a CRS that covers the raster, or leave it out.",
        )
    return native_grid(warped)


def _grid_across_the_antimeridian(dataset: Any, target: Any, turn: float) -> PixelGrid | None:
    """Return a grid that runs on beyond 180°, or None where none has to.

    In a geographic CRS, a raster across the antimeridian has pixels near -180 and near 180, and
    GDAL's suggestion goes round the Earth between them. Longitudes beyond 180 mean the same to
    PROJ and to QGIS and keep the raster in one piece.
    """
    if math.isinf(turn):
        return None
    transformer, _ = ask(gdal.Transformer, dataset, None, _transform_options(target))
    if transformer is None:
        return None
    width, height = dataset.RasterXSize, dataset.RasterYSize
    outline = rectangle_outline((0.0, 0.0, float(width), float(height)))
    moved, _ = ask(transformer.TransformPoints, False, outline.tolist())
    points, are_fine = moved if moved is not None else ([], [])
    if not are_fine or not all(are_fine):
        return None
    torn = np.array(points)[:, :2]
    ring = unwrapped(torn, turn)
    # Around a pole a raster does touch all longitudes.
    if ring is None or np.abs(ring - torn).max() < turn / 2:
        return None
    x_min, y_min, x_max, y_max = bounds_of(ring)
    # GDALSuggestedWarpOutput2's rule: as many pixels along the diagonal as there were.
    side = math.hypot(x_max - x_min, y_max - y_min) / math.hypot(width, height)
    whole = PixelGrid(1, 1, (x_min, x_max - x_min, 0.0, y_max, 0.0, y_min - y_max), "", "")
    return _resized(whole, (side, side))


def _transform_options(target: Any) -> list[str]:
    return [f"DST_SRS={target.ExportToWkt()}"] if target is not None else []


def _resized(grid: PixelGrid, sides: tuple[float, float]) -> PixelGrid:
    """Return the grid over the same ground, from the same upper left corner, with other pixels."""
    x_min, y_min, x_max, y_max = grid.bounds()
    # A pixel more for a remainder that rounding alone may leave would be all but empty.
    width = math.ceil((x_max - x_min) / sides[0] - 1e-3)
    height = math.ceil((y_max - y_min) / sides[1] - 1e-3)
    if max(sides[0] / (x_max - x_min), sides[1] / (y_max - y_min)) > 2:
        raise RasterReadError(
            f"A pixel of {sides[0]:g} × {sides[1]:g} would be larger than the whole raster"
            f" ({x_max - x_min:g} × {y_max - y_min:g}).",
            "The resolution is in units of the target CRS: metres or degrees, for example.",
        )
    geotransform = (x_min, sides[0], 0.0, y_max, 0.0, -sides[1])
    return PixelGrid(max(1, width), max(1, height), geotransform, grid.crs_wkt, grid.crs_authid)


def _checked(grid: PixelGrid) -> PixelGrid:
    count = len(Tiling(grid.width, grid.height))
    if count > MAX_TILES:
        raise RasterReadError(
            f"The grid asked for has {grid.width:,} × {grid.height:,} pixels, that is {count:,} tiles;"
            f" at most {MAX_TILES:,} are possible.",
            "The resolution is in units of the target CRS (degrees or metres, for example):"
            " give a larger number, or leave it out.",
        )
    return grid


def _warped(dataset: Any, grid: PixelGrid, target: Any, resampling: str) -> Any:
    x_min, y_min, x_max, y_max = grid.bounds()
    # Overviews would make pixels depend on whether somebody has built some.
    has_alpha = (
        dataset.GetRasterBand(dataset.RasterCount).GetRasterColorInterpretation() == gdal.GCI_AlphaBand
    )
    options = ["-ovr", "NONE", "-srcalpha" if has_alpha else "-nosrcalpha"]
    warped, message = ask(
        gdal.Warp,
        "",
        dataset,
        options=options,
        format="VRT",
        dstSRS=target.ExportToWkt() if target is not None else None,
        outputBounds=(x_min, y_min, x_max, y_max),
        width=grid.width,
        height=grid.height,
        resampleAlg=resampling,
        errorThreshold=_ERROR_PX,
        # Else guessed from each block's outline, so that rotated rasters are blurred, and by
        # their edges bent, by a kernel that varies from block to block.
        warpOptions=["XSCALE=1", "YSCALE=1"] if resampling == "bilinear" else [],
        dstAlpha=True,
    )
    if warped is None:
        raise RasterReadError(
            f"The raster cannot be warped to its grid: {message.rstrip('.')}.",
            "Choose another CRS or resolution, or leave both out.",
        )
    return warped

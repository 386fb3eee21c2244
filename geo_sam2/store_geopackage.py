# SPDX-License-Identifier: GPL-3.0-or-later
"""The index as a GeoPackage: its tables and geometries, written without GDAL.

https://www.geopackage.org/spec130/: clause 1.1.2 for the tables, 2.1.3 for geometry blobs,
annex F.10 for a CRS in WKT2. No R-tree: its triggers call functions that sqlite3 lacks, and
the tile under a point is arithmetic. Ignorant of where rows come from.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import numpy as np

from geo_sam2.grid import PixelGrid
from geo_sam2.tile_window import TileWindow

_APPLICATION_ID = 0x47504B47  # "GPKG"
_USER_VERSION = 10300
# What the standard reserves for rasters on no known place.
_UNDEFINED_CARTESIAN = -1
# Beyond every code of EPSG, below GDAL's own choice for a CRS without one.
_CUSTOM_SRS_ID = 99001

_WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",'
    '0.0174532925199433,AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS["Longitude",EAST],'
    'AUTHORITY["EPSG","4326"]]'
)

_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (
    srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT,
    definition_12_063 TEXT NOT NULL DEFAULT 'undefined', epoch DOUBLE);
CREATE TABLE gpkg_contents (
    table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '',
    last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
    CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
    table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
    srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
    CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
    CONSTRAINT uk_gc_table_name UNIQUE (table_name),
    CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
    CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_extensions (
    table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL,
    scope TEXT NOT NULL, CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
CREATE TABLE tiles (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POLYGON, level INTEGER NOT NULL,
    xoff INTEGER NOT NULL, yoff INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    state TEXT NOT NULL, file TEXT NOT NULL DEFAULT '', bytes INTEGER NOT NULL DEFAULT 0,
    crc32 INTEGER NOT NULL DEFAULT 0, seconds DOUBLE NOT NULL DEFAULT 0, encoded_at DATETIME);
CREATE UNIQUE INDEX tiles_window ON tiles (level, xoff, yoff, width, height);
"""


def create_tables(connection: sqlite3.Connection, grid: PixelGrid, description: str) -> None:
    """Make an empty index in a new file.

    Args:
        connection: To a file without tables, outside a transaction.
        grid: Where the tiles will lie.
        description: For people who look at the layer's properties.
    """
    connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={_USER_VERSION}")
    connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
    connection.execute("BEGIN")
    insert_srs = "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"
    connection.executemany(
        insert_srs,
        [
            ("Undefined Cartesian SRS", -1, "NONE", -1, "undefined", "undefined Cartesian", "undefined"),
            ("Undefined geographic SRS", 0, "NONE", 0, "undefined", "undefined geographic", "undefined"),
            (
                "WGS 84 geodetic",
                4326,
                "EPSG",
                4326,
                _WGS84,
                "longitude/latitude in decimal degrees",
                "undefined",
            ),
        ],
    )
    srs_id = srs_id_of(grid)
    if srs_id > 0:
        code = _epsg_code(grid)
        row = (
            (grid.crs_authid, srs_id, "EPSG", code) if code else ("CRS of the raster", srs_id, "NONE", srs_id)
        )
        connection.execute(insert_srs, (*row, "undefined", "", grid.crs_wkt))
    connection.execute(
        "INSERT INTO gpkg_contents"
        " (table_name, data_type, identifier, description, min_x, min_y, max_x, max_y, srs_id)"
        " VALUES ('tiles', 'features', 'tiles', ?, ?, ?, ?, ?, ?)",
        (description, *grid.bounds(), srs_id),
    )
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES ('tiles', 'geom', 'POLYGON', ?, 0, 0)", (srs_id,)
    )
    connection.executemany(
        "INSERT INTO gpkg_extensions VALUES ('gpkg_spatial_ref_sys', ?, 'gpkg_crs_wkt_1_1',"
        " 'http://www.geopackage.org/spec/#extension_crs_wkt', 'read-write')",
        [("definition_12_063",), ("epoch",)],
    )
    connection.execute("COMMIT")


def srs_id_of(grid: PixelGrid) -> int:
    """Return the number under which the index knows the CRS of a grid."""
    if not grid.has_crs:
        return _UNDEFINED_CARTESIAN
    return _epsg_code(grid) or _CUSTOM_SRS_ID


def footprint_blob(grid: PixelGrid, window: TileWindow) -> bytes:
    """Return the geometry of a window: GeoPackage header with envelope, then WKB of a polygon."""
    ring_xy = grid.footprint(window)
    x, y = ring_xy.T
    # Outer rings run counterclockwise on the map; which way a window's corners run depends on the grid.
    east, north = x - x[0], y - y[0]
    if np.dot(east, np.roll(north, -1)) < np.dot(north, np.roll(east, -1)):
        ring_xy = ring_xy[::-1]
    ring_xy = np.vstack((ring_xy, ring_xy[:1]))
    # Magic, version 0, flags: little-endian, envelope of x and y.
    header = struct.pack("<2sBBi", b"GP", 0, 0b00000011, srs_id_of(grid))
    envelope = struct.pack("<4d", x.min(), x.max(), y.min(), y.max())
    polygon = struct.pack("<BIII", 1, 3, 1, len(ring_xy))
    return header + envelope + polygon + ring_xy.astype("<f8").tobytes()


def _epsg_code(grid: PixelGrid) -> int:
    """Return the EPSG code of a grid's CRS; 0 when it has none."""
    authority, _, code = grid.crs_authid.partition(":")
    return int(code) if authority == "EPSG" and code.isascii() and code.isdigit() and len(code) <= 8 else 0


def create_index_file(path: Path, grid: PixelGrid, description: str = "") -> None:
    """Make an empty index file; ``path`` must not exist.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        create_tables(connection, grid, description)
    finally:
        connection.close()

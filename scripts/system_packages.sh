#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Install what the Makefile needs of the system and cannot do without, where it is missing.
set -eu

python=${PYTHON:-/usr/bin/python3}
[ -x "$python" ] || python=python3
has_all() {
    for program in "$@"; do
        command -v "$program" >/dev/null || return 1
    done
}
if "$python" -c 'import ensurepip, venv, osgeo.gdal_array, qgis.core' 2>/dev/null \
    && { has_all qgis_process.bin || has_all qgis_process; } \
    && has_all Xvfb openbox xdotool import; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "QGIS, its Python modules, Python's venv module for $python, or Xvfb, openbox, xdotool or" \
        "ImageMagick are missing; install them with your system's package manager." >&2
    exit 1
fi
as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends \
    python3-venv python3-gdal python3-qgis qgis qgis-providers \
    xvfb openbox xdotool imagemagick

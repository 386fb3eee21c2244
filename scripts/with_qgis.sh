#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Run a command with the QGIS that lies unpacked in a folder instead of the system's.
#
#     scripts/with_qgis.sh build/qgis-3.40 .venv/bin/python -m pytest tests/qgis
set -eu

folder=$(cd "$1" && pwd)
shift

libraries=$(echo "$folder"/usr/lib/*-linux-gnu*)
# PulseAudio's libraries, which Qt's multimedia pulls in, know each other by an absolute path.
export LD_LIBRARY_PATH="$folder/usr/lib:$libraries:$libraries/pulseaudio${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export QGIS_PREFIX_PATH="$folder/usr"
export PATH="$folder/usr/bin:$PATH"
export PYTHONPATH="$folder/usr/lib/python3/dist-packages${PYTHONPATH:+:$PYTHONPATH}"
exec "$@"

# SPDX-License-Identifier: GPL-3.0-or-later
"""The private Python environment, the model files and the client of the engine process.

Standard library (and numpy in ``engine_client``) only: it runs inside QGIS, in a
script and in a test, with nothing else installed.
"""

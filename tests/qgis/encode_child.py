# SPDX-License-Identifier: GPL-3.0-or-later
"""A QGIS without a desktop that runs ``geo_sam2:encode`` once, to be killed by a test.

``python -m tests.qgis.encode_child RASTER OUTPUT JOURNAL SECONDS BATCH_SIZE``
"""

from __future__ import annotations

import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback

from geo_sam2.encoder.encode_algorithm import EncodeAlgorithm
from tests.qgis.engines import fake_engine_command, session_of


def main(raster, output, journal, seconds, batch_size):
    """Run the algorithm with a fake engine; 0 if it went well."""
    application = QgsApplication([], False)
    application.initQgis()
    command = fake_engine_command(journal=journal, seconds=seconds)
    with session_of(command, Path(journal).with_suffix(".log")):
        parameters = {"INPUT": raster, "MODEL": "demo", "OUTPUT": output, "BATCH_SIZE": int(batch_size)}
        feedback = QgsProcessingFeedback(False)
        _, is_ok = EncodeAlgorithm().run(parameters, QgsProcessingContext(), feedback)
    return 0 if is_ok else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

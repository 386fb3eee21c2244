# SPDX-License-Identifier: GPL-3.0-or-later
"""A QGIS without a desktop that accepts objects into layers, to be killed by a test.

``python -m tests.qgis.output_child HOME OBJECTS LAYER…``: prints ``ready`` when all are accepted, and
waits for its end. The objects go to the layers in turn; the last one of each is undone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsVectorLayer

from geo_sam2.segmentation.output_layers import OutputLayers
from tests.qgis.outputs import saved, square


def main(home, count, *paths):
    """Accept objects until killed."""
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    layers = [QgsVectorLayer(path, Path(path).stem, "ogr") for path in paths]
    project.addMapLayers(layers)
    outputs = OutputLayers(project, Path(home))
    for number in range(int(count)):
        output = outputs.of(layers[number % len(layers)])
        output.save(
            saved(
                square(500000 + 20 * number + 0.1, 4000000.3),
                prompts=f'{{"number":{number}}}',
                created=f"2026-11-22T12:00:{number:02d}.000Z",
            )
        )
    for layer in layers:
        outputs.of(layer).save(saved(square(0, 0)))
        assert outputs.of(layer).undo_last()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])

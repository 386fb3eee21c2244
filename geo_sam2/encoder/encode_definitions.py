# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters and outputs of ``geo_sam2:encode``: names, kinds, defaults and their help.

Names and enum strings are public: scripts, models and ``qgis_process`` calls hold them.
"""

from __future__ import annotations

from qgis.core import (
    QgsProcessingOutputBoolean,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputFolder,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRange,
    QgsProcessingParameterRasterLayer,
)
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.encoder.encode_request import MAX_BATCH_SIZE
from geo_sam2.runtime import model_catalogue

INPUT, BANDS, EXTENT, CRS, RESOLUTION, RANGE = "INPUT", "BANDS", "EXTENT", "CRS", "RESOLUTION", "RANGE"
MODEL, CHECKPOINT, DEVICE, PRECISION = "MODEL", "CHECKPOINT", "DEVICE", "PRECISION"
BATCH_SIZE, OVERWRITE, LOAD, OUTPUT = "BATCH_SIZE", "OVERWRITE", "LOAD", "OUTPUT"

TILES, TILES_ENCODED, TILES_EMPTY = "TILES", "TILES_ENCODED", "TILES_EMPTY"
TILES_FAILED, TILES_LEFT, IS_PARTIAL, SECONDS = "TILES_FAILED", "TILES_LEFT", "IS_PARTIAL", "SECONDS"

MODELS = [model_catalogue.DEMO_ID, *(model.id for model in model_catalogue.OFFICIAL)]
DEVICES = ["auto", "cpu", "mps", "cuda", *(f"cuda:{index}" for index in range(8))]
PRECISIONS = ["auto", "fp32", "bf16", "fp16"]

translate = QCoreApplication.translate
_Number = QgsProcessingParameterNumber.Type


def _advanced(
    parameter: QgsProcessingParameterDefinition, help_text: str
) -> QgsProcessingParameterDefinition:
    parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return _helped(parameter, help_text)


def _helped(parameter: QgsProcessingParameterDefinition, help_text: str) -> QgsProcessingParameterDefinition:
    parameter.setHelp(help_text)
    return parameter


def _choice(name: str, description: str, options: list[str], default: str) -> QgsProcessingParameterEnum:
    return QgsProcessingParameterEnum(
        name, description, options=options, defaultValue=default, usesStaticStrings=True
    )


def parameters(default_model: str) -> list[QgsProcessingParameterDefinition]:
    """Return new definitions in the order in which they are shown; the algorithm takes them over.

    Args:
        default_model: What MODEL is where nobody says otherwise.
    """
    return [*_raster_parameters(), *_model_parameters(default_model), *_store_parameters()]


def _raster_parameters() -> list[QgsProcessingParameterDefinition]:
    return [
        _helped(
            QgsProcessingParameterRasterLayer(INPUT, translate("EncodeAlgorithm", "Raster")),
            translate(
                "EncodeAlgorithm", "Any raster that GDAL opens; layers of web services cannot be used."
            ),
        ),
        _helped(
            QgsProcessingParameterBand(
                BANDS,
                translate("EncodeAlgorithm", "Bands, up to three"),
                parentLayerParameterName=INPUT,
                optional=True,
                allowMultiple=True,
            ),
            translate(
                "EncodeAlgorithm",
                "One to three bands in the order red, green, blue. Without a choice: those of the store if"
                " it exists, else those that the layer shows.",
            ),
        ),
        _helped(
            QgsProcessingParameterExtent(EXTENT, translate("EncodeAlgorithm", "Extent"), optional=True),
            translate(
                "EncodeAlgorithm",
                "Selects the tiles that it touches, in any CRS; tiles always lie on the grid of the whole"
                " raster. Without it all of the raster is encoded.",
            ),
        ),
        _advanced(
            QgsProcessingParameterCrs(CRS, translate("EncodeAlgorithm", "Target CRS"), optional=True),
            translate("EncodeAlgorithm", "Encode the raster warped to this CRS."),
        ),
        _advanced(
            QgsProcessingParameterNumber(
                RESOLUTION,
                translate("EncodeAlgorithm", "Target resolution"),
                type=_Number.Double,
                optional=True,
            ),
            translate(
                "EncodeAlgorithm",
                "Side of a pixel in units of the target CRS, else of the raster's CRS. A coarser one makes"
                " large objects fit one tile.",
            ),
        ),
        _advanced(
            QgsProcessingParameterRange(
                RANGE, translate("EncodeAlgorithm", "Range of values"), type=_Number.Double, optional=True
            ),
            translate(
                "EncodeAlgorithm",
                "Values that become black and white. Without it: those of the store if it exists, else 8-bit"
                " values stay as they are and others are stretched between 2 and 98 % of the valid pixels.",
            ),
        ),
    ]


def _model_parameters(default_model: str) -> list[QgsProcessingParameterDefinition]:
    return [
        _helped(
            _choice(MODEL, translate("EncodeAlgorithm", "Model"), MODELS, default_model),
            translate(
                "EncodeAlgorithm",
                "tiny, small, base_plus and large are the official SAM 2.1 models; demo comes with the plugin"
                " and is for trying out only. Scripts give the name: MODEL=tiny.",
            ),
        ),
        _advanced(
            QgsProcessingParameterFile(
                CHECKPOINT,
                translate("EncodeAlgorithm", "Model file"),
                optional=True,
                fileFilter="SAM 2 (*.pt *.pth *.safetensors);;* (*)",
            ),
            translate(
                "EncodeAlgorithm",
                "A file of SAM 2 weights, for example fine-tuned ones, in place of those of the model. If a"
                " model other than demo is chosen as well, the file must be of that variant.",
            ),
        ),
        _advanced(
            _choice(DEVICE, translate("EncodeAlgorithm", "Device"), DEVICES, "auto"),
            translate(
                "EncodeAlgorithm", "auto: an NVIDIA card, else an Apple GPU, else the processor. By name."
            ),
        ),
        _advanced(
            _choice(PRECISION, translate("EncodeAlgorithm", "Precision"), PRECISIONS, "auto"),
            translate(
                "EncodeAlgorithm",
                "auto: 16 bits where the device is fast with them and the masks stay the same, else fp32."
                " By name.",
            ),
        ),
        _advanced(
            QgsProcessingParameterNumber(
                BATCH_SIZE,
                translate("EncodeAlgorithm", "Tiles at once"),
                type=_Number.Integer,
                defaultValue=1,
                minValue=1,
                maxValue=MAX_BATCH_SIZE,
            ),
            translate("EncodeAlgorithm", "More than 1 makes only graphics cards faster, and takes memory."),
        ),
    ]


def _store_parameters() -> list[QgsProcessingParameterDefinition]:
    return [
        _helped(
            # No destination: QGIS would call an empty one “[Skip output]”, which it is not, and offer
            # a temporary folder.
            QgsProcessingParameterFile(
                OUTPUT,
                translate("EncodeAlgorithm", "Feature store, if not beside the raster"),
                behavior=QgsProcessingParameterFile.Behavior.Folder,
                optional=True,
            ),
            translate(
                "EncodeAlgorithm",
                "A folder, new or a store already. Empty: beside the raster if that can be written, else in"
                " the stores folder of the settings. A temporary one is refused: hours of work would vanish"
                " with it.",
            ),
        ),
        _helped(
            QgsProcessingParameterBoolean(
                LOAD, translate("EncodeAlgorithm", "Show the store afterwards"), defaultValue=True
            ),
            translate(
                "EncodeAlgorithm", "Adds the index of its tiles to the map; without a desktop no effect."
            ),
        ),
        _advanced(
            QgsProcessingParameterBoolean(
                OVERWRITE, translate("EncodeAlgorithm", "Make an existing store anew"), defaultValue=False
            ),
            translate(
                "EncodeAlgorithm",
                "Without it an existing store is completed. With it the old one stays until the new is done.",
            ),
        ),
    ]


def outputs() -> list[QgsProcessingOutputDefinition]:
    """Return new definitions of the outputs."""
    return [
        QgsProcessingOutputFolder(OUTPUT, translate("EncodeAlgorithm", "Feature store")),
        QgsProcessingOutputNumber(TILES, translate("EncodeAlgorithm", "Tiles asked for")),
        QgsProcessingOutputNumber(TILES_ENCODED, translate("EncodeAlgorithm", "Tiles encoded now")),
        QgsProcessingOutputNumber(TILES_EMPTY, translate("EncodeAlgorithm", "Tiles without valid pixels")),
        QgsProcessingOutputNumber(TILES_FAILED, translate("EncodeAlgorithm", "Tiles that failed")),
        QgsProcessingOutputNumber(TILES_LEFT, translate("EncodeAlgorithm", "Tiles still to do")),
        QgsProcessingOutputBoolean(IS_PARTIAL, translate("EncodeAlgorithm", "Store is partial")),
        QgsProcessingOutputNumber(SECONDS, translate("EncodeAlgorithm", "Duration in seconds")),
    ]


HELP = translate(
    "EncodeAlgorithm",
    "Runs the image encoder of SAM 2 once over 1024 × 1024 tiles of a raster and keeps the features in a"
    " folder, the feature store. From then on a click, a box or a layer of prompts becomes polygons in"
    " milliseconds, on any machine, without the encoder.\n\n"
    "This is the slow half: from less than a tenth of a second a tile on a graphics card to some seconds on"
    " a processor, and 8.4 MB of disk a tile. It can be cancelled at any time; the store is usable from its"
    " first tile on, and the same run again encodes only what is missing.\n\n"
    "The encoder runs in a process of its own on a private Python environment, which has to be installed"
    " once. Where it is missing, a run ends at once and says what to type where.",
)

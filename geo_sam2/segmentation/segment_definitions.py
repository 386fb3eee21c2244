# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters and outputs of ``geo_sam2:segment_prompts``: names, kinds, defaults and their help.

Names and enum strings are public: scripts, models and ``qgis_process`` calls hold them.
"""

from __future__ import annotations

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.segmentation.prompts import MASK_CHOICES

FEATURES, PROMPTS, LABEL, OBJECT = "FEATURES", "PROMPTS", "LABEL", "OBJECT"
POLYGONS, MASK = "POLYGONS", "MASK"
THRESHOLD, OUTLINE, SIMPLIFY, MIN_AREA, OUTPUT = "THRESHOLD", "OUTLINE", "SIMPLIFY", "MIN_AREA", "OUTPUT"
OBJECT_COUNT, SKIPPED_COUNT = "OBJECT_COUNT", "SKIPPED_COUNT"

AS_BOX, AS_MASK = "box", "mask"
MASKS = list(MASK_CHOICES)
STYLES = ["smooth", "pixel"]
# Logits of SAM 2's masks stay well within this.
MAX_THRESHOLD = 32.0

translate = QCoreApplication.translate


def parameters() -> list[QgsProcessingParameterDefinition]:
    """Return new definitions in the order in which they are shown; the algorithm takes them over."""
    return [*_prompt_parameters(), *_outline_parameters()]


def _prompt_parameters() -> list[QgsProcessingParameterDefinition]:
    field = QgsProcessingParameterField
    return [
        _helped(
            QgsProcessingParameterFile(
                FEATURES,
                translate("SegmentPrompts", "Feature store"),
                behavior=QgsProcessingParameterFile.Behavior.Folder,
            ),
            translate("SegmentPrompts", "The folder that “Encode raster” made; its name ends in .geosam2."),
        ),
        _helped(
            QgsProcessingParameterFeatureSource(
                PROMPTS,
                translate("SegmentPrompts", "Prompts"),
                types=[QgsProcessing.SourceType.TypeVectorAnyGeometry],
            ),
            translate(
                "SegmentPrompts",
                "Points, lines or polygons in any CRS. A point is a click, a multi-point several clicks on"
                " one object. A line becomes clicks along it: one in every 128 pixels, three at least. A"
                " polygon becomes the box that encloses it along the axes of the raster, or a mask to"
                " refine.",
            ),
        ),
        _helped(
            field(
                LABEL,
                translate("SegmentPrompts", "Label field"),
                parentLayerParameterName=PROMPTS,
                optional=True,
            ),
            translate(
                "SegmentPrompts",
                "1: the prompt lies on its object. 0: it lies beside it; for points and lines only. Without a"
                " field all are 1.",
            ),
        ),
        _helped(
            field(
                OBJECT,
                translate("SegmentPrompts", "Object field"),
                parentLayerParameterName=PROMPTS,
                optional=True,
            ),
            translate(
                "SegmentPrompts",
                "Features with the same value are prompts of one object. Without a field, or where it is"
                " NULL, each feature is an object.",
            ),
        ),
        _helped(
            QgsProcessingParameterEnum(
                POLYGONS,
                translate("SegmentPrompts", "Use of polygons"),
                options=[AS_BOX, AS_MASK],
                defaultValue=AS_BOX,
                usesStaticStrings=True,
            ),
            translate(
                "SegmentPrompts",
                "box: only the extent of a polygon counts. mask: its shape, with holes and all parts, is a"
                " rough mask that the model refines; clicks of the same object correct it. For outlines that"
                " are coarse or out of date.",
            ),
        ),
        _helped(
            QgsProcessingParameterEnum(
                MASK,
                translate("SegmentPrompts", "Mask of a click"),
                options=MASKS,
                defaultValue="best",
                usesStaticStrings=True,
            ),
            translate(
                "SegmentPrompts",
                "A click may mean a part, an object or the whole that it belongs to. best: what the model is"
                " most sure of. With several clicks the first one makes the choice and the others correct it;"
                " a box leaves no choice.",
            ),
        ),
    ]


def _outline_parameters() -> list[QgsProcessingParameterDefinition]:
    real = QgsProcessingParameterNumber.Type.Double
    return [
        _helped(
            QgsProcessingParameterEnum(
                OUTLINE,
                translate("SegmentPrompts", "Outline"),
                options=STYLES,
                defaultValue="smooth",
                usesStaticStrings=True,
            ),
            translate(
                "SegmentPrompts",
                "smooth follows the mask below the size of a pixel, pixel follows the edges of pixels.",
            ),
        ),
        _helped(
            QgsProcessingParameterNumber(
                SIMPLIFY,
                translate("SegmentPrompts", "Simplify by up to (pixels)"),
                type=real,
                defaultValue=0.0,
                minValue=0.0,
            ),
            translate(
                "SegmentPrompts",
                "How far, in pixels of the raster, a smooth outline may move to have fewer vertices; 0 keeps"
                " all.",
            ),
        ),
        _helped(
            QgsProcessingParameterNumber(
                MIN_AREA,
                translate("SegmentPrompts", "Minimum area of a part (square pixels)"),
                type=real,
                defaultValue=0.0,
                minValue=0.0,
            ),
            translate("SegmentPrompts", "Parts of an object with less area are dropped; 0 keeps all."),
        ),
        _advanced(
            QgsProcessingParameterNumber(
                THRESHOLD,
                translate("SegmentPrompts", "Mask threshold"),
                type=real,
                defaultValue=0.0,
                minValue=-MAX_THRESHOLD,
                maxValue=MAX_THRESHOLD,
            ),
            translate(
                "SegmentPrompts",
                "Logit above which a pixel belongs to the object; higher makes objects smaller. SAM 2's is"
                " 0.",
            ),
        ),
        QgsProcessingParameterFeatureSink(
            OUTPUT, translate("SegmentPrompts", "Polygons"), QgsProcessing.SourceType.TypeVectorPolygon
        ),
    ]


def outputs() -> list[QgsProcessingOutputDefinition]:
    """Return new definitions of the outputs beside the polygons, which OUTPUT brings along."""
    return [
        QgsProcessingOutputNumber(OBJECT_COUNT, translate("SegmentPrompts", "Objects found")),
        QgsProcessingOutputNumber(SKIPPED_COUNT, translate("SegmentPrompts", "Prompts without effect")),
    ]


def _helped(parameter: QgsProcessingParameterDefinition, help_text: str) -> QgsProcessingParameterDefinition:
    parameter.setHelp(help_text)
    return parameter


def _advanced(
    parameter: QgsProcessingParameterDefinition, help_text: str
) -> QgsProcessingParameterDefinition:
    parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return _helped(parameter, help_text)


HELP = translate(
    "SegmentPrompts",
    "Turns a layer of prompts into polygons, by the features that “Encode raster” has stored; neither the"
    " raster nor the model's file is needed any more.\n\n"
    "Each object becomes one multi-polygon in the CRS of the store, with: object_id; score, the IoU that"
    " the model predicts; stability, how little the mask changes with the threshold; area_m2 and"
    " perimeter_m on the ellipsoid, NULL without CRS; area_px; model; the numbers of clicks on the object"
    " (foreground), beside it (background) and of boxes, those of masks among them; truncated, true where"
    " the object reaches the edge of the tiles that its prompts lie in or of what is encoded, and may go on"
    " beyond; and the fields of the prompts. Where several prompts make an object, it gets the values that"
    " they have in common.\n\n"
    "An object with prompts in several tiles is decoded on each and joined. Prompts outside the store, in"
    " tiles that are not encoded, without geometry or with a bad label are named by their ids in the log,"
    " and the rest goes on.",
)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bands of a raster layer a person sees; what they see is what they want segmented."""

from __future__ import annotations

from qgis.core import (
    QgsHillshadeRenderer,
    QgsMultiBandColorRenderer,
    QgsPalettedRasterRenderer,
    QgsRasterContourRenderer,
    QgsRasterLayer,
    QgsSingleBandGrayRenderer,
    QgsSingleBandPseudoColorRenderer,
)


def shown_bands(layer: QgsRasterLayer) -> tuple[int, ...] | None:
    """Return the 1-based bands that the layer's renderer shows, in the order red, green, blue.

    Returns:
        One to three bands; None where the renderer does not say.
    """
    renderer = layer.renderer()
    if isinstance(renderer, QgsMultiBandColorRenderer):
        bands = [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]
    elif isinstance(renderer, QgsSingleBandGrayRenderer):
        bands = [renderer.grayBand()]
    elif isinstance(
        renderer, (QgsSingleBandPseudoColorRenderer, QgsPalettedRasterRenderer, QgsHillshadeRenderer)
    ):
        bands = [renderer.band()]
    elif isinstance(renderer, QgsRasterContourRenderer):
        bands = [renderer.inputBand()]
    else:
        return None
    there = [band for band in bands if 1 <= band <= layer.bandCount()]  # -1 where a colour is unset
    if len(set(there)) == 1:
        return (there[0],)  # the same band three times is how it is shown in grey
    return tuple(there) or None

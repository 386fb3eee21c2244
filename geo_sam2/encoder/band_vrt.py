# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual raster of just the values to encode and one band that says where they are valid.

Nodata of each band, alpha bands, mask bands and transparent palette entries become one alpha
band (255 valid, 0 not), and palettes become red, green and blue, before anything is warped or
averaged: GDAL's warper then mixes valid pixels only. What is invalid is so for all bands, as
QGIS draws it. NaN and infinite values are left to who reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from osgeo import gdal

from geo_sam2.encoder.band_choice import alpha_band, has_palette
from geo_sam2.encoder.gdal_calls import ask
from geo_sam2.encoder.raster_open import OpenRaster
from geo_sam2.errors import RasterReadError

# Lookup tables: a pixel is valid when it is at least half opaque. Lossy formats blur their masks.
_LUT_8_BIT = "127:0,128:{valid}"
_LUT_16_BIT = "32767:0,32768:{valid}"
# Before GDAL 3.7 signed bytes are bytes with a remark that virtual rasters lose.
_LUT_SIGNED = "0:0,127:127,128:-128,255:-1"
_PRODUCT = ("subclass=VRTDerivedRasterBand", "PixelFunctionType=mul", "SourceTransferType=Byte")


@dataclass(frozen=True)
class BandVrt:
    """What is read in place of the raster.

    Attributes:
        dataset: ``gdal.Dataset``: the values' bands, then, where pixels can be invalid, alpha.
        value_count: Bands of values: as many as were chosen, or three of a palette.
        nodata_rule: Which pixels are invalid, in words that a store keeps and compares.
    """

    dataset: Any
    value_count: int
    nodata_rule: str

    @property
    def has_alpha(self) -> bool:
        """Whether the last band says which pixels are valid."""
        return bool(self.dataset.RasterCount > self.value_count)


@dataclass(frozen=True)
class _Validity:
    """One band that says of some pixels that they are invalid: 0 in it after its table."""

    band: str
    table: str
    component: str
    rule: str


def make_band_vrt(raster: OpenRaster, bands: Sequence[int]) -> BandVrt:
    """Make the virtual raster of the chosen bands, in the place of the original.

    Raises:
        RasterReadError: GDAL cannot make it.
    """
    source = raster.dataset
    vrt = gdal.GetDriverByName("VRT").Create("", source.RasterXSize, source.RasterYSize, 0)
    _copy_place(source, vrt)
    expands_palette = has_palette(source, bands)
    if expands_palette:
        for component in (1, 2, 3):
            colour = f"<ColorTableComponent>{component}</ColorTableComponent>"
            _add_band(vrt, gdal.GDT_Byte, [_source_xml(raster, str(bands[0]), colour)])
    else:
        for number in bands:
            band = source.GetRasterBand(number)
            if _is_signed_byte(band):
                sources = [_source_xml(raster, str(number), f"<LUT>{_LUT_SIGNED}</LUT>")]
                _add_band(vrt, gdal.GDT_Int16, sources)
            else:
                _add_band(vrt, band.DataType, [_source_xml(raster, str(number))])
    value_count = vrt.RasterCount
    validities = _validities(source, bands, expands_palette)
    if validities:
        # Their product: 1 · 1 · … · 255 where all say valid.
        tops = [1] * (len(validities) - 1) + [255]
        sources = [
            _source_xml(raster, item.band, f"{item.component}<LUT>{item.table.format(valid=top)}</LUT>")
            for item, top in zip(validities, tops)
        ]
        # GDAL refuses to multiply a single factor.
        product = _PRODUCT if len(sources) > 1 else ()
        _add_band(vrt, gdal.GDT_Byte, sources, product)
        vrt.GetRasterBand(vrt.RasterCount).SetColorInterpretation(gdal.GCI_AlphaBand)
    rules = [item.rule for item in validities]
    if any(vrt.GetRasterBand(band + 1).DataType in _FLOATING for band in range(value_count)):
        rules.append("NaN and infinite values")
    return BandVrt(vrt, value_count, "; ".join(rules) or "none")


_FLOATING = (gdal.GDT_Float32, gdal.GDT_Float64)


def _validities(source: Any, bands: Sequence[int], expands_palette: bool) -> list[_Validity]:
    """Return what can make pixels of the chosen bands invalid, each thing once."""
    found: dict[str, _Validity] = {}

    def add(band: str, table: str, rule: str, component: str = "") -> None:
        found.setdefault(band + component, _Validity(band, table, component, rule))

    alpha = alpha_band(source)
    has_dataset_mask = False
    for number in bands:
        band = source.GetRasterBand(number)
        flags = band.GetMaskFlags()
        nodata = band.GetNoDataValue()
        if _is_signed_byte(band) and nodata is not None and -128 <= nodata <= 127:
            # GDAL before 3.7 compares the unsigned value; only whole numbers meet this table.
            raw = int(nodata) % 256
            table = f"{raw - 1}:{{valid}},{raw}:0,{raw + 1}:{{valid}}"
            add(str(number), table, f"band {number} nodata {nodata:g}")
        elif flags & gdal.GMF_NODATA:
            value = "values of the dataset" if nodata is None else f"{nodata:.9g}"
            add(f"mask,{number}", _LUT_8_BIT, f"band {number} nodata {value}")
        elif flags & gdal.GMF_ALPHA:
            pass  # the alpha band itself comes below
        elif flags & gdal.GMF_PER_DATASET:
            if not has_dataset_mask:
                add(f"mask,{number}", _LUT_8_BIT, "mask band")
            has_dataset_mask = True
        elif not flags & gdal.GMF_ALL_VALID:
            add(f"mask,{number}", _LUT_8_BIT, f"mask of band {number}")
    if alpha is not None:
        is_8_bit = source.GetRasterBand(alpha).DataType == gdal.GDT_Byte
        add(str(alpha), _LUT_8_BIT if is_8_bit else _LUT_16_BIT, f"alpha band {alpha}")
    if expands_palette:
        table = source.GetRasterBand(bands[0]).GetRasterColorTable()
        if any(table.GetColorEntry(index)[3] < 128 for index in range(table.GetCount())):
            component = "<ColorTableComponent>4</ColorTableComponent>"
            add(str(bands[0]), _LUT_8_BIT, "transparent colours", component)
    return list(found.values())


def _copy_place(source: Any, vrt: Any) -> None:
    """Give the virtual raster all by which GDAL places the original."""
    geotransform = source.GetGeoTransform(can_return_null=True)
    if geotransform is not None:
        vrt.SetGeoTransform(geotransform)
    if source.GetSpatialRef() is not None:
        vrt.SetSpatialRef(source.GetSpatialRef())
    if source.GetGCPCount() > 0:
        vrt.SetGCPs(source.GetGCPs(), source.GetGCPSpatialRef())
    for domain in ("RPC", "GEOLOCATION"):
        if source.GetMetadata(domain):
            vrt.SetMetadata(source.GetMetadata(domain), domain)


def _add_band(vrt: Any, data_type: int, sources: Sequence[str], options: Sequence[str] = ()) -> None:
    vrt.AddBand(data_type, list(options))
    band = vrt.GetRasterBand(vrt.RasterCount)
    for index, source in enumerate(sources):
        # https://gdal.org/drivers/raster/vrt.html, "Creation of VRT Datasets"
        failed, message = ask(band.SetMetadataItem, f"source_{index}", source, "new_vrt_sources")
        if failed != gdal.CE_None:
            raise RasterReadError(f"The bands of the raster cannot be put together: {message}")


def _source_xml(raster: OpenRaster, band: str, more: str = "") -> str:
    kind = "ComplexSource" if more else "SimpleSource"
    # Not shared: what one thread opens, another reads, while a third may have the same file open
    # (https://gdal.org/drivers/raster/vrt.html, "Multi-threading issues").
    options = "".join(
        f"<OOI key={quoteattr(key)}>{escape(value)}</OOI>"
        for key, _, value in (option.partition("=") for option in raster.open_options)
    )
    return (
        f'<{kind}><SourceFilename relativeToVRT="0" shared="0">{escape(raster.name)}</SourceFilename>'
        f"{f'<OpenOptions>{options}</OpenOptions>' if options else ''}"
        f"<SourceBand>{band}</SourceBand>{more}</{kind}>"
    )


def _is_signed_byte(band: Any) -> bool:
    return band.DataType == gdal.GDT_Byte and (
        band.GetMetadataItem("PIXELTYPE", "IMAGE_STRUCTURE") == "SIGNEDBYTE"
    )

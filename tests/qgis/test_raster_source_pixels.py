# SPDX-License-Identifier: GPL-3.0-or-later
"""Bands, palettes, masks, nodata and types of all kinds become 0–255 and a mask of what is valid."""

from __future__ import annotations

import numpy as np
import pytest
from osgeo import gdal

from geo_sam2.encoder.raster_source import GdalRasterSource, RasterRequest
from geo_sam2.encoder.stretch import Stretch
from geo_sam2.encoder.tiling import Tiling
from geo_sam2.errors import RasterReadError, StretchError, WindowError
from geo_sam2.tile_window import TileWindow
from tests.qgis.rasters import gdal_exceptions, make_raster

PLACE = {"geotransform": (528000.0, 0.5, 0.0, 4978000.0, 0.0, -0.5), "epsg": 32612}
ROWS, COLUMNS = 60, 80
RANDOM = np.random.default_rng(11)
BYTES = RANDOM.integers(1, 255, (4, ROWS, COLUMNS), dtype=np.uint8)
# What is to be invalid in most tests here: a strip and a speck.
HOLES = np.zeros((ROWS, COLUMNS), dtype=bool)
HOLES[:, :9] = True
HOLES[30, 40] = True
ALL = TileWindow(0, 0, 0, COLUMNS, ROWS)


def read(path, window=ALL, **wish):
    with GdalRasterSource.open(RasterRequest(path, **wish)) as source:
        return source.read(window)


def read_values(path, **wish):
    with GdalRasterSource.open(RasterRequest(path, **wish)) as source:
        return source.read_values(TileWindow(0, 0, 0, source.grid.width, source.grid.height))


def info(path, **wish):
    with GdalRasterSource.open(RasterRequest(path, **wish)) as source:
        return source.info()


def filled(image_hwc, invalid):
    """Return an image whose invalid pixels have the mean of the valid ones."""
    image = image_hwc.copy()
    image[invalid] = np.rint(image_hwc[~invalid].mean(axis=0))
    return image


def image_of(bands):
    return np.stack(bands, axis=-1)


def interpret(**colours):
    """Return what to do to a new dataset: say what its bands are, as ``b2="Alpha"``."""

    def finish(dataset):
        for name, colour in colours.items():
            band = dataset.GetRasterBand(int(name[1:]))
            band.SetColorInterpretation(getattr(gdal, f"GCI_{colour}"))

    return finish


# --- bands


@pytest.mark.parametrize(
    ("count", "bands", "order"),
    [
        (1, None, (0, 0, 0)),
        (2, None, (0, 1, 0)),
        (3, None, (0, 1, 2)),
        (4, None, (0, 1, 2)),
        (4, (4,), (3, 3, 3)),
        (4, (2, 1), (1, 0, 1)),
        (4, (4, 2, 1), (3, 1, 0)),
        (4, (3, 3, 1), (2, 2, 0)),
    ],
)
def test_bands_become_red_green_blue_in_their_order(tmp_path, count, bands, order):
    path = make_raster(tmp_path / "r.tif", BYTES[:count], options=["PHOTOMETRIC=MINISBLACK", "ALPHA=NO"])
    expected = image_of([BYTES[band] for band in order])
    image = read(path, bands=bands)
    assert np.array_equal(image, expected)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


@pytest.mark.parametrize(
    ("bands", "sentence", "hint"),
    [
        ((1, 2, 3, 4), "4 bands were chosen", "one to three"),
        ((), "No band", "1 to 4"),
        ((5,), "no band 5", "1 to 4"),
        ((1, 0), "no band 0", "1 to 4"),
        ((-1,), "no band -1", "1 to 4"),
    ],
)
def test_impossible_bands_are_refused(tmp_path, bands, sentence, hint):
    path = make_raster(tmp_path / "r.tif", BYTES)
    with pytest.raises(RasterReadError, match=sentence) as caught:
        read(path, bands=bands)
    assert hint in caught.value.hint


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_refused(tmp_path, dtype):
    path = make_raster(tmp_path / "r.tif", BYTES[0].astype(dtype))
    with pytest.raises(RasterReadError, match="complex numbers .CFloat") as caught:
        read(path)
    assert "intensity" in caught.value.hint


def test_real_bands_beside_complex_ones_are_read(tmp_path):
    path = str(tmp_path / "mixed.vrt")
    vrt = gdal.GetDriverByName("VRT").Create(path, COLUMNS, ROWS, 0)
    plain, waves = make_raster(tmp_path / "p.tif", BYTES[0]), make_raster(tmp_path / "c.tif", BYTES[1] * 1j)
    for name, data_type in [(plain, gdal.GDT_Byte), (waves, gdal.GDT_CFloat64)]:
        vrt.AddBand(data_type)
        text = (
            f"<SimpleSource><SourceFilename>{name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        )
        vrt.GetRasterBand(vrt.RasterCount).SetMetadataItem("source_0", text, "new_vrt_sources")
    vrt = None
    assert np.array_equal(read(path, bands=(1,))[:, :, 0], BYTES[0])
    with pytest.raises(RasterReadError, match="Band 2 holds complex"):
        read(path)


# --- types


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_every_type_is_read_as_it_is_and_stretched_by_a_range(tmp_path, dtype):
    path = make_raster(tmp_path / "r.tif", BYTES[:3].astype(dtype))
    block = read_values(path)
    assert block.values.dtype == dtype
    assert np.array_equal(block.values, BYTES[:3].astype(dtype))
    expected = Stretch.from_range((50, 200), 3).apply(BYTES[:3])
    assert np.array_equal(read(path, range=(50, 200)), image_of(expected))


def test_signed_bytes_keep_their_sign(tmp_path):
    path = str(tmp_path / "signed.tif")
    creation = ["PIXELTYPE=SIGNEDBYTE"]
    dataset = gdal.GetDriverByName("GTiff").Create(path, COLUMNS, ROWS, 1, gdal.GDT_Byte, creation)
    signed = (BYTES[0].astype(np.int16) - 128).astype(np.int8)
    dataset.GetRasterBand(1).WriteArray(signed)
    dataset.GetRasterBand(1).SetNoDataValue(-7)
    dataset = None
    block = read_values(path)
    assert np.array_equal(block.values[0], signed)
    assert np.array_equal(block.valid, signed != -7)


def test_bands_of_different_types_meet(tmp_path):
    names = [make_raster(tmp_path / "1.tif", BYTES[0]), make_raster(tmp_path / "2.tif", BYTES[1] / 256)]
    path = str(tmp_path / "both.vrt")
    gdal.BuildVRT(path, names, separate=True)
    assert np.array_equal(read_values(path).values, [BYTES[0], BYTES[1] / 256])


def test_uint8_passes_unchanged_and_others_are_stretched_by_percentiles(tmp_path):
    assert info(make_raster(tmp_path / "8.tif", BYTES)).stretch == Stretch.none()
    wide = BYTES[:2].astype(np.uint16) * [[[7]], [[100]]]
    path = make_raster(tmp_path / "16.tif", wide.astype(np.uint16))
    assert info(path).stretch == Stretch.from_samples(list(wide.reshape(2, -1)))
    assert read(path).min() == 0
    assert read(path).max() == 255


def test_stretch_of_an_existing_store_is_used_as_it_is(tmp_path):
    path = make_raster(tmp_path / "16.tif", BYTES[:1].astype(np.uint16))
    stretch = Stretch("linear", (3.0,), (77.0,))
    assert info(path, stretch=stretch).stretch == stretch
    assert np.array_equal(read(path, stretch=stretch)[:, :, 0], stretch.apply(BYTES[:1])[0])
    assert info(path, stretch=stretch, range=(1, 2)).stretch == Stretch.from_range((1, 2), 1)


@pytest.mark.parametrize("value_range", [(5, 5), (9, 2), (0, float("nan"))])
def test_impossible_range_is_refused_when_the_raster_is_opened(tmp_path, value_range):
    path = make_raster(tmp_path / "r.tif", BYTES)
    with pytest.raises(StretchError) as caught:
        GdalRasterSource.open(RasterRequest(path, range=value_range))
    assert caught.value.hint


def test_constant_image_needs_a_range_unless_it_is_uint8(tmp_path):
    path = make_raster(tmp_path / "16.tif", np.full((ROWS, COLUMNS), 700, dtype=np.uint16))
    with pytest.raises(StretchError, match="constant.*700"):
        info(path)
    with pytest.raises(StretchError, match="constant.*700"):
        read(path)
    assert np.unique(read(path, range=(0, 1400))).tolist() == [128]
    path = make_raster(tmp_path / "8.tif", np.full((ROWS, COLUMNS), 9, dtype=np.uint8))
    assert np.unique(read(path)).tolist() == [9]


# --- validity

# name: (values, how they are written); all are invalid exactly in HOLES
NODATA = -9999
DEPTHS = np.where(HOLES, NODATA, BYTES[:3] * 10.0)


def write_mask(dataset, mask=None):
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    mask = np.where(HOLES, 0, 255).astype(np.uint8) if mask is None else mask
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(mask)


def with_alpha(values, opaque):
    alpha = np.where(HOLES, 0, opaque).astype(values.dtype)
    return np.concatenate([values, alpha[None]])


INVALID = {
    "nodata_uint8": (np.where(HOLES, 0, BYTES[:3]).astype(np.uint8), {"nodata": 0}),
    "nodata_int16": (DEPTHS.astype(np.int16), {"nodata": NODATA}),
    "nodata_int32": (DEPTHS.astype(np.int32), {"nodata": NODATA}),
    "nodata_float32": (DEPTHS.astype(np.float32), {"nodata": NODATA}),
    "nodata_of_float_limits": (
        np.where(HOLES, np.finfo(np.float32).min, DEPTHS).astype(np.float32),
        {"nodata": -3.4028234663852886e38},
    ),
    "nan": (np.where(HOLES, np.nan, DEPTHS).astype(np.float32), {}),
    "nan_is_nodata": (np.where(HOLES, np.nan, DEPTHS), {"nodata": float("nan")}),
    "infinite": (np.where(HOLES, -np.inf, DEPTHS), {}),
    "nan_beside_nodata": (
        np.where(HOLES & (np.arange(COLUMNS) % 2 == 0), np.nan, DEPTHS),
        {"nodata": NODATA},
    ),
    "alpha": (with_alpha(BYTES[:3], 255), {"options": ["ALPHA=YES"]}),
    "alpha_16_bit": (
        with_alpha(BYTES[:3].astype(np.uint16), 65535),
        {"options": ["PHOTOMETRIC=RGB", "ALPHA=YES"]},
    ),
    "alpha_of_grey": (with_alpha(BYTES[:1], 255), {"finish": interpret(b2="AlphaBand")}),
    "mask_band": (BYTES[:3], {"finish": write_mask}),
    "mask_band_of_floats": (BYTES[:3] * 0.1, {"finish": write_mask}),
    "one_band_only": (
        np.stack([BYTES[0], np.where(HOLES, 0, BYTES[1]), BYTES[2]]).astype(np.uint8),
        {"nodata": (0, 0, 0)},
    ),
}


@pytest.fixture(params=INVALID.items(), ids=INVALID.keys())
def holed(request, tmp_path):
    """Path of a raster that is invalid in HOLES, and the values that it holds."""
    name, (values, how) = request.param
    gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES")
    try:
        yield make_raster(tmp_path / f"{name}.tif", values, **PLACE, **how), values
    finally:
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", None)


def test_invalid_pixels_are_known(holed):
    path, _ = holed
    assert np.array_equal(read_values(path).valid, ~HOLES)
    assert info(path).nodata_rule != "none"


def test_invalid_pixels_get_the_mean_of_the_valid_ones(holed):
    path, values = holed
    with GdalRasterSource.open(RasterRequest(path)) as source:
        image, stretch = source.read(ALL), source.stretch
    values = values[: len(values) // 2 * 2 - 1] if len(values) in (2, 4) else values
    plain = stretch.apply(np.where(HOLES, values[:, ~HOLES].mean(), values).astype(values.dtype))
    plain = np.concatenate([plain] * 3) if len(plain) == 1 else plain
    assert np.array_equal(image, filled(image_of(plain), HOLES))


def test_invalid_pixels_do_not_count_for_the_stretch(holed):
    path, values = holed
    stretch = info(path).stretch
    if values.dtype == np.uint8:
        assert stretch == Stretch.none()
        return
    assert stretch == Stretch.from_samples([band[~HOLES] for band in values[:3]])


def test_window_without_valid_pixel_is_empty(holed):
    path, _ = holed
    assert read(path, TileWindow(0, 0, 0, 9, ROWS)) is None
    assert read(path, TileWindow(0, 0, 0, 10, ROWS)) is not None


def test_invalid_pixels_do_not_bleed_into_coarser_ones(holed):
    path, values = holed
    if len(values) == 2:
        return  # the same as with three bands, below
    block = read_values(path, resolution=1.0)  # 2 × 2 pixels make one
    parts = values[:3].astype(np.float64).reshape(3, ROWS // 2, 2, COLUMNS // 2, 2)
    are_valid = np.broadcast_to(~HOLES, values[:3].shape).reshape(parts.shape)
    is_whole = are_valid.all(axis=(0, 2, 4))
    has_any = are_valid.any(axis=(0, 2, 4))
    assert block.valid[is_whole].all()
    assert not block.valid[~has_any].any()
    counted = np.where(are_valid & np.isfinite(parts), parts, 0).sum(axis=(2, 4))
    mean = counted / np.maximum(1, are_valid.sum(axis=(2, 4)))
    step = 0 if values.dtype.kind == "f" else 1
    np.testing.assert_allclose(
        np.where(block.valid, block.values, 0), np.where(block.valid, mean, 0), rtol=1e-6, atol=step
    )


def test_alpha_counts_beside_nodata(tmp_path):
    values = with_alpha(BYTES[:3], 255)
    values[:3, 50, 70] = 0
    path = make_raster(tmp_path / "both.tif", values, nodata=(0, 0, 0, 0), options=["ALPHA=YES"])
    expected = ~HOLES
    expected[50, 70] = False
    assert np.array_equal(read_values(path).valid, expected)


def test_blurred_masks_are_cut_at_half(tmp_path):
    """JPEG and WebP leave values such as 3 and 252 in an alpha band."""
    alpha = np.zeros((ROWS, COLUMNS), dtype=np.uint8)
    alpha[:, :20], alpha[:, 20:40], alpha[:, 40:60] = 3, 127, 128
    alpha[:, 60:] = 252
    path = make_raster(tmp_path / "a.tif", np.concatenate([BYTES[:3], alpha[None]]), options=["ALPHA=YES"])
    assert np.array_equal(read_values(path).valid, alpha >= 128)


@pytest.mark.parametrize(
    ("count", "how", "bands", "rule"),
    [
        (3, {}, None, "none"),
        (3, {"nodata": 5}, (3, 1), "band 3 nodata 5; band 1 nodata 5"),
        (4, {"options": ["ALPHA=YES"]}, None, "alpha band 4"),
        (3, {"finish": write_mask}, None, "mask band"),
    ],
)
def test_rule_of_validity_is_told(tmp_path, count, how, bands, rule):
    assert info(make_raster(tmp_path / "r.tif", BYTES[:count], **how), bands=bands).nodata_rule == rule


def test_each_band_has_its_own_nodata(tmp_path):
    path = str(tmp_path / "r.vrt")
    vrt = gdal.Translate(path, make_raster(tmp_path / "r.tif", BYTES[:3]))
    for number, nodata in [(1, 10), (2, 20), (3, 30)]:
        vrt.GetRasterBand(number).SetNoDataValue(nodata)
    vrt = None
    invalid = (BYTES[0] == 10) | (BYTES[1] == 20) | (BYTES[2] == 30)
    assert np.array_equal(read_values(path).valid, ~invalid)
    assert np.array_equal(read_values(path, bands=(2,)).valid, BYTES[1] != 20)
    assert info(path, bands=(1, 3)).nodata_rule == "band 1 nodata 10; band 3 nodata 30"


def test_floats_tell_that_nan_is_invalid(tmp_path):
    assert info(make_raster(tmp_path / "r.tif", BYTES[0] * 0.5)).nodata_rule == "NaN and infinite values"


# --- palettes


def palette(transparent=()):
    table = gdal.ColorTable()
    for index in range(256):
        table.SetColorEntry(index, (index, 255 - index, index // 2, 0 if index in transparent else 255))
    return table


def make_palette_raster(path, transparent=(), nodata=None):
    memory = gdal.GetDriverByName("MEM").Create("", COLUMNS, ROWS, 1)
    band = memory.GetRasterBand(1)
    band.WriteArray(BYTES[0])
    band.SetColorTable(palette(transparent))
    if nodata is not None:
        band.SetNoDataValue(nodata)
    gdal.GetDriverByName("PNG").CreateCopy(str(path), memory)
    return str(path)


COLOURS = image_of([BYTES[0], 255 - BYTES[0], BYTES[0] // 2])


def test_palette_is_expanded(tmp_path):
    path = make_palette_raster(tmp_path / "p.png")
    assert np.array_equal(read(path), COLOURS)
    assert info(path).bands == (1,)
    assert info(path).stretch == Stretch.none()


def test_transparent_colours_and_nodata_of_a_palette_are_invalid(tmp_path):
    path = make_palette_raster(tmp_path / "p.png", transparent=(7, 200))
    invalid = np.isin(BYTES[0], (7, 200))
    assert invalid.any()
    assert np.array_equal(read(path), filled(COLOURS, invalid))
    assert "transparent" in info(path).nodata_rule
    vrt = str(tmp_path / "p.vrt")
    gdal.Translate(vrt, path, noData=9)
    assert np.array_equal(read_values(vrt).valid, ~(invalid | (BYTES[0] == 9)))


def test_palette_is_mixed_as_colours_not_as_numbers(tmp_path):
    path = make_raster(
        tmp_path / "p.tif", BYTES[0], **PLACE, finish=lambda ds: ds.GetRasterBand(1).SetColorTable(palette())
    )
    block = read_values(path, resolution=1.0)
    mean = np.moveaxis(COLOURS, -1, 0).reshape(3, ROWS // 2, 2, COLUMNS // 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(block.values, mean, atol=1)


# --- damage and misuse


def test_damaged_file_is_told_with_its_place(tmp_path):
    options = ["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE"]
    path = tmp_path / "r.tif"
    make_raster(path, RANDOM.integers(0, 255, (512, 512), dtype=np.uint8), options=options)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    for are_on in (False, True):
        with gdal_exceptions(are_on), pytest.raises(RasterReadError, match="column 0, row 0") as caught:
            read(str(path), TileWindow(0, 0, 0, 512, 512))
        assert "damaged" in caught.value.hint


@pytest.mark.parametrize(
    "window", [TileWindow(0, 0, 0, COLUMNS + 1, 5), TileWindow(0, 0, ROWS, 5, 1), TileWindow(1, 0, 0, 5, 5)]
)
def test_window_of_another_grid_is_refused(tmp_path, window):
    with pytest.raises(WindowError, match="80 × 60"):
        read(make_raster(tmp_path / "r.tif", BYTES), window)


@pytest.mark.parametrize(
    "size", [(300, 300), (1024, 1024), (1025, 1025), (1023, 3000), (5000, 300), (1, 1), (4097, 2050)]
)
def test_windows_of_any_size_of_raster_hold_its_pixels(tmp_path, size):
    width, height = size
    values = RANDOM.integers(0, 255, (height, width), dtype=np.uint8)
    path = make_raster(tmp_path / "r.tif", values)
    together = np.zeros((height, width), dtype=np.uint8)
    with GdalRasterSource.open(RasterRequest(path)) as source:
        assert (source.grid.width, source.grid.height) == size
        for window in Tiling(*size):
            image = source.read(window)
            assert image.shape == (window.height, window.width, 3)
            rows = slice(window.yoff, window.yoff + window.height)
            together[rows, window.xoff : window.xoff + window.width] = image[:, :, 1]
    assert np.array_equal(together, values)

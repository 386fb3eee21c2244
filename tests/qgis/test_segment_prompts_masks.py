# SPDX-License-Identifier: GPL-3.0-or-later
"""geo_sam2:segment_prompts with polygons as masks, on an engine that takes what lies in a mask."""

from __future__ import annotations

import numpy as np
import pytest

from geo_sam2 import engine_session
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.segmentation.segment_prompts_algorithm import SegmentPromptsAlgorithm
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.segmenting import (
    bright,
    corners,
    grid_of,
    make_store,
    map_wkt,
    pixels_of,
    prompt_layer,
    segment,
)

# Three columns, the last one shifted, and two rows.
WIDTH, HEIGHT = 2500, 1100
BARN = (100, 200, 180, 260)
SHED = (220, 300, 260, 340)
ROAD = (900, 400, 1300, 420)  # across a seam
YARD = (600, 700, 700, 730)
POND = (2300, 800, 2500, 1000)  # at the edge of the raster
IMAGE = bright(WIDTH, HEIGHT, BARN, SHED, ROAD, YARD, POND)
GRID = grid_of(IMAGE)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    with session_of(fake_engine_command(), folder / "engine.log") as session:
        yield session.client()


@pytest.fixture(scope="module")
def store(engine, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores") / "s.geosam2", engine, IMAGE)


class ListeningEngine:
    """Hands requests on and keeps them."""

    def __init__(self, client):
        self._client, self.steps, self.parts = client, [], []

    def request(self, fields, arrays=None, **options):
        for item in fields["objects"]:
            (step,) = item["steps"]
            window = item["tile"]["window"]
            self.steps.append(((window["xoff"], window["yoff"]), step))
            if "mask_polygons" in step:
                part = Outlines.from_arrays(**arrays).polygons_between(*step["mask_polygons"])
                self.parts.append(part.oriented())
        return self._client.request(fields, arrays, **options)


@pytest.fixture
def listening(engine, monkeypatch):
    listener = ListeningEngine(engine)
    monkeypatch.setattr(engine_session, "client", lambda: listener)
    return listener


def ring(*points_px):
    """Return a closed ring through places of the grid, as the text of a WKT."""
    return "(" + ",".join(f"{x!r} {y!r}" for x, y in GRID.to_map([*points_px, points_px[0]])) + ")"


def rectangle(x_min, y_min, x_max, y_max):
    return ring((x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max))


def masks(*wkts, kind="Polygon"):
    return prompt_layer(kind, [(wkt,) for wkt in wkts])


# Round the barn; its box holds the shed as well.
L_SHAPE = f"Polygon({ring((90, 190), (270, 190), (270, 200), (190, 270), (190, 350), (90, 350))})"


def test_polygon_is_a_box_or_a_mask_by_choice(store):
    as_mask = segment(store, masks(L_SHAPE), POLYGONS="mask").rows[0]
    assert pixels_of(as_mask["geometry"], GRID) == [corners(*BARN)]
    assert (as_mask["boxes"], as_mask["foreground"], as_mask["score"]) == (1, 0, 0.95)
    for chosen in ({"POLYGONS": "box"}, {}):
        as_box = segment(store, masks(L_SHAPE), **chosen).rows[0]
        assert sorted(pixels_of(as_box["geometry"], GRID)) == sorted([corners(*BARN), corners(*SHED)])


def test_choice_is_a_public_string():
    algorithm = SegmentPromptsAlgorithm().create()
    parameter = algorithm.parameterDefinition("POLYGONS")
    assert parameter.options() == ["box", "mask"]
    assert parameter.usesStaticStrings()
    assert parameter.defaultValue() == "box"


def test_mask_travels_with_its_box(store, listening):
    segment(store, masks(L_SHAPE), POLYGONS="mask")
    (((xoff, yoff), step),) = listening.steps
    assert (xoff, yoff) == (0, 0)
    np.testing.assert_allclose(step["box"], (90, 190, 270, 350), atol=1e-6)
    (part,) = listening.parts
    assert part.area_px2.sum() == pytest.approx(180 * 10 + 100 * 150 + 80 * 70 / 2, abs=1e-3)


def test_hole_is_no_part_of_the_mask(store):
    with_hole = f"Polygon({rectangle(50, 150, 300, 400)},{rectangle(210, 290, 270, 350)})"
    (row,) = segment(store, masks(with_hole), POLYGONS="mask").rows
    assert pixels_of(row["geometry"], GRID) == [corners(*BARN)]


def test_polygon_over_two_tiles_is_decoded_on_each_with_its_part(store, listening):
    slanted = f"Polygon({ring((880, 380), (1324, 390), (1324, 440), (880, 430))})"
    (row,) = segment(store, masks(slanted), POLYGONS="mask").rows
    assert pixels_of(row["geometry"], GRID) == [corners(*ROAD)]
    assert row["truncated"] is False
    assert row["boxes"] == 1
    boxes = {window: step["box"] for window, step in listening.steps}
    y_low, y_high = 380 + 10 * 144 / 444, 430 + 10 * 144 / 444
    np.testing.assert_allclose(boxes[0, 0], (880, 380, 1024, y_high), atol=1e-5)
    np.testing.assert_allclose(boxes[1024, 0], (1024, y_low, 1324, 440), atol=1e-5)
    np.testing.assert_allclose(
        [part.area_px2.sum() for part in listening.parts], (144 * 50, 300 * 50), atol=1e-3
    )


def test_all_parts_of_a_multi_polygon_are_one_mask(store, listening):
    parts = f"MultiPolygon(({rectangle(90, 190, 190, 270)}),({rectangle(590, 690, 710, 740)}))"
    (row,) = segment(store, masks(parts, kind="MultiPolygon"), POLYGONS="mask").rows
    assert sorted(pixels_of(row["geometry"], GRID)) == sorted([corners(*BARN), corners(*YARD)])
    assert [len(part) for part in listening.parts] == [2]
    assert row["boxes"] == 1


def test_polygon_partly_outside_counts_as_far_as_the_raster_goes(store, listening):
    (row,) = segment(store, masks(f"Polygon({rectangle(2200, 700, 2900, 5000)})"), POLYGONS="mask").rows
    assert pixels_of(row["geometry"], GRID) == [corners(*POND)]
    assert row["truncated"] is True
    for ((xoff, yoff), step), part in zip(listening.steps, listening.parts):
        low, high = part.points_xy.min(axis=0), part.points_xy.max(axis=0)
        np.testing.assert_allclose(step["box"], [*low, *high], atol=1e-6)
        assert (high <= (xoff + 1024, yoff + 1024)).all()


def test_polygon_outside_is_named_even_where_its_box_is_not(store):
    round_the_raster = f"Polygon({rectangle(-500, -500, 9000, 9000)},{rectangle(-10, -10, 2600, 1200)})"
    run = segment(store, masks(round_the_raster, L_SHAPE), POLYGONS="mask")
    assert [row["object_id"] for row in run.rows] == [2]
    assert run.feedback.warnings == ["Prompt 1 lies outside the feature store."]


def test_clicks_of_the_same_object_correct_its_mask(store, listening):
    mixed = f"GeometryCollection({L_SHAPE},{map_wkt(GRID, (650, 710))})"
    beside = f"GeometryCollection({map_wkt(GRID, (240, 320))})"
    rows = [(mixed, "a", 1), (beside, "a", 0)]
    layer = prompt_layer("GeometryCollection", rows, fields="object:string&label:integer")
    run = segment(store, layer, POLYGONS="mask", OBJECT="object", LABEL="label")
    row = run.row(object_id="a")
    assert sorted(pixels_of(row["geometry"], GRID)) == sorted([corners(*BARN), corners(*YARD)])
    assert (row["foreground"], row["background"], row["boxes"]) == (1, 1, 1)
    ((_, step),) = listening.steps
    assert step["labels"] == [1, 0]
    np.testing.assert_allclose(step["points"], [(650, 710), (240, 320)], atol=1e-5)
    assert step["mask_polygons"] == [0, 1]


def test_many_masks_of_a_request_keep_their_own_polygons(store):
    wkts = [f"Polygon({rectangle(90, 190, 190, 270)})", f"Polygon({rectangle(590, 690, 710, 740)})"]
    hole = f"Polygon({rectangle(50, 150, 300, 400)},{rectangle(90, 190, 190, 270)})"
    run = segment(store, masks(*(wkts * 20), hole), POLYGONS="mask")
    found = [pixels_of(run.row(object_id=number)["geometry"], GRID) for number in range(1, 42)]
    assert found == [[corners(*BARN)], [corners(*YARD)]] * 20 + [[corners(*SHED)]]


def test_polygon_that_crosses_itself_is_mended(store):
    bow_tie = f"Polygon({ring((60, 100), (60, 350), (300, 150), (300, 480))})"
    (row,) = segment(store, masks(bow_tie), POLYGONS="mask").rows
    assert sorted(pixels_of(row["geometry"], GRID)) == sorted([corners(*BARN), corners(*SHED)])


def test_polygon_labelled_0_stays_refused(store):
    layer = prompt_layer("Polygon", [(L_SHAPE, 1), (L_SHAPE, 0)], fields="label:integer")
    run = segment(store, layer, POLYGONS="mask", LABEL="label")
    assert len(run.rows) == 1
    assert "is a polygon labelled 0" in run.feedback.warnings[0]

# SPDX-License-Identifier: GPL-3.0-or-later
"""geo_sam2:segment_prompts on stores of an engine that outlines bright pixels, to the pixel."""

from __future__ import annotations

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from geo_sam2 import engine_session
from geo_sam2.errors import EnvironmentMissingError
from geo_sam2.feature_store import TileState
from geo_sam2.segmentation import batch_decoder
from geo_sam2.segmentation.segment_prompts_algorithm import SegmentPromptsAlgorithm
from tests.qgis.engines import fake_engine_command, session_of
from tests.qgis.segmenting import (
    Feedback,
    box_wkt,
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
BARN = (100, 200, 180, 260)  # in one tile
ROAD = (900, 400, 1300, 420)  # across a seam
YARD = (600, 700, 700, 730)
POND = (2300, 800, 2500, 1100)  # at the corner of the raster
IMAGE = bright(WIDTH, HEIGHT, BARN, ROAD, YARD, POND)
GRID = grid_of(IMAGE)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    with session_of(fake_engine_command(), folder / "engine.log") as session:
        yield session.client()


@pytest.fixture(scope="module")
def store(engine, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores") / "s.geosam2", engine, IMAGE)


@pytest.fixture
def in_project():
    """Return a function that adds a layer to the project until the test ends."""
    added = []

    def add(layer):
        added.append(QgsProject.instance().addMapLayer(layer))
        return layer

    yield add
    for layer in added:
        QgsProject.instance().takeMapLayer(layer)


def points(*rows, fields="", crs="EPSG:32612"):
    return prompt_layer("MultiPoint", rows, crs=crs, fields=fields)


def at(*points_px):
    return map_wkt(GRID, *points_px)


def test_click_becomes_a_polygon_with_its_attributes(store):
    run = segment(store, points((at((120, 230)), "barn"), fields="name:string"))
    (row,) = run.rows
    assert pixels_of(row["geometry"], GRID) == [corners(*BARN)]
    assert row["object_id"] == 1
    assert (row["score"], row["stability"]) == (0.9, 1.0)
    assert row["area_px"] == 80 * 60
    assert row["area_m2"] == pytest.approx(80 * 60 * 0.25 / 0.9996**2, rel=1e-4)
    assert row["perimeter_m"] == pytest.approx(2 * 140 * 0.5 / 0.9996, rel=1e-4)
    assert row["model"] == "demo"
    assert (row["foreground"], row["background"], row["boxes"]) == (1, 0, 0)
    assert row["truncated"] is False
    assert row["name"] == "barn"
    assert run.layer.crs().authid() == "EPSG:32612"
    assert run.results["OBJECT_COUNT"] == 1
    assert run.results["SKIPPED_COUNT"] == 0
    assert run.feedback.percents[-1] == 100


def test_each_feature_is_an_object(store):
    run = segment(store, points((at((120, 230)),), (at((650, 710)),)))
    assert sorted(row["object_id"] for row in run.rows) == [1, 2]


def test_prompts_in_another_crs_find_their_pixels(store):
    from osgeo import osr

    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromEPSG(32612)
    target.ImportFromEPSG(4326)
    target.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    x, y, _ = osr.CoordinateTransformation(source, target).TransformPoint(*GRID.to_map([(120.0, 230.0)])[0])
    run = segment(store, points((f"Point({x!r} {y!r})",), crs="EPSG:4326"))
    assert pixels_of(run.rows[0]["geometry"], GRID) == [corners(*BARN)]


def test_prompts_without_crs_are_taken_for_the_stores(store):
    run = segment(store, points((at((120, 230)),), crs=""))
    assert len(run.rows) == 1
    assert "no CRS" in run.feedback.warnings[0]


def test_prompts_in_two_tiles_make_one_object_without_a_seam(store):
    run = segment(store, points((at((950, 410), (1250, 410)),)))
    (row,) = run.rows
    assert pixels_of(row["geometry"], GRID) == [corners(*ROAD)]
    assert row["truncated"] is False
    assert row["foreground"] == 2


def test_object_cut_by_a_seam_says_so(store):
    (row,) = segment(store, points((at((950, 410)),))).rows
    assert pixels_of(row["geometry"], GRID) == [corners(900, 400, 1024, 420)]
    assert row["truncated"] is True


def test_object_at_the_edge_of_the_raster_says_so(store):
    (row,) = segment(store, points((at((2400, 900), (2400, 1080)),))).rows
    assert row["truncated"] is True


def test_box_across_a_seam_is_decoded_on_both_sides(store):
    layer = prompt_layer("Polygon", [(box_wkt(GRID, 890, 390, 1310, 430),)])
    (row,) = segment(store, layer).rows
    assert pixels_of(row["geometry"], GRID) == [corners(*ROAD)]
    assert (row["foreground"], row["boxes"], row["score"]) == (0, 1, 0.95)


def test_line_is_clicks_along_it(store):
    start, end = GRID.to_map([(910, 410), (1290, 410)])
    layer = prompt_layer("LineString", [(f"LineString({start[0]!r} {start[1]!r},{end[0]!r} {end[1]!r})",)])
    (row,) = segment(store, layer).rows
    assert pixels_of(row["geometry"], GRID) == [corners(*ROAD)]
    assert row["foreground"] == 3


def test_objects_are_grouped_by_their_field(store):
    layer = points(
        (at((120, 230)), "a", 1, "x"),
        (at((650, 710)), "a", 1, "x"),
        (at((500, 500)), "a", 0, "y"),
        (at((2400, 900)), "b", 1, "z"),
        fields="object:string&label:integer&score:string",
    )
    run = segment(store, layer, OBJECT="object", LABEL="label")
    both = run.row(object_id="a")
    assert sorted(pixels_of(both["geometry"], GRID)) == sorted([corners(*BARN), corners(*YARD)])
    assert (both["foreground"], both["background"]) == (2, 1)
    assert (both["object"], both["label"], both["score_2"]) == ("a", None, None)
    assert run.row(object_id="b")["score_2"] == "z"


@pytest.mark.parametrize(("choice", "score"), [("best", 0.9), ("part", 0.9), ("object", 0.8), ("whole", 0.7)])
def test_mask_choice_reaches_the_decoder(store, choice, score):
    (row,) = segment(store, points((at((120, 230)),)), MASK=choice).rows
    assert row["score"] == score


def test_mask_choice_with_boxes_says_that_it_has_no_effect(store):
    layer = prompt_layer("Polygon", [(box_wkt(GRID, 90, 190, 190, 270),)])
    run = segment(store, layer, MASK="whole")
    assert run.rows[0]["score"] == 0.95
    assert any("no effect" in text for text in run.feedback.infos)


def test_minimum_area_drops_small_parts_and_names_what_is_left_with_nothing(store):
    layer = points((at((120, 230), (650, 710)), "two"), (at((650, 710)), "one"), fields="name:string")
    run = segment(store, layer, MIN_AREA=4000)
    (row,) = run.rows
    assert row["name"] == "two"
    assert pixels_of(row["geometry"], GRID) == [corners(*BARN)]
    assert run.feedback.warnings == ["Prompt 2 gave no mask, or none of the minimum area."]


def test_only_selected_prompts_are_used(store, in_project):
    layer = in_project(points((at((120, 230)),), (at((650, 710)),)))
    layer.selectByIds([2])
    run = segment(store, QgsProcessingFeatureSourceDefinition(layer.id(), True))
    assert [row["object_id"] for row in run.rows] == [2]


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson"])
def test_output_goes_to_a_file_with_all_its_fields(store, tmp_path, suffix):
    source = tmp_path / "prompts.gpkg"
    layer = points((at((120, 230)), "barn"), (at((650, 710)), "yard"), fields="name:string")
    options = QgsVectorFileWriter.SaveVectorOptions()
    QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(source), QgsProject.instance().transformContext(), options
    )
    run = segment(store, f"{source}|layername=prompts", OUTPUT=str(tmp_path / f"out.{suffix}"))
    written = QgsVectorLayer(str(tmp_path / f"out.{suffix}"), "out", "ogr")
    assert written.featureCount() == 2
    assert {row["name"] for row in run.rows} == {"barn", "yard"}
    assert sorted(row["object_id"] for row in run.rows) == [1, 2]


# What cannot be used


@pytest.fixture(scope="module")
def patchy_store(engine, tmp_path_factory):
    states = {
        (1024, 0): TileState.FAILED,
        (1476, 0): TileState.EMPTY,
        (0, 76): None,
        (1024, 76): TileState.PENDING,
    }
    return make_store(tmp_path_factory.mktemp("patchy") / "s.geosam2", engine, IMAGE, states=states)


def test_prompts_that_cannot_be_used_are_named_and_the_rest_goes_on(patchy_store):
    layer = points(
        (at((120, 230)), 1),
        (at((-10, 230)), 1),
        (at((1100, 50)), 1),
        (at((2200, 50)), 1),
        (at((100, 1090)), 1),
        (at((1100, 1090)), 1),
        (None, 1),
        (at((120, 230)), 5),
        (at((120, 230)), 0),
        fields="label:integer",
    )
    run = segment(patchy_store, layer, LABEL="label")
    assert [row["object_id"] for row in run.rows] == [1]
    assert run.feedback.warnings == [
        "Prompt 7 has no geometry.",
        "Prompt 8 has a label other than 1 or 0.",
        "Prompt 2 lies outside the feature store.",
        "2 prompts lie in tiles that are not encoded: 5–6.",
        "Prompt 3 lies in a tile that could not be encoded.",
        "Prompt 4 lies in a tile without a valid pixel.",
        "Prompt 9 belongs to an object that has no usable prompt on it.",
    ]
    assert run.results["SKIPPED_COUNT"] == 8


def test_box_that_leaves_the_encoded_part_is_decoded_where_it_can_be(patchy_store):
    layer = prompt_layer("Polygon", [(box_wkt(GRID, 890, 390, 1310, 430),)])
    (row,) = segment(patchy_store, layer).rows
    assert pixels_of(row["geometry"], GRID) == [corners(900, 400, 1024, 420)]
    assert row["truncated"] is True


def test_background_click_without_effect_is_named(store):
    layer = points((at((120, 230)), 1, "a"), (at((1100, 230)), 0, "a"), fields="label:integer&object:string")
    run = segment(store, layer, LABEL="label", OBJECT="object")
    assert len(run.rows) == 1
    assert run.feedback.warnings == [
        "Prompt 2 is background in a tile in which its object has no other prompt, and changes nothing."
    ]


def test_damaged_tile_is_named_marked_and_the_rest_goes_on(engine, tmp_path):
    store = make_store(tmp_path / "s.geosam2", engine, IMAGE)
    damaged = store.tile_at(10, 10)
    path = store.tile_path(damaged.file)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    layer = points((at((120, 230)),), (at((1250, 410)),), (at((950, 410), (1250, 410)),))
    run = segment(store, layer)
    assert sorted(row["object_id"] for row in run.rows) == [2, 3]
    assert run.row(object_id=3)["truncated"] is True
    assert "is damaged" in run.feedback.warnings[0]
    assert run.feedback.warnings[1] == "2 prompts lie in tiles that are damaged: 1, 3."
    assert store.index.get(damaged.window).state is TileState.FAILED


BAD_PROMPTS = {
    "no prompts": ([], "is empty"),
    "no geometry": ([(None,)], "None of the prompts can be used. Prompt 1 has no geometry."),
    "outside": ([("Point(0 0)",)], "Prompt 1 lies outside the feature store."),
}


@pytest.mark.parametrize(("rows", "text"), BAD_PROMPTS.values(), ids=BAD_PROMPTS.keys())
def test_no_usable_prompt_is_a_sentence(store, rows, text):
    with pytest.raises(QgsProcessingException, match=text):
        segment(store, points(*rows))


def test_layer_without_geometries_is_a_sentence(store):
    layer = prompt_layer("NoGeometry", [(None,), (None,)], crs="")
    with pytest.raises(QgsProcessingException, match="2 prompts have no geometry: 1–2"):
        segment(store, layer)


BAD_PARAMETERS = {
    "no such layer": ({"PROMPTS": "/nowhere/prompts.gpkg"}, "prompts.gpkg"),
    "no such field": ({"LABEL": "lable"}, "no field “lable”"),
    "pixel edges simplified": ({"OUTLINE": "pixel", "SIMPLIFY": 2.0}, "cannot both follow pixel edges"),
    "no such folder": ({"FEATURES": "/nowhere/s.geosam2"}, "There is no feature store in /nowhere/s.geosam2"),
    "output that cannot be written": ({"OUTPUT": "/nowhere/out.gpkg"}, "out.gpkg"),
}


@pytest.mark.parametrize(("changed", "text"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS.keys())
def test_bad_parameter_is_a_sentence(store, changed, text):
    layer = points((at((120, 230)),))
    with pytest.raises(QgsProcessingException, match=text):
        segment(**{"store": store, "prompts": layer, **changed})


def test_damaged_store_is_a_sentence(engine, tmp_path):
    store = make_store(tmp_path / "s.geosam2", engine, bright(300, 300, (10, 10, 50, 50)))
    (store.folder / "manifest.json").write_text("{")
    with pytest.raises(QgsProcessingException, match="damaged"):
        segment(store, points((at((20, 20)),)))


def test_missing_environment_is_a_sentence(store, monkeypatch):
    def missing():
        raise EnvironmentMissingError("The environment is not installed.", "Install it from the settings.")

    monkeypatch.setattr(engine_session, "client", missing)
    with pytest.raises(QgsProcessingException, match="not installed. Install it from the settings."):
        segment(store, points((at((120, 230)),)))


# Many prompts


class CountingEngine:
    """Hands requests on and notes which tiles they are about."""

    def __init__(self, client):
        self._client, self.tiles, self.sizes = client, [], []

    def request(self, fields, *arguments, **options):
        files = {item["tile"]["file"] for item in fields["objects"]}
        assert len(files) == 1
        self.tiles += files
        self.sizes.append(len(fields["objects"]))
        return self._client.request(fields, *arguments, **options)


def test_each_tile_is_opened_once_for_many_objects_in_any_order(engine, store, monkeypatch):
    counting = CountingEngine(engine)
    monkeypatch.setattr(engine_session, "client", lambda: counting)
    monkeypatch.setattr(batch_decoder, "PASSES_PER_REQUEST", 8)
    places = [(120, 230), (1250, 410), (2400, 900), (650, 710), (950, 410)]
    layer = points(*[(at(places[index % 5]),) for index in range(100)])
    run = segment(store, layer)
    assert len(run.rows) == 100
    changes = 1 + sum(one != other for one, other in zip(counting.tiles, counting.tiles[1:]))
    assert changes == len(set(counting.tiles)) == 4
    assert max(counting.sizes) == 8
    assert run.feedback.percents == sorted(run.feedback.percents)


def test_cancel_ends_the_run_and_keeps_what_is_written(store, monkeypatch):
    monkeypatch.setattr(batch_decoder, "PASSES_PER_REQUEST", 8)
    feedback = Feedback()
    feedback.progressChanged.connect(lambda percent: feedback.cancel() if percent > 0 else None)
    layer = points(*[(at((120, 230)),) for _ in range(80)])
    run = segment(store, layer, feedback=feedback)
    assert 0 < len(run.rows) <= 8


def test_runs_off_the_main_thread(store, in_project, qtbot):
    """As the toolbox runs it."""
    layer = in_project(points((at((120, 230)),)))
    context, feedback = QgsProcessingContext(), Feedback()
    context.setProject(QgsProject.instance())
    parameters = {"FEATURES": str(store.folder), "PROMPTS": layer.id(), "OUTPUT": "memory:"}
    algorithm = SegmentPromptsAlgorithm().create()
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    with qtbot.waitSignal(task.executed, timeout=20_000) as executed:
        QgsApplication.taskManager().addTask(task)
    is_fine, results = executed.args
    assert is_fine
    assert results["OBJECT_COUNT"] == 1

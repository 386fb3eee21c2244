# SPDX-License-Identifier: GPL-3.0-or-later
"""Where objects end up: in other coordinate systems, and beside what the project protects."""

from __future__ import annotations

import numpy as np
import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsWkbTypes,
)

from geo_sam2.errors import OutputError
from geo_sam2.segmentation.crs_change import CrsChange
from geo_sam2.segmentation.output_layer import OutputLayer
from geo_sam2.segmentation.overlap_avoidance import cut_against
from tests.qgis.outputs import UTM, file_layer, memory_layer, rows, saved, square

MODES = QgsProject.AvoidIntersectionsMode


def crs(name):
    return QgsCoordinateReferenceSystem(name) if name else QgsCoordinateReferenceSystem()


def change(source, target):
    return CrsChange(crs(source), crs(target), QgsCoordinateTransformContext())


@pytest.fixture
def project():
    return QgsProject()


def add(layer, *geometries):
    for geometry in geometries:
        feature = QgsFeature(layer.fields())
        feature.setGeometry(geometry)
        assert layer.dataProvider().addFeature(feature)


def ring(geometry):
    return np.array([(point.x(), point.y()) for point in geometry.asMultiPolygon()[0][0]])


# Coordinate systems


@pytest.mark.parametrize(("source", "target"), [(UTM, UTM), ("", UTM), (UTM, ""), ("", "")])
def test_same_crs_or_none_moves_nothing(source, target):
    assert change(source, target)(square(500000, 4000000)).equals(square(500000, 4000000))


def test_small_object_gets_no_vertices_and_lands_exactly():
    moved = change(UTM, "EPSG:4326")(square(600000, 4000000))
    assert len(ring(moved)) == 5
    transform = QgsCoordinateTransform(crs(UTM), crs("EPSG:4326"), QgsCoordinateTransformContext())
    expected = square(600000, 4000000)
    expected.transform(transform)
    np.testing.assert_allclose(ring(moved), ring(expected), rtol=0, atol=1e-13)


@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857", "EPSG:3035", "EPSG:32661"])
def test_long_edges_keep_to_the_ground_that_they_enclose(target):
    wide = square(400000, 4000000, 300_000)
    moved = change(UTM, target)(wide)
    assert moved.isGeosValid()
    dense = wide.densifyByCount(999)
    dense.transform(QgsCoordinateTransform(crs(UTM), crs(target), QgsCoordinateTransformContext()))
    diagonal = np.hypot(moved.boundingBox().width(), moved.boundingBox().height())
    assert moved.hausdorffDistance(dense) < 2e-5 * diagonal
    assert 5 < len(ring(moved)) < 2000


def test_holes_and_parts_move_along():
    shape = square(400000, 4000000, 300_000).difference(square(500000, 4100000, 50_000))
    shape = shape.combine(square(800000, 4000000, 10))
    moved = change(UTM, "EPSG:4326")(shape)
    assert sorted(len(polygon) for polygon in moved.asMultiPolygon()) == [1, 2]
    back = change("EPSG:4326", UTM)(moved)
    assert back.symDifference(shape).area() < 1e-4 * shape.area()


def test_direction_of_rings_is_kept():
    moved = change(UTM, "EPSG:4326")(square(500000, 4000000))
    assert QgsGeometry.fromPolygonXY(
        [moved.asMultiPolygon()[0][0]]
    ).constGet().exteriorRing().orientation() == (
        square(500000, 4000000).constGet().geometryN(0).exteriorRing().orientation()
    )


def test_object_across_the_antimeridian_stays_in_one_piece():
    # Easting 166,021 m on the equator is 180° west in zone 1: this lies on both sides of it.
    shape = square(165000, 100000, 3000)
    moved = change("EPSG:32601", "EPSG:4326")(shape)
    box = moved.boundingBox()
    assert box.width() < 0.05
    assert box.xMinimum() < -180 < box.xMaximum() or box.xMinimum() < 180 < box.xMaximum()
    assert moved.isGeosValid()
    assert len(ring(moved)) < 20


def test_object_without_a_place_in_the_crs_is_refused(project):
    layer = memory_layer(crs="EPSG:27700")
    output = OutputLayer(layer, project)
    nowhere = saved(QgsGeometry.fromRect(QgsRectangle(1e12, 1e12, 2e12, 2e12)), crs="EPSG:3035")
    with pytest.raises(OutputError, match="no place in the CRS"):
        output.save(nowhere)
    assert not layer.isEditable()


def test_curves_and_heights_are_moved_without_them():
    circle = QgsGeometry.fromWkt("CurvePolygonZ(CircularStringZ(0 0 5, 10 10 5, 20 0 5, 10 -10 5, 0 0 5))")
    moved = change("EPSG:3857", "EPSG:32631")(circle)
    assert moved.wkbType() == QgsWkbTypes.Type.MultiPolygon
    assert moved.isGeosValid()


def test_what_is_shown_is_what_is_saved(project):
    layer = memory_layer(crs="EPSG:4326")
    add(layer, *[change(UTM, "EPSG:4326")(square(500005 + 0.3, 4000000.7))])
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    output = OutputLayer(layer, project)
    shown = output.placed(square(500000, 4000000), crs(UTM))
    assert output.placed(shown, layer.crs()).equals(shown)
    report = output.save(saved(shown, crs="EPSG:4326"))
    assert report.geometry.equals(shown)
    (row,) = [row for row in rows(layer) if row["id"] == report.fids[0]]
    assert row["geometry"].equals(shown)
    direct = output.placed(square(500000, 4000000), crs(UTM), report.fids[0])
    assert direct.equals(shown)


# Overlap


def test_overlap_is_allowed_by_default(project):
    layer = memory_layer()
    add(layer, square(500005, 4000000))
    assert OutputLayer(layer, project).placed(square(500000, 4000000), crs(UTM)).area() == pytest.approx(100)


def test_object_is_cut_against_its_own_layer(project):
    layer = memory_layer()
    add(layer, square(500005, 4000000), square(500000, 4000008), square(600000, 4000000))
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    placed = OutputLayer(layer, project).placed(square(500000, 4000000), crs(UTM))
    assert placed.isGeosValid()
    assert placed.area() == pytest.approx(5 * 8)
    for row in rows(layer):
        assert placed.intersection(row["geometry"]).area() < 1e-6


def test_object_is_cut_against_chosen_layers_of_other_systems(project):
    layer, other, degrees = memory_layer(), memory_layer(), memory_layer(crs="EPSG:4326")
    project.addMapLayers([layer, other, degrees])
    add(layer, square(500000, 4000005))
    add(other, square(500005, 4000000))
    add(degrees, change(UTM, "EPSG:4326")(square(499998, 4000000, 5)))
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsLayers)
    project.setAvoidIntersectionsLayers([other, degrees])
    placed = OutputLayer(layer, project).placed(square(500000, 4000000), crs(UTM))
    # The layer itself is not among them.
    assert placed.area() == pytest.approx(50 - 15, abs=1e-3)
    assert OutputLayer(layer, project).placed(placed, crs(UTM)).equals(placed)


def test_edits_that_are_not_committed_count(project):
    layer = memory_layer()
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    output = OutputLayer(layer, project)
    output.save(saved(square(500005, 4000000)))
    report = output.save(saved(square(500000, 4000000)))
    assert report.geometry.area() == pytest.approx(50)
    output.undo_last()
    output.undo_last()
    assert output.placed(square(500000, 4000000), crs(UTM)).area() == pytest.approx(100)


def test_object_split_by_a_neighbour_keeps_both_parts_and_holes_are_cut_out(project):
    layer = memory_layer()
    add(
        layer,
        QgsGeometry.fromRect(QgsRectangle(500004, 3999990, 500006, 4000020)),
        square(500007, 4000004, 1),
    )
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    placed = OutputLayer(layer, project).placed(square(500000, 4000000), crs(UTM))
    assert sorted(len(polygon) for polygon in placed.asMultiPolygon()) == [1, 2]
    assert placed.area() == pytest.approx(79)


def test_object_that_is_covered_is_not_saved(project):
    layer = memory_layer()
    add(layer, square(499990, 3999990, 50))
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    output = OutputLayer(layer, project)
    assert output.placed(square(500000, 4000000), crs(UTM)).isEmpty()
    with pytest.raises(OutputError, match="Nothing of the object"):
        output.save(saved(square(500000, 4000000)))
    assert not layer.isEditable()


def test_invalid_neighbour_is_cut_against_all_the_same(project):
    layer = memory_layer()
    add(
        layer,
        QgsGeometry.fromWkt(
            "MultiPolygon(((500005 4000000, 500010 4000010, 500010 4000000, 500005 4000010, 500005 4000000)))"
        ),
    )
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    placed = OutputLayer(layer, project).placed(square(500000, 4000000), crs(UTM))
    assert placed.isGeosValid()
    assert placed.area() == pytest.approx(75)


def test_feature_whose_place_is_taken_does_not_cut(tmp_path, project):
    layer = file_layer(tmp_path / "a.gpkg", kind=QgsWkbTypes.Type.Polygon)
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    output = OutputLayer(layer, project)
    both = square(500000, 4000000).combine(square(500020, 4000000))
    fid, _ = output.save(saved(both)).fids
    output.save(saved(square(500032, 4000000), created="another"))
    placed = output.placed(square(500000, 4000000, 40), crs(UTM), fid)
    assert placed.area() == pytest.approx(1600 - 80)  # cut by the other object, not by its own two parts
    assert output.replace(fid, saved(square(500000, 4000000, 40))).geometry.equals(placed)


def test_neighbours_that_only_touch_change_nothing(project):
    layer = memory_layer()
    add(layer, square(500010, 4000000), square(500000, 4000010), square(500010, 4000010))
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    assert cut_against(square(500000, 4000000), layer, project).equals(square(500000, 4000000))


def test_rotated_neighbours_are_cut_once_and_for_all(project):
    """The vertices of a cut lie off the neighbour's edge by rounding; cutting again must not cut that off."""
    rng = np.random.default_rng(3)
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    layer = memory_layer()
    for _ in range(30):
        other = square(*(rng.uniform(-8, 8, 2) + (500000, 4000000)), float(rng.uniform(2, 9)))
        other.rotate(float(rng.uniform(0, 90)), other.centroid().asPoint())
        add(layer, other)
        shape = square(500000 - 10, 4000000 - 10, 20)
        shape.rotate(17, shape.centroid().asPoint())
        once = cut_against(shape, layer, project)
        assert once.isGeosValid()
        assert cut_against(once, layer, project).equals(once)
        union = QgsGeometry.unaryUnion([row["geometry"] for row in rows(layer)])
        assert once.intersection(union).area() < 1e-6
        assert once.area() == pytest.approx(shape.area() - shape.intersection(union).area())


def test_only_what_is_near_is_asked_for(project, monkeypatch):
    layer = memory_layer()
    add(layer, *[square(500000 + 20 * number, 4000000) for number in range(50)])
    project.setAvoidIntersectionsMode(MODES.AvoidIntersectionsCurrentLayer)
    real, seen = layer.getFeatures, []

    def get_features(request):
        seen.append(len(list(real(request))))
        return real(request)

    monkeypatch.setattr(layer, "getFeatures", get_features)
    cut_against(square(500005, 4000000), layer, project)
    assert seen == [1]

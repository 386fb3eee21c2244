# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawn scenes: always the same, truth that nests, measured objects that are what they promise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from demo_scenes import evaluation_scenes, training_scenes  # noqa: E402
from demo_scenes.canvas import Canvas  # noqa: E402
from scipy import ndimage  # noqa: E402


@pytest.fixture(scope="module", params=range(5))
def evaluation(request):
    """One evaluation scene of each layout, with its index."""
    return evaluation_scenes.evaluation_scene(request.param), request.param


def _assert_nested(scene):
    """Each part lies in one object, each object in one group or in none, and no level is there twice."""
    for inner, outer in ((scene.part_hw, scene.object_hw), (scene.object_hw, scene.group_hw)):
        for label, window in enumerate(ndimage.find_objects(inner), start=1):
            if window is not None:
                assert len(np.unique(outer[window][inner[window] == label])) == 1
    assert not np.any((scene.part_hw > 0) & (scene.object_hw == 0))
    assert not np.any((scene.group_hw > 0) & (scene.object_hw == 0))
    for group in np.unique(scene.group_hw)[1:]:
        assert len(np.unique(scene.object_hw[scene.group_hw == group])) > 1
    for described in scene.objects:
        assert len(described.part_ids) != 1


def test_evaluation_scene_is_fixed_by_its_index(evaluation):
    scene, index = evaluation
    again = evaluation_scenes.evaluation_scene(index)
    np.testing.assert_array_equal(scene.image_hwc, again.image_hwc)
    np.testing.assert_array_equal(scene.object_hw, again.object_hw)
    chosen = [found.object_id for found in evaluation_scenes.evaluation_objects(scene, index)]
    assert chosen == [found.object_id for found in evaluation_scenes.evaluation_objects(again, index)]


def test_evaluation_truth_nests(evaluation):
    _assert_nested(evaluation[0])


def test_measured_objects_are_whole_large_and_of_a_single_part(evaluation):
    scene, index = evaluation
    chosen = evaluation_scenes.evaluation_objects(scene, index)
    assert chosen
    for found in chosen:
        mask = scene.mask("object", found.object_id)
        assert mask.sum() == found.area_px >= 1000
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        assert ndimage.label(mask)[1] == 1
        assert not scene.part_hw[mask].any()


def test_scene_description_fits_its_maps(evaluation):
    scene, _ = evaluation
    assert scene.image_hwc.shape == (1024, 1024, 3)
    assert scene.image_hwc.dtype == np.uint8
    assert sorted(found.object_id for found in scene.objects) == np.unique(scene.object_hw)[1:].tolist()
    for found in scene.objects:
        mask = scene.mask("object", found.object_id)
        assert set(np.unique(scene.part_hw[mask])) - {0} == set(found.part_ids)
        assert np.all(scene.group_hw[mask] == found.group_id)


@pytest.mark.parametrize(("seed", "size_px"), [(seed, 256) for seed in range(12)] + [(3, 512), (5, 1024)])
def test_training_truth_nests_and_is_fixed_by_its_seed(seed, size_px):
    scene = training_scenes.training_scene(seed, size_px)
    again = training_scenes.training_scene(seed, size_px)
    assert scene.image_hwc.shape == (size_px, size_px, 3)
    np.testing.assert_array_equal(scene.image_hwc, again.image_hwc)
    np.testing.assert_array_equal(scene.part_hw, again.part_hw)
    _assert_nested(scene)


def test_training_scenes_show_all_three_levels():
    scenes = [training_scenes.training_scene(seed, 256) for seed in range(12)]
    found = [described for scene in scenes for described in scene.objects]
    assert any(len(described.part_ids) == 2 for described in found)
    assert any(described.group_id for described in found)
    assert any(described.is_single_part and not described.group_id for described in found)


def _square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], float)


def test_an_object_cut_in_two_becomes_two_objects():
    canvas = Canvas(np.zeros((64, 64, 3)))
    canvas.fill(_square(8, 56), np.ones(3), canvas.new_object("field"))
    canvas.fill(
        np.array([[0, 30], [64, 30], [64, 34], [0, 34]], float), np.ones(3), canvas.new_object("road")
    )
    scene = canvas.finish(np.zeros((64, 64, 3), np.uint8))
    assert sorted(found.kind for found in scene.objects) == ["field", "field", "road"]
    assert sum(found.area_px for found in scene.objects if found.kind == "field") == 48 * 48 - 48 * 4


def test_a_covered_neighbour_ends_a_group_and_a_covered_part_ends_the_parts():
    canvas = Canvas(np.zeros((64, 64, 3)))
    group_id, roof = canvas.new_label(), canvas.new_object("roof")
    canvas.fill(_square(8, 24), np.ones(3), roof, canvas.new_label(), group_id)
    canvas.fill(_square(24, 40), np.ones(3), roof, canvas.new_label(), group_id)
    canvas.fill(_square(40, 56), np.ones(3), canvas.new_object("roof"), 0, group_id)
    canvas.fill(_square(24, 60), np.ones(3), canvas.new_object("wood"))
    scene = canvas.finish(np.zeros((64, 64, 3), np.uint8))
    assert not scene.group_hw.any()
    assert not scene.part_hw.any()


def test_coverage_of_a_rectangle_between_pixels_is_right_to_a_quarter_pixel_at_each_edge():
    canvas = Canvas(np.zeros((16, 16, 3)))
    canvas.fill(np.array([[2.5, 4], [9, 4], [9, 6.25], [2.5, 6.25]]), np.ones(3))
    shares = canvas.image[..., 0]
    assert shares.sum() == pytest.approx(6.5 * 2.25, abs=(6.5 + 2.25) * 2 / 4)
    assert shares[5, 2] == pytest.approx(0.5, abs=0.25)
    assert shares[6, 5] == pytest.approx(0.25, abs=0.25)
    assert shares[5, 5] == 1
    assert shares[:, :2].sum() == 0

# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawn scenes: always the same, truth that nests, measured objects that are what they promise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from demo_scenes import evaluation_scenes  # noqa: E402
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

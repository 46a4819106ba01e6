"""A protocol that says how large images are matched has its threshold in pixels of that size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from gim.benchmarks.posed import PosedPair
from gim.evaluation.image_size import SizeRule
from gim.evaluation.pose_scorer import Column, pose_scorer
from gim.evaluation.protocols import protocol_named
from gim.evaluation.views import FolderViews, folder_views
from gim.records import Float64Array
from tests.unit.evaluation.test_pose import K0, K1, View, noisy, view

GLUE_FACTORY = protocol_named("glue-factory")


def views_of(folder: Path, size: tuple[int, int]) -> FolderViews:
    for name in ("0.png", "1.png"):
        cv2.imwrite(str(folder / name), np.zeros((size[1], size[0], 3), np.uint8))
    rule = SizeRule(GLUE_FACTORY.longest_side, is_enlarged=GLUE_FACTORY.is_enlarged)
    return folder_views("black", folder, [("0.png", "1.png")], rule)


def enlarged(scene: View, K: Float64Array, times: int) -> Float64Array:
    """The intrinsics of the same camera with pixels that many times as small."""
    moved = np.array([[times, 0, (times - 1) / 2], [0, times, (times - 1) / 2], [0, 0, 1.0]])
    return moved @ K


@pytest.mark.parametrize("times", [2, 6])
def test_larger_images_with_finer_pixels_give_the_same_pose(tmp_path: Path, times: int) -> None:
    scene = view(3)
    points = noisy(scene, 0.8, num_wrong=30)
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    small = pose_scorer(
        [PosedPair("0.png", "1.png", K0, K1, scene.T_0to1)], GLUE_FACTORY, views_of(tmp_path / "small", (1024, 768))
    )
    larger = [enlarged(scene, K, times) for K in (K0, K1)]
    large = pose_scorer(
        [PosedPair("0.png", "1.png", *larger, scene.T_0to1)],
        GLUE_FACTORY,
        views_of(tmp_path / "large", (1024 * times, 768 * times)),
    )
    expected = small.score(0, points)
    found = large.score(0, ((points.astype(np.float64) + 0.5) * times - 0.5).astype(np.float32))
    np.testing.assert_array_equal(found[0, Column.NUM_INLIERS], expected[0, Column.NUM_INLIERS])
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_small_images_are_judged_in_the_pixels_they_are_enlarged_to(tmp_path: Path) -> None:
    scene = view(3)
    points = noisy(scene, 0.8)
    pairs = [PosedPair("0.png", "1.png", K0, K1, scene.T_0to1)]
    as_given = pose_scorer(pairs, GLUE_FACTORY).score(0, points)
    as_matched = pose_scorer(pairs, GLUE_FACTORY, views_of(tmp_path, (640, 480))).score(0, points)
    assert as_matched[0, Column.NUM_INLIERS] < 0.9 * as_given[0, Column.NUM_INLIERS]


def test_the_size_of_the_images_is_part_of_the_id(tmp_path: Path) -> None:
    pairs = [PosedPair("0.png", "1.png", K0, K1, view(3).T_0to1)]
    small = pose_scorer(pairs, GLUE_FACTORY, views_of(tmp_path, (640, 480))).id
    assert small != pose_scorer(pairs, GLUE_FACTORY, views_of(tmp_path, (1024, 768))).id
    gim = protocol_named("gim")
    assert pose_scorer(pairs, gim, views_of(tmp_path, (640, 480))).id == pose_scorer(pairs, gim).id

"""Errors of matches against truth of every kind, on pairs whose truth is exact."""

import numpy as np
import pytest

from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.homography import apply_homography
from gim.synthetic.camera import intrinsics
from gim.training.looking.errors import match_errors
from gim.training.samples import DepthView, Homography, Labels, Posed

RNG = np.random.default_rng(0)
K = intrinsics(640, 480, 60.0)


def two_views(num=200):
    """Points in space seen by two cameras: pixels [N, 4], and the motion."""
    points = np.column_stack([RNG.uniform(-2, 2, (num, 2)), RNG.uniform(4, 9, num)])
    angle = 0.15
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, (-0.8, 0.1, 0.05)
    moved = points @ R.T + T[:3, 3]
    pixels = [(seen @ K.T)[:, :2] / seen[:, 2:] for seen in (points, moved)]
    return np.hstack(pixels).astype(np.float32), T


def test_of_a_homography_it_is_the_distance_in_image_1():
    H = np.array([[1.1, 0.05, 3], [-0.02, 0.9, -5], [1e-4, 2e-4, 1]])
    x0 = RNG.uniform(0, 100, (50, 2))
    gaps = RNG.normal(0, 5, (50, 2))
    points = np.hstack([x0, apply_homography(x0, H) + gaps]).astype(np.float32)
    found = match_errors(points, Homography(H))
    assert np.allclose(found.errors_px, np.linalg.norm(gaps, axis=1), atol=1e-3)
    assert found.against == "the homography"


def test_of_labels_it_is_the_distance_from_the_lines_of_their_geometry():
    points, T = two_views()
    true_F = fundamental_from_pose(K, K, T)
    wrong = points[:50] + np.float32([0, 0, 0, 25])
    found = match_errors(np.vstack([points, wrong]), Labels(points))
    assert "labels' epipolar lines" in found.against
    assert found.errors_px[:200].max() < 0.2
    expected = symmetric_epipolar_distance_px(wrong, true_F)
    assert np.allclose(found.errors_px[200:], expected, rtol=0.05, atol=0.3)
    assert found.errors_px[200:].min() > 3


def test_of_posed_images_it_is_the_same_after_the_images_were_warped():
    points, T = two_views()
    view = DepthView(np.ones((480, 640), np.float32), K, np.eye(3))
    A0 = np.array([[0.5, 0.1, 9], [0, 0.6, 4], [0, 0, 1]])
    A1 = np.array([[1.2, 0, -30], [0.1, 0.9, 2], [1e-4, 0, 1]])
    truth = Posed(view, view, T).warped(A0, A1)
    moved = Labels(points).warped(A0, A1).points
    assert match_errors(moved, truth).errors_px.max() < 1e-2
    assert match_errors(points, truth).errors_px.max() > 5


def test_where_no_geometry_fits_the_nearest_label_says_how_far_a_match_goes():
    labels = np.float32([[10, 10, 15, 10], [50, 50, 58, 50]])
    matches = np.float32([[12, 10, 17, 10], [52, 50, 60, 53], [300, 10, 305, 10]])
    found = match_errors(matches, Labels(labels))
    assert found.errors_px.tolist() == pytest.approx([0, 3, np.inf])
    assert "nearest" in found.against


@pytest.mark.parametrize("truth", [Homography(np.eye(3)), Labels(two_views()[0]), Labels(np.empty((0, 4), np.float32))])
def test_no_match_has_no_error(truth):
    assert len(match_errors(np.empty((0, 4), np.float32), truth).errors_px) == 0


def test_cameras_in_one_place_tell_nothing():
    view = DepthView(np.ones((48, 64), np.float32), K, np.eye(3))
    found = match_errors(np.float32([[1, 2, 3, 4]]), Posed(view, view, np.eye(4)))
    assert np.isinf(found.errors_px).all()
    assert "nothing" in found.against

"""Scores against cameras whose poses are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.evaluation.cameras import (
    PairErrors,
    PosedFrames,
    RenderedFrames,
    epipolar_errors_px,
    parse_intrinsics,
    read_posed_frames,
)
from gim.evaluation.check import JudgedPair, score_pairs, summarise_errors
from gim.synthetic.truth import transfer
from tests.synthetic import random_tracks, small_clip

_LINE = "1 0 0 {} 0 1 0 0 0 0 1 0"


def _kitti(tracks, path):
    poses = [np.linalg.inv(np.linalg.inv(camera.T_camera_to_world)) for camera in tracks.cameras]
    path.write_text("\n".join(" ".join(f"{n:.12g}" for n in pose[:3].ravel()) for pose in poses) + "\n")
    K = tracks.cameras[0].K
    return read_posed_frames(path, f"{K[0, 0]},{K[1, 1]},{K[0, 2]},{K[1, 2]}")


def _pairs(tracks, gaps):
    return [
        JudgedPair(i, i + gap, gap / 5, tracks.correspondences(i, i + gap).astype(np.float32))
        for gap in gaps
        for i in range(len(tracks.keypoints) - gap)
    ]


def test_exact_tracks_have_no_error(tmp_path):
    tracks = random_tracks(1, num_points=300, num_frames=6)
    scores = score_pairs(_pairs(tracks, (1, 3)), _kitti(tracks, tmp_path / "poses.txt"))
    assert [(score.interval_seconds, score.num_pairs) for score in scores] == [(0.2, 5), (0.6, 3), (None, 8)]
    assert scores[-1].num_correspondences == sum(score.num_correspondences for score in scores[:-1])
    for score in scores:
        assert score.epipolar.median_px < 1e-3
        assert score.epipolar.within_1px == 1.0
        assert score.point is None


def test_outliers_and_noise_show(tmp_path):
    clean = random_tracks(1, num_points=400, num_frames=5)
    noisy = random_tracks(1, num_points=400, num_frames=5, noise_px=1.0, outlier_share=0.1)
    cameras = _kitti(clean, tmp_path / "poses.txt")
    (score, _) = score_pairs(_pairs(noisy, (2,)), cameras)
    assert 0.5 < score.epipolar.median_px < 1.5
    assert score.epipolar.within_1px < score.epipolar.within_2px < 0.85


def test_a_wrong_pose_order_is_not_forgiven(tmp_path):
    tracks = random_tracks(1, num_points=300, num_frames=6)
    right = _kitti(tracks, tmp_path / "poses.txt")
    wrong = PosedFrames("wrong", np.linalg.inv(right.poses), right.K)  # world-to-camera in place of camera-to-world
    turned = PosedFrames("turned", right.poses.copy(), right.K)
    turned.poses[:, :3, :3] = turned.poses[:, :3, :3].transpose(0, 2, 1)
    for cameras in (wrong, turned):
        assert score_pairs(_pairs(tracks, (3,)), cameras)[-1].epipolar.median_px > 2


def test_a_camera_that_only_turns_is_judged_by_where_points_go():
    angle = 0.05
    K = np.array([[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]])
    T_0to1 = np.eye(4)
    T_0to1[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    points0 = np.random.default_rng(0).uniform(0, 300, (50, 2))
    moved = (K @ T_0to1[:3, :3] @ np.linalg.inv(K) @ np.column_stack([points0, np.ones(50)]).T).T
    points1 = moved[:, :2] / moved[:, 2:]
    np.testing.assert_allclose(epipolar_errors_px(K, T_0to1, np.hstack([points0, points1])), 0, atol=1e-9)
    np.testing.assert_allclose(epipolar_errors_px(K, T_0to1, np.hstack([points0, points1 + np.array([3, 4])])), 5)


def test_exact_points_of_a_rendered_clip_score_exactly(tmp_path):
    truth = small_clip(tmp_path / "clip.mp4", duration_seconds=1.0, size=(160, 96))
    cameras = RenderedFrames("clip", truth)
    assert cameras.num_frames == 15
    rng = np.random.default_rng(0)
    points0 = rng.uniform(2, 90, (200, 2))
    points1, visible = transfer(truth.surfaces(0), truth.camera(0), truth.camera(9), points0)
    exact = np.hstack([points0, points1])[visible].astype(np.float32)
    shifted = exact + np.float32([0, 0, 3, 0])
    good, bad = (score_pairs([JudgedPair(0, 9, 0.6, points)], cameras)[-1] for points in (exact, shifted))
    assert good.point.median_px < 0.01
    assert good.point.within_1px > 0.99
    assert good.epipolar.median_px < 0.01
    assert bad.point.median_px == pytest.approx(3, abs=0.5)
    assert bad.point.within_2px < 0.05


@given(st.lists(st.floats(0, 5) | st.just(np.inf), min_size=1, max_size=30))
@settings(max_examples=50)
def test_a_summary_is_what_sorting_says(errors):
    summary = summarise_errors(np.array(errors))
    assert summary.within_1px == pytest.approx(sum(e <= 1 for e in errors) / len(errors))
    assert summary.within_2px == pytest.approx(sum(e <= 2 for e in errors) / len(errors))
    if 2 * sum(e < np.inf for e in errors) > len(errors):
        ordered = sorted(errors)
        middle = (ordered[(len(errors) - 1) // 2] + ordered[len(errors) // 2]) / 2
        assert summary.median_px == pytest.approx(middle)
    else:
        assert summary.median_px is None


def test_pairs_are_read_one_at_a_time():
    class Counting:
        def errors_px(self, frame0, frame1, correspondences):
            return PairErrors(np.zeros(len(correspondences)))

    def lazily():
        for i in range(3):
            alive.append(i)
            yield JudgedPair(i, i + 1, 0.2, np.zeros((4, 4), np.float32))

    alive = []
    (score, _) = score_pairs(lazily(), Counting())
    assert (score.num_pairs, score.num_correspondences, alive) == (3, 12, [0, 1, 2])


def test_no_pairs_have_no_score():
    assert score_pairs([], PosedFrames("x", np.eye(4)[None], np.eye(3))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no poses"),
        (_LINE.format(0) + "\n1 2 3\n", "line 2: expected 12 numbers .* got 3"),
        (_LINE.format(0) + "\n\n" + _LINE.format(1), "line 2: expected 12 numbers .* got 0"),
        (_LINE.format("x"), "line 1: could not convert"),
        (_LINE.format("nan"), "line 1"),
        ("2 0 0 0 0 2 0 0 0 0 2 0", "line 1: .*no rotation"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0", "line 1: .*no rotation"),
    ],
)
def test_malformed_poses_are_named_by_their_line(tmp_path, text, message):
    (tmp_path / "poses.txt").write_text(text)
    with pytest.raises(InvalidInput, match=f"poses.txt.*{message}"):
        read_posed_frames(tmp_path / "poses.txt", "1,1,1,1")


def test_poses_that_cannot_be_read_are_said(tmp_path):
    with pytest.raises(InvalidInput, match="cannot read the poses"):
        read_posed_frames(tmp_path / "none.txt", "1,1,1,1")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not a text of poses"):
        read_posed_frames(tmp_path / "binary", "1,1,1,1")


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,1,1,1", "0,1,1,1", "nan,1,1,1", "inf,1,1,1"])
def test_malformed_intrinsics_are_refused(text):
    with pytest.raises(InvalidInput, match="intrinsics"):
        parse_intrinsics(text)


def test_cameras_that_cannot_be_of_the_video_are_refused(tmp_path):
    (tmp_path / "poses.txt").write_text("\n".join(_LINE.format(i) for i in range(3)))
    cameras = read_posed_frames(tmp_path / "poses.txt", "700,700,600,180")
    cameras.check_fits(1200, 360, 2)
    with pytest.raises(InvalidInput, match="has 3 poses, too few for frame 3"):
        cameras.check_fits(1200, 360, 3)
    with pytest.raises(InvalidInput, match="not near the middle of frames of 640x192"):
        cameras.check_fits(640, 192, 2)
    with pytest.raises(InvalidInput, match="too few"):
        cameras.errors_px(0, 9, np.zeros((1, 4), np.float32))

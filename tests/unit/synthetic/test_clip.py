"""The encoded clips: the bundled one still is what its recipe says, and new ones are reproducible."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gim.records import Uint8Array
from gim.synthetic.clip import bundled_clip, bundled_plan, frames, long_plan, truth_of
from gim.synthetic.truth import ClipTruth, correspondence_error_px
from tests.synthetic import small_clip


def decode(path: Path, wanted: set[int]) -> dict[int, Uint8Array]:
    with av.open(str(path)) as container:
        decoded = enumerate(container.decode(video=0))
        return {index: frame.to_ndarray(format="rgb24") for index, frame in decoded if index in wanted}


@pytest.fixture(scope="module")
def bundled() -> tuple[dict[int, Uint8Array], ClipTruth]:
    video, truth_file = bundled_clip()
    truth = ClipTruth.load(truth_file)
    return decode(video, {60, 66, truth.shots[1].first_frame + 5, truth.num_frames - 1}), truth


def test_bundled_clip_is_small_and_its_truth_covers_every_frame() -> None:
    video, truth_file = bundled_clip()
    truth = ClipTruth.load(truth_file)
    assert video.stat().st_size + truth_file.stat().st_size < 900_000
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, float(stream.average_rate)) == (truth.width, truth.height, truth.fps)
        assert sum(1 for _ in container.decode(video=0)) == truth.num_frames
    assert [shot.is_still for shot in truth.shots] == [False, False, True]
    assert truth.shots[0].num_frames >= 10 * truth.fps


def test_bundled_truth_is_what_the_plan_says() -> None:
    planned, stored = truth_of(bundled_plan()), ClipTruth.load(bundled_clip()[1])
    assert [scene.kind for scene in planned.scenes] == [scene.kind for scene in stored.scenes]
    assert planned.overlays == stored.overlays
    for frame in range(0, planned.num_frames, 50):
        one, other = planned.camera(frame), stored.camera(frame)
        np.testing.assert_allclose(one.T_camera_to_world, other.T_camera_to_world, atol=2e-9)
        np.testing.assert_allclose(planned.surfaces(frame), stored.surfaces(frame), atol=1e-6)


def test_bundled_frames_when_rendered_again_equal_the_committed_video(
    bundled: tuple[dict[int, Uint8Array], ClipTruth],
) -> None:
    decoded, truth = bundled
    plan = bundled_plan()
    for index in (60, truth.num_frames - 1):
        (again,) = frames(plan, truth_of(plan), range(index, index + 1))
        assert cv2.PSNR(again, decoded[index]) > 30


def test_bundled_clip_under_plain_sift_agrees_with_its_truth(bundled: tuple[dict[int, Uint8Array], ClipTruth]) -> None:
    decoded, truth = bundled
    correspondences = match_by_sift(decoded[60], decoded[66])
    error = correspondence_error_px(truth, 60, 66, correspondences)
    x0, y0, x1, y1 = truth.overlays[0].box
    on_logo = ((correspondences[:, :2] > (x0, y0)) & (correspondences[:, :2] < (x1, y1))).all(axis=1)
    assert np.isinf(error[on_logo]).all()
    assert on_logo.any()
    assert (~on_logo).sum() > 500
    assert (error[~on_logo] < 1.0).mean() > 0.96
    assert np.median(error[~on_logo]) < 0.3


def match_by_sift(image0: Uint8Array, image1: Uint8Array) -> np.ndarray:
    sift = cv2.SIFT_create()
    (points0, descriptors0), (points1, descriptors1) = (
        sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in (image0, image1)
    )
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors0, descriptors1, k=2)
    good = [first for first, second in nearest if first.distance < 0.75 * second.distance]
    pairs = np.array([(*points0[match.queryIdx].pt, *points1[match.trainIdx].pt) for match in good])
    _, inliers = cv2.findFundamentalMat(pairs[:, :2], pairs[:, 2:], cv2.USAC_MAGSAC, 0.7, 0.9999, 5000)
    return np.asarray(pairs[inliers.ravel() > 0])


def test_write_clip_twice_gives_the_same_bytes_and_every_frame(tmp_path: Path) -> None:
    truth = small_clip(tmp_path / "a.mp4", duration_seconds=1.0, still_seconds=0.4, logo="GIM", size=(160, 90))
    small_clip(tmp_path / "b.mp4", duration_seconds=1.0, still_seconds=0.4, logo="GIM", size=(160, 90))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(truth.num_frames) / truth.fps, atol=1e-4)
    assert truth.num_frames == 21


def test_long_plan_of_any_length_has_new_worlds_in_every_shot() -> None:
    plan = long_plan(30.0)
    assert sum(shot.duration_seconds for shot in plan.shots) == pytest.approx(1800.0)
    assert len({(shot.kind, shot.seed) for shot in plan.shots}) == len(plan.shots) == 60
    assert sum(shot.duration_seconds for shot in long_plan(0.1).shots) == pytest.approx(6.0)

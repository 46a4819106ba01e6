"""Evidence for and against a cut between two pictures."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.video.continuity import (
    equalise,
    followed_share,
    is_same_place,
    is_same_scene,
    patch_correlation,
    texture_share,
)
from tests.unit.video.scenes import dissolve, grey_frames, make_world, pan, tiny

WORLD, OTHER = make_world(1), make_world(2)
BLACK = np.full((90, 160), 16, np.uint8)


@pytest.mark.parametrize("step_px", [0.0, 3.0, 12.0])
def test_is_same_scene_when_the_camera_moves(step_px: float) -> None:
    frames = [tiny(frame) for frame in pan(WORLD, 2, step_px=step_px)]
    assert is_same_scene(frames[0], frames[1]) is True


def test_is_same_scene_when_the_exposure_jumps() -> None:
    frames = [tiny(frame) for frame in pan(WORLD, 2)]
    brighter = np.clip(frames[1] * 0.5 + 110, 0, 255).astype(np.uint8)
    assert is_same_scene(frames[0], brighter) is True


@given(seed=st.integers(10, 40))
def test_is_same_scene_is_false_for_unrelated_pictures(seed: int) -> None:
    assert is_same_scene(tiny(pan(WORLD, 1)[0]), tiny(make_world(seed, 340, 230)[:180, :320])) is False


def test_is_same_scene_cannot_tell_black_from_black() -> None:
    assert is_same_scene(BLACK, BLACK) is None
    assert is_same_scene(BLACK, tiny(pan(WORLD, 1)[0])) is False
    assert is_same_scene(tiny(pan(WORLD, 1)[0]), BLACK) is False
    assert texture_share(BLACK) == 0.0
    assert texture_share(tiny(pan(WORLD, 1)[0])) > 0.5


def test_is_same_place_bears_what_tracking_does_not() -> None:
    picture = WORLD[:400, :600]
    turned = cv2.warpAffine(picture, cv2.getRotationMatrix2D((300, 200), 50, 0.8), (600, 400))
    assert is_same_scene(tiny(picture), tiny(np.asarray(turned, np.uint8))) is False
    assert is_same_place(picture, np.asarray(turned, np.uint8))


@pytest.mark.parametrize("seed", range(3, 9))
def test_is_same_place_is_false_for_unrelated_pictures(seed: int) -> None:
    assert not is_same_place(WORLD[:360, :640], make_world(seed)[:360, :640])


def test_is_same_place_is_false_for_blank_pictures() -> None:
    assert not is_same_place(BLACK, BLACK)
    assert not is_same_place(WORLD[:360, :640], np.full((360, 640), 200, np.uint8))


def test_equalise_gives_mean_and_contrast_of_the_target() -> None:
    target = WORLD[:100, :100]
    dull = (target * 0.4 + 60).astype(np.uint8)
    restored = equalise(dull, target)
    assert abs(float(restored.mean()) - float(target.mean())) < 1.5
    assert abs(float(restored.std()) - float(target.std())) < 2.0


@given(seed=st.integers(0, 200))
def test_patch_correlation_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image0, image1 = (rng.integers(0, 256, (40, 50), np.uint8) for _ in range(2))
    keypoints0, keypoints1 = (rng.integers(4, 35, (6, 2)).astype(np.float32) for _ in range(2))
    expected = []
    for (x0, y0), (x1, y1) in zip(keypoints0.astype(int), keypoints1.astype(int), strict=True):
        patch0 = image0[y0 - 4 : y0 + 5, x0 - 4 : x0 + 5].astype(float)
        patch1 = image1[y1 - 4 : y1 + 5, x1 - 4 : x1 + 5].astype(float)
        expected.append(np.corrcoef(patch0.ravel(), patch1.ravel())[0, 1])
    np.testing.assert_allclose(patch_correlation(image0, image1, keypoints0, keypoints1), expected, atol=1e-3)
    assert patch_correlation(image0, image1, keypoints0[:0], keypoints1[:0]).shape == (0,)


def test_followed_share_tells_a_moving_camera_from_a_dissolve() -> None:
    moving = [tiny(frame) for frame in pan(WORLD, 24, step_px=4)]
    mixed = dissolve(pan(WORLD, 40, step_px=4), pan(OTHER, 40, step_px=4), 16)
    assert followed_share(moving) > 0.8
    assert followed_share([tiny(frame) for frame in mixed[20:46]]) < 0.2


@pytest.mark.shared
def test_is_same_place_joins_sparse_frames_of_a_drone(shared_data: Path) -> None:
    path = shared_data / "data" / "train_videos" / "drone_nadir_2fps_104s.mp4"
    frames = [grey for index, _, grey in grey_frames(path, number=131) if index >= 125]
    tracked = [is_same_scene(tiny(one), tiny(other)) for one, other in pairwise(frames)]
    assert False in tracked  # fast yaw: too much for tracking
    assert all(is_same_place(one, other) for one, other in pairwise(frames))

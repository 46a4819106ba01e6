"""Camera motion between samples, and the reasons to reject a shot."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.records import Uint8Array
from gim.video.config import MotionConfig
from gim.video.motion import (
    BLANK,
    FREEZE,
    SCREEN_RECORDING,
    SLIDES,
    STATIC_CAMERA,
    MotionMeter,
    flat_share,
    grid_corners,
    measure_pair,
    shrink,
    track,
)
from tests.unit.video.scenes import cross, grey_frames, make_world, pan, sample_step, stand

CONFIG = MotionConfig()
WORLD = make_world(1)


def judge(samples: list[Uint8Array], config: MotionConfig = CONFIG) -> MotionMeter:
    meter = MotionMeter(config)
    for sample in samples:
        meter.see(shrink(sample, config.analysis_long_side), flat_share(sample))
    return meter


def make_page(seed: int) -> Uint8Array:
    """A long page of text, as it is drawn on a screen."""
    rng = np.random.default_rng(seed)
    page = np.full((1500, 1280), 250, np.uint8)
    for line in range(43):
        text = "".join(chr(rng.integers(97, 122)) for _ in range(50))
        cv2.putText(page, text, (80, 60 + line * 34), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 20, 2)
    return page


def make_screen(page: Uint8Array, scroll_px: int) -> Uint8Array:
    """A window with a title bar, a list at the left, and a scrolled page."""
    screen = np.full((720, 1280), 200, np.uint8)
    screen[:60] = 90
    for line in range(10):
        cv2.putText(screen, f"item {line}", (20, 100 + line * 50), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 30, 2)
    screen[60:, 200:] = page[scroll_px : scroll_px + 660, :1080]
    return screen


@given(seed=st.integers(0, 1000), cell_px=st.integers(12, 40), height=st.integers(20, 70), width=st.integers(20, 90))
def test_grid_corners_equal_a_search_cell_by_cell(seed: int, cell_px: int, height: int, width: int) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8), (0, 0), 1.5)
    image[: height // 2, : width // 2] = 100
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(image, (3, 3), 0), 5)
    expected = []
    for top in range(0, height - cell_px + 1, cell_px):
        for left in range(0, width - cell_px + 1, cell_px):
            inside = [
                (strength[y, x], -y, -x)
                for y in range(max(top, 5), min(top + cell_px, height - 5))
                for x in range(max(left, 5), min(left + cell_px, width - 5))
            ]
            if inside and max(inside)[0] > 2e-4:
                expected.append((-max(inside)[2], -max(inside)[1]))
    assert [tuple(corner) for corner in grid_corners(image, cell_px)] == expected


@given(shift_x=st.floats(-6, 6), shift_y=st.floats(-6, 6))
def test_track_finds_a_known_shift(shift_x: float, shift_y: float) -> None:
    image0 = WORLD[100:280, 100:420]
    image1 = cv2.warpAffine(WORLD, np.float32([[1, 0, -100 + shift_x], [0, 1, -100 + shift_y]]), (320, 180))
    corners = grid_corners(image0, 20)
    corners = corners[((corners > 25) & (corners < (295, 155))).all(axis=1)]
    moved, is_tracked = track(image0, image1, corners)
    assert is_tracked.mean() > 0.9
    np.testing.assert_allclose(np.median(moved - corners, axis=0), (shift_x, shift_y), atol=0.1)


def test_track_of_nothing_is_nothing() -> None:
    moved, is_tracked = track(WORLD, WORLD, np.zeros((0, 2), np.float32))
    assert moved.shape == (0, 2)
    assert is_tracked.shape == (0,)


@pytest.mark.parametrize("shape", [(180, 320), (1080, 1920), (720, 540), (1, 5)])
def test_shrink_keeps_the_shape_and_never_enlarges(shape: tuple[int, int]) -> None:
    small = shrink(np.zeros(shape, np.uint8), 320)
    assert max(small.shape) == min(max(shape), 320)
    assert abs(small.shape[0] / small.shape[1] - shape[0] / shape[1]) < 0.01


def test_measure_pair_of_a_shift_states_it() -> None:
    frames = pan(WORLD, 2, step_px=5.0)
    pair = measure_pair(frames[0], frames[1], CONFIG)
    assert pair.displacement_px == pytest.approx(5.0, abs=0.3)
    assert pair.still_share == 0.0
    assert not pair.is_frozen


def test_measure_pair_of_one_picture_is_frozen() -> None:
    frame = pan(WORLD, 1)[0]
    noisy = np.clip(frame.astype(int) + np.random.default_rng(0).integers(-3, 4, frame.shape), 0, 255)
    assert measure_pair(frame, noisy.astype(np.uint8), CONFIG).is_frozen


def test_measure_pair_of_unrelated_pictures_is_neither_still_nor_measured() -> None:
    pair = measure_pair(WORLD[:180, :320], make_world(9)[:180, 600:920], CONFIG)
    assert pair.still_share < 0.05


@given(seed=st.integers(0, 500), height=st.integers(8, 60), width=st.integers(8, 60))
def test_flat_share_equals_the_definition(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    specks = np.where(rng.random((height, width)) < 0.02, 102, 100)
    grey = (specks + rng.integers(0, 2, specks.shape)).astype(np.uint8)  # blocks that range over 1 and over 2 or 3
    corners = [(y, x) for y in range(0, height - 7, 16) for x in range(0, width - 7, 16)]
    flat = [int(np.ptp(grey[y : y + 8, x : x + 8])) <= 1 for y, x in corners]
    assert flat_share(grey) == pytest.approx(np.mean(flat))


def test_flat_share_tells_drawings_from_photographs() -> None:
    assert flat_share(make_screen(make_page(0), 0)) > 0.5
    assert flat_share(WORLD) < 0.05
    assert flat_share(np.zeros((4, 4), np.uint8)) == 0.0


def test_verdict_on_a_travelling_camera_is_none() -> None:
    meter = judge(pan(WORLD, 30, step_px=6))
    assert meter.verdict() == ""
    assert meter.displacement_px() == pytest.approx(6.0, abs=0.3)


@pytest.mark.parametrize("jitter_px", [0.0, 0.2, 0.5])
def test_verdict_on_a_tripod_is_static(jitter_px: float) -> None:
    assert judge(stand(WORLD, 40, jitter_px=jitter_px)).verdict() == STATIC_CAMERA


@pytest.mark.parametrize("size", [(90, 140), (120, 300)])
def test_verdict_on_a_tripod_is_static_when_something_large_passes(size: tuple[int, int]) -> None:
    passing = make_world(2)[: size[0], : size[1]]
    assert judge(cross(stand(WORLD, 80), passing, first=15, step_px=12)).verdict() == STATIC_CAMERA


def test_verdict_on_a_wait_and_a_drive_is_none() -> None:
    assert judge(stand(WORLD, 40) + pan(WORLD, 20, step_px=6)).verdict() == ""


def test_verdict_on_a_long_wait_keeps_the_drive() -> None:
    samples = stand(WORLD, 150) + pan(WORLD, 25, step_px=6)
    assert judge(samples).verdict() == STATIC_CAMERA
    assert judge(samples, replace(CONFIG, min_moving_samples=20)).verdict() == ""


def test_verdict_on_a_slow_slide_is_none() -> None:
    frames = pan(WORLD, 60, step_px=0.45)  # below the threshold of a single pair, 8 % of the picture in all
    assert judge(frames).verdict() == ""


def test_verdict_on_black_frames_is_blank() -> None:
    assert judge([np.full((180, 320), 16, np.uint8)] * 10).verdict() == BLANK


def test_verdict_on_one_picture_is_freeze() -> None:
    assert judge(stand(WORLD, 1) * 20).verdict() == FREEZE


def test_verdict_on_pages_shown_one_after_another_is_slides() -> None:
    pages = [make_page(seed)[:720] for seed in (0, 1, 2)]
    assert judge([page for page in pages for _ in range(12)]).verdict() == SLIDES


@pytest.mark.parametrize("is_windowed", [True, False])
def test_verdict_on_scrolled_text_is_screen_recording(is_windowed: bool) -> None:
    page = make_page(0)
    samples = [make_screen(page, 8 * i) if is_windowed else page[8 * i : 8 * i + 720] for i in range(25)]
    assert judge(samples).verdict() == SCREEN_RECORDING


def test_see_says_whether_the_picture_moved() -> None:
    meter = MotionMeter(CONFIG)
    seen = [meter.see(frame, 0.0) for frame in [*stand(WORLD, 3, jitter_px=0.0), *pan(WORLD, 2, start=60)]]
    assert seen == [True, False, False, True, True]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("phone_park_6s", 4),
        ("gopro_walk_10s", 4),
        ("city_dashcam_60s", 5),
        ("kitti06_5s", 5),
        ("static_camera_30s", 30),
    ],
)
def test_verdict_on_real_videos(shared_data: Path, name: str, seconds: int) -> None:
    path = shared_data / "data" / "videos" / f"{name}.mp4"
    step = sample_step(path)
    samples = [grey for _, _, grey in grey_frames(path, every=step, number=5 * seconds * step)]
    assert judge(samples).verdict() == (STATIC_CAMERA if "static" in name else "")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["table_14s", "hallway_21s", "highway_watermark_36s", "drone_nadir_2fps_104s"])
def test_verdict_on_slow_and_sparse_videos_is_none(shared_data: Path, name: str) -> None:
    path = shared_data / "data" / "train_videos" / f"{name}.mp4"
    step = sample_step(path)
    assert judge([grey for _, _, grey in grey_frames(path, every=step, number=20 * step)]).verdict() == ""

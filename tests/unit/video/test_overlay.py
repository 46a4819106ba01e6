"""Static overlays: found where they are burned in, nowhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.records import BoolArray, Float32Array, Uint8Array
from gim.video.config import OverlayConfig
from gim.video.motion import shrink
from gim.video.overlay import OverlayAccumulator, find_overlay, gradient_votes
from tests.unit.video.scenes import grey_frames, make_world, pan, sample_step

CONFIG = OverlayConfig()


def accumulate(samples: list[Uint8Array]) -> OverlayAccumulator:
    accumulator = OverlayAccumulator(CONFIG)
    for sample in samples:
        accumulator.add(shrink(sample, CONFIG.analysis_width))
    return accumulator


def draw_overlay(shape: tuple[int, ...], kind: str) -> tuple[Float32Array, Float32Array]:
    """Opacity and grey value of a logo, a line of burned-in text, or a station's box."""
    height, width = shape
    scale = height / 480
    drawn, value = np.zeros(shape, np.uint8), np.full(shape, 255.0, np.float32)
    if kind == "box":
        right, top = width - int(20 * scale), int(20 * scale)
        cv2.rectangle(drawn, (right - int(90 * scale), top), (right, top + int(60 * scale)), 1, -1)
        centre = (right - int(45 * scale), top + int(30 * scale))
        value = np.asarray(cv2.circle(np.zeros(shape, np.float32), centre, int(20 * scale), 255, -1))
    elif kind == "logo":
        place = (int(20 * scale), int(460 * scale))
        cv2.putText(drawn, "CHANNEL 4", place, cv2.FONT_HERSHEY_DUPLEX, scale, 1, max(1, round(2 * scale)))
    else:
        place = (int(20 * scale), int(468 * scale))
        text = "2026-01-02 12:34 51.049 -114.05"
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, 1, max(1, round(scale)))
    return drawn.astype(np.float32), value.astype(np.float32)


def burn(samples: list[Uint8Array], opacity: Float32Array, value: Float32Array) -> list[Uint8Array]:
    return [np.clip(s * (1 - opacity) + value * opacity, 0, 255).astype(np.uint8) for s in samples]


def edges_of(opacity: Float32Array) -> BoolArray:
    drawn = (opacity > 0).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(drawn, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0)


def far_from(opacity: Float32Array, distance_px: int = 20) -> BoolArray:
    kernel = np.ones((2 * distance_px + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate((opacity > 0).astype(np.uint8), kernel) == 0)


@given(seed=st.integers(0, 500), number=st.integers(1, 5))
def test_coherence_equals_the_definition(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (9, 11), np.uint8) for _ in range(number)]
    votes = []
    for image in images:
        padded = np.pad(image.astype(np.float64), 1, mode="reflect")
        smooth_x = 3 * padded[:-2] + 10 * padded[1:-1] + 3 * padded[2:]
        smooth_y = 3 * padded[:, :-2] + 10 * padded[:, 1:-1] + 3 * padded[:, 2:]
        gradient = np.stack([smooth_x[:, 2:] - smooth_x[:, :-2], smooth_y[2:] - smooth_y[:-2]]) / 32
        votes.append(gradient / (np.hypot(*gradient) + 3.0))
    accumulator = OverlayAccumulator(CONFIG)
    for image in images:
        accumulator.add(image)
    np.testing.assert_allclose(accumulator.coherence(), np.hypot(*np.mean(votes, axis=0)), atol=1e-5)


def test_gradient_votes_are_at_most_one() -> None:
    image = np.random.default_rng(0).integers(0, 2, (50, 50), np.uint8) * 255
    assert 0.9 < np.hypot(*gradient_votes(image, np.empty((3, 50, 50), np.float32))).max() < 1.0


def test_find_overlay_closes_gaps_and_drops_specks_and_weak_regions() -> None:
    coherence = np.zeros((100, 200), np.float32)
    coherence[20:30, 20:30] = coherence[20:30, 36:46] = 0.95  # two letters, a gap of 6
    coherence[70:73, 20:23] = 0.95  # a speck
    coherence[50:80, 120:180] = 0.5  # a far road: weak all over
    found = find_overlay(coherence, 100, CONFIG)
    assert found[20:30, 20:46].all()
    assert not found[60:].any()
    assert not found[:, 100:].any()


def test_mask_of_a_moving_scene_without_overlay_is_none() -> None:
    assert accumulate(pan(make_world(3), 40, step_px=7)).mask(320, 180) is None


def test_mask_of_too_few_samples_is_none() -> None:
    world = make_world(3)
    opacity, value = draw_overlay((180, 320), "box")
    number = CONFIG.min_samples
    samples = burn(pan(world, number, step_px=7), opacity, value)
    assert accumulate(samples[:-1]).mask(320, 180) is None
    assert accumulate(samples).mask(320, 180) is not None


def test_mask_of_a_picture_that_never_moves_is_not_believed() -> None:
    world = make_world(3)[:180, :320]
    assert accumulate([world] * 20).mask(320, 180) is None


def test_mask_has_the_size_of_the_frame_and_two_values() -> None:
    opacity, value = draw_overlay((180, 320), "box")
    mask = accumulate(burn(pan(make_world(3), 30, step_px=7), opacity, value)).mask(1280, 720)
    assert mask is not None
    assert mask.shape == (720, 1280)
    assert set(np.unique(mask)) == {0, 255}


def test_mask_finds_letterbox_bars_and_the_frame_of_a_picture_in_picture() -> None:
    inside = pan(make_world(4), 30, step_px=5)
    samples = pan(make_world(3), 30, step_px=7)
    for sample, other in zip(samples, inside, strict=True):
        sample[:20] = sample[-20:] = 0
        sample[100:150, 200:280] = 255
        sample[103:147, 203:277] = other[:44, :74]
    mask = accumulate(samples).mask(320, 180)
    assert mask is not None
    assert (mask[19:21] == 0).mean() > 0.95
    assert (mask[100:103, 200:280] == 0).all()
    assert (mask[115:135, 220:260] == 255).all()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("kind", "strength"), [("logo", 1.0), ("logo", 0.5), ("text", 1.0), ("box", 1.0), ("box", 0.5)]
)
@pytest.mark.parametrize("name", ["table_14s", "shaky_plaza_15s"])
def test_mask_covers_what_is_burned_into_a_real_video(shared_data: Path, name: str, kind: str, strength: float) -> None:
    path = shared_data / "data" / "train_videos" / f"{name}.mp4"
    step = sample_step(path)
    samples = [grey for _, _, grey in grey_frames(path, every=step, number=30 * step)]
    height, width = samples[0].shape
    opacity, value = draw_overlay((height, width), kind)
    mask = accumulate(burn(samples, strength * opacity, value)).mask(width, height)
    assert mask is not None
    assert (mask[edges_of(opacity)] == 0).mean() >= 0.95
    assert (mask[far_from(opacity)] == 0).mean() < 0.005


@pytest.mark.shared
def test_mask_of_the_dashcam_covers_its_text_and_little_else(shared_data: Path) -> None:
    path = shared_data / "data" / "videos" / "city_dashcam_60s.mp4"
    mask = accumulate([grey for _, _, grey in grey_frames(path, every=8, number=320)]).mask(1280, 720)
    assert mask is not None
    assert (mask[700:718, 10:840] == 0).mean() > 0.95  # GARMIN. 2017-05-30 21:07:25 51.04919 -114.05766 23 KM/H
    assert (mask[:500] == 0).mean() < 0.01
    assert (mask == 0).mean() < 0.12


@pytest.mark.shared
def test_mask_of_the_motorway_covers_its_watermark_and_little_else(shared_data: Path) -> None:
    path = shared_data / "data" / "train_videos" / "highway_watermark_36s.mp4"
    mask = accumulate([grey for _, _, grey in grey_frames(path, every=6, number=420)]).mask(854, 480)
    assert mask is not None
    assert (mask[456:468, 742:842] == 0).mean() > 0.95  # MY LITTLE ISRAEL
    assert (mask[:350] == 0).mean() < 0.02
    assert (mask == 0).mean() < 0.06


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "limit"),
    [("videos/kitti06_5s", 0.05), ("train_videos/kitti01_5s", 0.05), ("videos/gopro_walk_10s", 0.02)],
)
def test_mask_of_forward_motion_leaves_the_vanishing_point(shared_data: Path, name: str, limit: float) -> None:
    path = shared_data / "data" / f"{name}.mp4"
    samples = [grey for _, _, grey in grey_frames(path, every=sample_step(path), number=200)]
    height, width = samples[0].shape
    mask = accumulate(samples).mask(width, height)
    assert mask is None or (mask == 0).mean() < limit

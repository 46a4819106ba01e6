"""Shots, motion and overlays of a whole film, as the decoder sees them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.records import Shot, Uint8Array
from gim.video.analysis import VideoAnalyser, name_slides
from gim.video.config import OverlayConfig, VideoConfig
from tests.unit.video.scenes import dissolve, grey_frames, make_world, pan, sample_step, stand, tiny

WORLDS = [make_world(seed) for seed in range(1, 4)]
Result = tuple[list[Shot], list[tuple[int, Uint8Array]]]


def analyse(frames: list[Uint8Array], *, config: VideoConfig | None = None, fps: float = 30.0, step: int = 6) -> Result:
    analyser = VideoAnalyser(config or VideoConfig(), frames[0].shape[1], frames[0].shape[0])
    overlays = []
    for index, frame in enumerate(frames):
        analyser.see_frame(index, index / fps, tiny(frame))
        if index % step == 0:
            analyser.see_sample(index // step, index, index / fps, frame)
        overlays += analyser.closed_overlays()
    shots = analyser.finish(len(frames) - 1, (len(frames) - 1) / fps)
    return shots, overlays + analyser.closed_overlays()


def burn_in(frames: list[Uint8Array]) -> list[Uint8Array]:
    burned = [frame.copy() for frame in frames]
    for frame in burned:
        cv2.putText(frame, "LOGO", (10, 30), cv2.FONT_HERSHEY_DUPLEX, 1.0, 255, 2)
    return burned


def test_finish_describes_each_shot() -> None:
    shots, overlays = analyse(pan(WORLDS[0], 90) + stand(WORLDS[1], 90) + pan(WORLDS[2], 12))
    assert [shot.rejected for shot in shots] == ["", "static_camera", "short_shot"]
    assert [(shot.first_frame, shot.last_frame) for shot in shots] == [(0, 89), (90, 179), (180, 191)]
    assert [(shot.first_sample, shot.num_samples) for shot in shots] == [(0, 15), (15, 15), (30, 2)]
    assert shots[0].motion_px == pytest.approx(18.0, abs=1.0)
    assert shots[1].motion_px < 0.6
    assert shots[1].start_seconds == pytest.approx(3.0)
    assert overlays == []


def test_finish_without_frames_is_empty() -> None:
    assert VideoAnalyser(VideoConfig(), 320, 180).finish(-1, 0.0) == []


def test_finish_rejects_a_single_sample_as_short() -> None:
    shots, _ = analyse(pan(WORLDS[0], 1))
    assert [shot.rejected for shot in shots] == ["short_shot"]


def test_samples_in_a_dissolve_belong_to_a_rejected_shot() -> None:
    shots, _ = analyse(dissolve(pan(WORLDS[0], 80, step_px=2), pan(WORLDS[1], 90, step_px=2), 24))
    assert [shot.rejected for shot in shots] == ["", "transition", ""]
    used = [range(shot.first_frame, shot.last_frame + 1) for shot in shots if not shot.rejected]
    assert not any(index in frames for index in range(58, 78) for frames in used)


def test_closed_overlays_belong_to_used_shots_and_fill_the_frame() -> None:
    config = VideoConfig(overlay=replace(OverlayConfig(), min_samples=10))
    frames = pan(WORLDS[0], 60) + burn_in(pan(WORLDS[1], 90)) + burn_in(stand(WORLDS[2], 90))
    shots, overlays = analyse(frames, config=config)
    assert [index for index, _ in overlays] == [1]
    mask = overlays[0][1]
    assert mask.shape == (180, 320)
    assert mask.dtype == np.uint8
    assert shots[1].overlay_share == pytest.approx((mask == 0).mean())
    assert [shot.overlay_share > 0 for shot in shots] == [False, True, False]
    assert (mask[10:28, 14:80] == 0).mean() > 0.95


def test_closed_overlays_are_none_when_disabled() -> None:
    config = VideoConfig(overlay=replace(OverlayConfig(), enabled=False))
    assert analyse(burn_in(pan(WORLDS[0], 120)), config=config)[1] == []


def test_an_overlay_is_handed_out_before_the_film_ends() -> None:
    frames = burn_in(pan(WORLDS[0], 90)) + pan(WORLDS[1], 120)
    analyser = VideoAnalyser(VideoConfig(), 320, 180)
    for index, frame in enumerate(frames):
        analyser.see_frame(index, index / 30, tiny(frame))
        if index % 6 == 0:
            analyser.see_sample(index // 6, index, index / 30, frame)
    assert [shot for shot, _ in analyser.closed_overlays()] == [0]
    assert analyser.closed_overlays() == []


def test_see_gap_ends_the_shot_before_it() -> None:
    analyser = VideoAnalyser(VideoConfig(), 320, 180)
    for index, frame in enumerate(pan(WORLDS[0], 80)):
        if index == 40:
            analyser.see_gap(index)
        analyser.see_frame(index, index / 30, tiny(frame))
        if index % 6 == 0:
            analyser.see_sample(index // 6, index, index / 30, frame)
    shots = analyser.finish(79, 79 / 30)
    assert [(shot.first_frame, shot.last_frame, shot.num_samples) for shot in shots] == [(0, 39, 7), (40, 79, 7)]


def test_the_same_film_gives_the_same_bytes() -> None:
    frames = burn_in(pan(WORLDS[0], 60)) + burn_in(pan(WORLDS[1], 90))
    (shots0, overlays0), (shots1, overlays1) = analyse(frames), analyse(frames)
    assert shots0 == shots1
    assert [mask.tobytes() for _, mask in overlays0] == [mask.tobytes() for _, mask in overlays1]


@settings(max_examples=6)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), step=st.integers(1, 8))
def test_every_sample_belongs_to_exactly_one_shot(lengths: list[int], step: int) -> None:
    frames = [
        frame for i, length in enumerate(lengths) for frame in pan(WORLDS[i % 3], length, start=20 + 200 * (i // 3))
    ]
    shots, _ = analyse(frames, step=step)
    samples = [sample for shot in shots for sample in range(shot.first_sample, shot.first_sample + shot.num_samples)]
    assert samples == list(range(len(range(0, len(frames), step))))
    assert [shot.index for shot in shots] == list(range(len(shots)))
    for shot in shots:
        first, last = shot.first_sample * step, (shot.first_sample + shot.num_samples - 1) * step
        assert shot.first_frame <= first <= last <= shot.last_frame


def test_pending_samples_do_not_grow_with_the_film() -> None:
    analyser = VideoAnalyser(VideoConfig(), 320, 180)
    most = 0
    for index, frame in enumerate(pan(WORLDS[0], 300, step_px=2.5)):
        analyser.see_frame(index, index / 30, tiny(frame))
        if index % 6 == 0:
            analyser.see_sample(index // 6, index, index / 30, frame)
            most = max(most, len(analyser._pending))
    assert most <= 12


def test_finish_calls_a_black_film_blank() -> None:
    shots, _ = analyse([np.full((180, 320), 16, np.uint8)] * 60)
    assert [(shot.first_frame, shot.last_frame, shot.rejected) for shot in shots] == [(0, 59, "blank")]


def test_name_slides_of_frozen_neighbours() -> None:
    shots = [
        Shot(i, i, i, 0.0, 0.0, i, 1, rejected=reason)
        for i, reason in enumerate(["freeze", "", "freeze", "freeze", "static_camera", "freeze", "slides"])
    ]
    named = [shot.rejected for shot in name_slides(shots)]
    assert named == ["freeze", "", "slides", "slides", "static_camera", "slides", "slides"]


@pytest.mark.shared
def test_analysis_of_a_static_camera_says_why(shared_data: Path) -> None:
    path = shared_data / "data" / "videos" / "static_camera_30s.mp4"
    shots, overlays = analyse([grey for _, _, grey in grey_frames(path)], fps=12.5, step=sample_step(path))
    assert [shot.rejected for shot in shots] == ["static_camera"]
    assert overlays == []


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["train_videos/flour_bag_3fps_93s", "train_videos/shaky_fountain_19s", "videos/gopro_walk_10s"]
)
def test_analysis_of_a_moving_camera_is_one_used_shot(shared_data: Path, name: str) -> None:
    path = shared_data / "data" / f"{name}.mp4"
    step = sample_step(path)
    frames = [grey for _, _, grey in grey_frames(path, number=150)]
    shots, overlays = analyse(frames, fps=5.0 * step, step=step)
    assert [(shot.rejected, shot.num_samples) for shot in shots] == [("", len(range(0, len(frames), step)))]
    assert overlays == []

"""Cuts, fades and dissolves: found where they are, and nowhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.records import Uint8Array
from gim.video.boundaries import is_faded, tiny_frame
from gim.video.config import ShotConfig
from gim.video.dissolves import gradient_dip, mixing_share
from gim.video.shots import ShotSplitter, Span
from tests.unit.video.scenes import cross, dissolve, fade, grey_frames, make_world, pan, sample_step, stand, tiny

CONFIG = ShotConfig()
WORLDS = [make_world(seed) for seed in range(1, 6)]


def split(frames: list[Uint8Array], *, fps: float = 30.0, gaps: tuple[int, ...] = ()) -> list[Span]:
    """Spans of a film, with a sample five times a second."""
    splitter = ShotSplitter(CONFIG)
    step = max(1, round(fps / 5))
    for index, frame in enumerate(frames):
        if index in gaps:
            splitter.close()
        splitter.see_frame(index, index / fps, tiny(frame))
        if index % step == 0:
            splitter.see_sample(index, frame)
    splitter.close()
    return splitter.take_spans()


def bounds(spans: list[Span]) -> list[tuple[int, int]]:
    return [(span.first_frame, span.last_frame) for span in spans]


def test_split_of_one_shot_is_one_span() -> None:
    assert split(pan(WORLDS[0], 60)) == [Span(0, 59, 0.0, 59 / 30)]


def test_split_finds_a_cut_to_the_frame() -> None:
    assert bounds(split(pan(WORLDS[0], 40) + pan(WORLDS[1], 50))) == [(0, 39), (40, 89)]


def test_split_finds_cuts_in_quick_motion() -> None:
    films = [pan(world, 40, step_px=15) for world in WORLDS[:3]]
    assert bounds(split(films[0] + films[1] + films[2])) == [(0, 39), (40, 79), (80, 119)]


def test_split_finds_a_cut_near_both_ends() -> None:
    assert bounds(split(pan(WORLDS[0], 9) + pan(WORLDS[1], 60))) == [(0, 8), (9, 68)]
    assert bounds(split(pan(WORLDS[0], 60) + pan(WORLDS[1], 8))) == [(0, 59), (60, 67)]


def test_split_finds_cuts_of_sparse_films() -> None:
    assert bounds(split(pan(WORLDS[0], 20, step_px=30) + pan(WORLDS[1], 20, step_px=30), fps=3.0)) == [
        (0, 19),
        (20, 39),
    ]


def test_split_calls_a_span_of_a_few_frames_transition() -> None:
    spans = split(pan(WORLDS[0], 40) + pan(WORLDS[1], 4) + pan(WORLDS[2], 40))
    assert [span.is_transition for span in spans if span.last_frame - span.first_frame < 8] == [True] * (len(spans) - 2)
    assert spans[0].last_frame <= 39
    assert spans[-1].first_frame >= 44


@pytest.mark.parametrize("number", [8, 14, 24, 36])
def test_split_puts_a_dissolve_into_a_transition(number: int) -> None:
    spans = split(dissolve(pan(WORLDS[0], 70, step_px=1), pan(WORLDS[1], 90, step_px=1), number))
    assert [span.is_transition for span in spans] == [False, True, False]
    first, last = 70 - number, 69  # mixed frames
    assert spans[1].first_frame <= first + 2
    assert spans[1].last_frame >= last - 2
    assert spans[1].first_frame >= first - 25
    assert spans[1].last_frame <= last + 25


@pytest.mark.parametrize("colour", [0.0, 16.0, 255.0])
def test_split_puts_a_fade_into_a_transition(colour: float) -> None:
    before = fade(pan(WORLDS[0], 60, step_px=1), 15, colour=colour)
    after = fade(pan(WORLDS[1], 60, step_px=1)[::-1], 15, colour=colour)[::-1]
    spans = split(before + after)
    assert [span.is_transition for span in (spans[0], spans[-1])] == [False, False]
    assert all(span.is_transition for span in spans[1:-1])
    assert 40 <= spans[1].first_frame <= 46
    assert 73 <= spans[-2].last_frame <= 90


def test_split_takes_black_at_both_ends_off() -> None:
    black = [np.full((180, 320), 16, np.uint8)] * 20
    spans = split(black + pan(WORLDS[0], 60) + black)
    used = [span for span in spans if not span.is_transition]
    assert len(used) == 1
    assert 20 <= used[0].first_frame <= 23
    assert used[0].last_frame == 79


def test_split_keeps_long_black_as_a_shot_of_its_own() -> None:
    spans = split(pan(WORLDS[0], 40) + [np.full((180, 320), 16, np.uint8)] * 150 + pan(WORLDS[1], 40))
    assert [span.is_transition for span in spans] == [False, False, False]
    assert spans[1].first_frame == 40


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("brightness", [255, 0])
def test_split_does_not_cut_at_a_flash(number: int, brightness: int) -> None:
    frames = pan(WORLDS[0], 80)
    for i in range(40, 40 + number):
        frames[i] = np.clip(0.1 * frames[i] + 0.9 * brightness, 0, 255).astype(np.uint8)
    assert len(split(frames)) == 1


def test_split_does_not_cut_at_an_exposure_jump() -> None:
    frames = pan(WORLDS[0], 80)
    assert len(split(frames[:40] + [np.clip(0.6 * f + 90, 0, 255).astype(np.uint8) for f in frames[40:]])) == 1


def test_split_does_not_cut_when_something_large_passes() -> None:
    assert len(split(cross(pan(WORLDS[0], 90, step_px=1), WORLDS[1][:110, :200], first=20, step_px=16))) == 1


def test_split_does_not_cut_in_a_shaking_or_whipping_pan() -> None:
    rng = np.random.default_rng(0)
    world = make_world(7, 3000, 500)
    frames = [pan(world, 1, start=int(40 + rng.integers(0, 30)))[0] for _ in range(40)]
    frames += pan(world, 60, step_px=35, start=60)
    assert len(split(frames)) == 1


def test_split_does_not_cut_in_fresh_noise() -> None:
    assert len(split(stand(WORLDS[0], 60, jitter_px=1.0))) == 1


def test_split_finds_a_fade_under_a_logo() -> None:
    films = fade(pan(WORLDS[0], 60, step_px=1), 15) + fade(pan(WORLDS[1], 60, step_px=1)[::-1], 15)[::-1]
    for frame in films:
        cv2.putText(frame, "NEWS", (10, 30), cv2.FONT_HERSHEY_DUPLEX, 0.6, 255, 1)
    spans = split(films)
    assert [span.is_transition for span in spans] == [False, *[True] * (len(spans) - 2), False]
    assert len(spans) >= 3


def test_split_finds_a_cut_under_a_logo() -> None:
    films = [frame.copy() for world in WORLDS[:2] for frame in pan(world, 45)]
    for frame in films:
        cv2.putText(frame, "CHANNEL 4", (10, 30), cv2.FONT_HERSHEY_DUPLEX, 0.8, 255, 2)
        cv2.putText(frame, "2026-01-02 12:34:56 51.049 N", (10, 170), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    assert bounds(split(films)) == [(0, 44), (45, 89)]


def test_split_ends_a_span_at_a_hole_in_time() -> None:
    assert bounds(split(pan(WORLDS[0], 60), gaps=(25,))) == [(0, 24), (25, 59)]


@settings(max_examples=8)
@given(data=st.data())
def test_spans_cover_every_frame_once_in_order(data: st.DataObject) -> None:
    frames: list[Uint8Array] = []
    for world in data.draw(st.permutations(WORLDS))[:3]:
        piece = pan(world, data.draw(st.integers(20, 45)), step_px=2)
        kind = data.draw(st.sampled_from(["cut", "dissolve", "fade"]))
        if frames and kind == "dissolve":
            frames = dissolve(frames, piece, data.draw(st.integers(4, 14)))
        else:
            frames = (fade(frames, 6) if frames and kind == "fade" else frames) + piece
    gap = data.draw(st.integers(1, len(frames) - 1))
    spans = split(frames, gaps=(gap,))
    covered = [index for span in spans for index in range(span.first_frame, span.last_frame + 1)]
    assert covered == list(range(len(frames)))
    assert gap in [span.first_frame for span in spans]


def test_settled_index_never_takes_a_frame_back() -> None:
    films = fade(pan(WORLDS[0], 60, step_px=1), 12) + dissolve(pan(WORLDS[1], 60), pan(WORLDS[2], 60), 20)
    splitter, certain, spans = ShotSplitter(CONFIG), {}, []
    for index, frame in enumerate(films):
        splitter.see_frame(index, index / 30, tiny(frame))
        if index % 6 == 0:
            splitter.see_sample(index, frame)
        spans += splitter.take_spans()
        for settled in range(splitter.settled_index() + 1):
            certain.setdefault(settled, len(spans))
    splitter.close()
    spans += splitter.take_spans()
    assert len(spans) >= 4
    for settled, place in certain.items():
        assert any(s.first_frame <= settled <= s.last_frame for s in spans[: place + 1])


def test_mixing_share_of_a_mix_is_its_share_and_of_a_pan_none() -> None:
    frames = [tiny_frame(i, 0.0, tiny(pan(world, 1)[0]), None).thumb for i, world in enumerate(WORLDS[:2])]
    shares = np.array([0.0, 0.2, 0.45, 0.8, 1.0], np.float32)
    window = np.stack([(1 - share) * frames[0] + share * frames[1] for share in shares])
    assert mixing_share(window, CONFIG) == pytest.approx(0.45, abs=1e-3)
    moving = [tiny_frame(i, 0.0, tiny(f), None).thumb for i, f in enumerate(pan(WORLDS[0], 5, step_px=60))]
    assert mixing_share(np.stack(moving), CONFIG) is None


def test_gradient_dip_of_a_mix_is_a_half_and_of_a_pan_one() -> None:
    before, after = pan(WORLDS[0], 1)[0], pan(WORLDS[1], 1)[0]
    middle = ((before.astype(float) + after) / 2).astype(np.uint8)
    assert gradient_dip(before, middle, after, 0.5) == pytest.approx(0.5, abs=0.06)
    before, middle, after = (WORLDS[0][40:220, left : left + 320] for left in (100, 110, 120))
    assert gradient_dip(before, middle, after, 0.5) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("value", "expected"), [(0, True), (16, True), (120, False), (250, True)])
def test_is_faded_for_black_and_white_only(value: int, expected: bool) -> None:
    frame = tiny_frame(0, 0.0, np.full((90, 160), value, np.uint8), None)
    assert is_faded(frame, CONFIG) is expected


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("train_videos/bedroom_scan_27s", 130),  # quick, with a blank wall
        ("train_videos/drone_nadir_2fps_104s", 209),
        ("train_videos/bottle_floor_3fps_38s", 113),
        ("train_videos/shaky_sculpture_16s", 200),
        ("train_videos/kitti05_6s", 60),
        ("videos/static_camera_30s", 377),  # cars fill the picture
    ],
)
def test_split_of_real_shots_is_one_span(shared_data: Path, name: str, number: int) -> None:
    path = shared_data / "data" / f"{name}.mp4"
    step = sample_step(path)
    splitter = ShotSplitter(CONFIG)
    for index, seconds, grey in grey_frames(path, number=number):
        splitter.see_frame(index, seconds, tiny(grey))
        if index % step == 0:
            splitter.see_sample(index, grey)
    splitter.close()
    assert len(splitter.take_spans()) == 1

"""A video through the confined child process: what comes out, in what order, and every way it can end."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gim.codecs import decode_image, encode_png
from gim.errors import ConfigError, GimError, InvalidInput, Unavailable, UnsafeInput
from gim.video.config import DecodeLimits, SamplingConfig, VideoConfig
from gim.video.decode import (
    DecodeProgress,
    FrameSampled,
    OverlayFound,
    SampleEvent,
    VideoDecoded,
    VideoInfo,
    sample_video,
)
from tests.unit.video.media import numbered_frame, read_number, rotate_mp4, write_png_frames, write_video


def run(
    path: Path, config: VideoConfig | None = None, threads: int = 0
) -> tuple[VideoInfo, list[FrameSampled], VideoDecoded]:
    events = list(sample_video(path, config or VideoConfig(), threads=threads))
    first, last = events[0], events[-1]
    assert isinstance(first, VideoInfo)
    assert isinstance(last, VideoDecoded)
    samples = [event for event in events if isinstance(event, FrameSampled)]
    assert [event.sample for event in samples] == list(range(len(samples)))
    assert [event.frame_index for event in samples] == last.frame_indices
    assert [event.time_seconds for event in samples] == last.frame_times
    between = (FrameSampled, OverlayFound, DecodeProgress)
    assert all(isinstance(event, between) for event in events[1:-1])
    return first, samples, last


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_gone(pid: int, timeout_seconds: float = 20) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def long_film(tmp_path: Path) -> Path:
    """Long enough that its child is still busy when a test turns on it."""
    return write_video(tmp_path / "film.mkv", 250, size=(320, 240), codec="mpeg4")


@pytest.fixture
def started(long_film: Path) -> Iterator[Callable[[], tuple[Iterator[SampleEvent], int]]]:
    """Starts decoding, and gives the events after the first, and the child's process id."""
    opened: list[Iterator[SampleEvent]] = []

    def start() -> tuple[Iterator[SampleEvent], int]:
        before = set(children_of(os.getpid()))
        config = VideoConfig(sampling=SamplingConfig(interval_seconds=0.01))
        events = sample_video(long_film, config, threads=1)
        opened.append(events)
        assert isinstance(next(events), VideoInfo)
        (pid,) = set(children_of(os.getpid())) - before
        return events, pid

    yield start
    for events in opened:
        events.close()  # type: ignore[attr-defined]


def test_sample_video_of_a_rotated_film_stores_the_frames_it_names(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 90)
    rotate_mp4(path, (0, 1, -1, 0))
    info, samples, last = run(path)
    assert last.frame_indices == list(range(0, 90, 6))
    assert last.frame_times == pytest.approx(np.arange(15) * 0.2)
    for event in samples:
        image = decode_image(event.jpeg)
        assert image.shape == (160, 120, 3) == (info.height, info.width, 3)
        assert read_number(np.rot90(image)) == event.frame_index
    assert (last.num_frames, last.num_damaged, last.rejected) == (90, 0, "")
    assert last.duration_seconds == pytest.approx(3.0)
    assert [(shot.first_frame, shot.last_frame) for shot in last.shots] == [(0, 89)]
    assert [(segment.first_sample, segment.num_samples) for segment in last.segments] == [(0, 15)]
    assert set(last.seconds) == {"decode", "analysis", "encode"}


def test_sample_video_is_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 60, size=(320, 240))
    results = []
    for threads in (1, 2, 5):
        info, samples, last = run(path, threads=threads)
        results.append((info, samples, dataclasses.replace(last, seconds={})))
    assert results[0] == results[1] == results[2]


def test_sample_video_trimmed_keeps_the_indices_of_the_source(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 90)
    sampling = SamplingConfig(interval_seconds=0.2, trim_start_seconds=0.5, trim_end_seconds=1.0)
    _, samples, last = run(path, VideoConfig(sampling=sampling))
    assert last.frame_indices == list(range(15, 60, 6))
    assert [read_number(decode_image(event.jpeg)) for event in samples] == last.frame_indices
    assert last.frame_times[0] == pytest.approx(0.5)
    assert last.num_frames == 45
    assert last.duration_seconds == pytest.approx(1.5)
    assert (last.shots[0].first_frame, last.shots[-1].last_frame) == (15, 59)


def test_sample_video_never_joins_a_shot_across_a_hole_in_time(tmp_path: Path) -> None:
    ticks = [*range(0, 2000, 33), *range(9000, 11000, 33)]
    _, _, last = run(write_video(tmp_path / "film.mkv", len(ticks), ticks=ticks))
    edge = len(range(0, 2000, 33))
    assert [(shot.first_frame, shot.last_frame) for shot in last.shots] == [(0, edge - 1), (edge, len(ticks) - 1)]
    assert len(last.segments) == 2


def test_sample_video_where_the_size_changes_ends_the_shot_and_keeps_the_size(tmp_path: Path) -> None:
    large = [encode_png(numbered_frame(index, 320, 240)) for index in range(12)]
    small = [encode_png(numbered_frame(index, 160, 120)) for index in range(12, 24)]
    path = write_png_frames(tmp_path / "film.mov", (320, 240), large + small)
    _, samples, last = run(path)
    assert {decode_image(event.jpeg).shape for event in samples} == {(240, 320, 3)}
    assert [read_number(decode_image(event.jpeg)) for event in samples] == list(range(0, 24, 2))
    assert [(shot.first_frame, shot.first_sample, shot.num_samples) for shot in last.shots] == [(0, 0, 6), (12, 6, 6)]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "film.mp4: no such file"),
        (lambda path: path.mkdir(), "film.mp4: a directory, not a video file"),
        (os.mkfifo, "film.mp4: not a regular file"),
        (lambda path: path.write_bytes(b""), "film.mp4: the file is empty (0 bytes)"),
    ],
)
def test_sample_video_of_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None], line: str) -> None:
    make(tmp_path / "film.mp4")
    with pytest.raises(InvalidInput) as caught:
        list(sample_video(tmp_path / "film.mp4", VideoConfig()))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("sampling", "error", "line"),
    [
        (
            SamplingConfig(trim_start_seconds=1, trim_end_seconds=2),
            InvalidInput,
            "holiday: trimming 1 s at the start and 2 s at the end leaves nothing of its 1.0 s",
        ),
        (
            SamplingConfig(trim_start_seconds=0.95, trim_end_seconds=0.02),
            InvalidInput,
            "holiday: one frame can be used, needs at least two frames",
        ),
        (
            SamplingConfig(trim_start_seconds=-1),
            ConfigError,
            "sampling.trim_start_seconds and trim_end_seconds must not be negative",
        ),
    ],
)
def test_sample_video_trimmed_to_nothing_is_refused(
    tmp_path: Path, sampling: SamplingConfig, error: type[GimError], line: str
) -> None:
    path = write_video(tmp_path / "film.mp4", 30)
    with pytest.raises(error) as caught:
        list(sample_video(path, VideoConfig(sampling=sampling), name="holiday"))
    assert str(caught.value) == line


def test_sample_video_of_a_file_that_needs_too_much_memory_names_the_setting(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mkv", 3, size=(2560, 1440), codec="mpeg4")
    with pytest.raises(UnsafeInput) as caught:
        list(sample_video(path, VideoConfig(limits=DecodeLimits(max_memory_bytes=20_000_000))))
    assert str(caught.value) == "film.mkv: decoding needs more memory than limits.max_memory_bytes=20000000"


@pytest.mark.parametrize(
    ("sent", "error", "line"),
    [
        (signal.SIGSEGV, InvalidInput, "film.mkv: the decoder crashed on it (SIGSEGV)"),
        (signal.SIGXCPU, UnsafeInput, "film.mkv: decoding needs more processor time than limits.max_seconds=21600"),
        (
            signal.SIGKILL,
            Unavailable,
            "film.mkv: the decoding process was ended from outside (signal 9); try again",
        ),
    ],
)
def test_sample_video_whose_child_dies_says_how(
    started: Callable[[], tuple[Iterator[SampleEvent], int]],
    sent: signal.Signals,
    error: type[GimError],
    line: str,
) -> None:
    events, pid = started()
    os.kill(pid, sent)
    with pytest.raises(error) as caught:
        list(events)
    assert str(caught.value) == line
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (DecodeLimits(max_seconds=0.05), "film.mp4: decoding took longer than limits.max_seconds=0.05"),
        (DecodeLimits(stall_seconds=0.05), "film.mp4: the decoder gave nothing for limits.stall_seconds=0.05"),
    ],
)
def test_sample_video_whose_child_is_too_slow_is_ended(tmp_path: Path, limits: DecodeLimits, line: str) -> None:
    path = write_video(tmp_path / "film.mp4", 2)  # starting the child alone takes longer
    before = children_of(os.getpid())
    with pytest.raises(UnsafeInput) as caught:
        list(sample_video(path, VideoConfig(limits=limits)))
    assert str(caught.value) == line
    assert children_of(os.getpid()) == before


def test_sample_video_closed_early_ends_the_child(
    started: Callable[[], tuple[Iterator[SampleEvent], int]],
) -> None:
    events, pid = started()
    events.close()  # type: ignore[attr-defined]
    assert is_gone(pid)


def test_sample_video_killed_with_its_parent_leaves_no_child(long_film: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom gim.video.config import VideoConfig\n"
        "from gim.video.decode import sample_video\n"
        "events = sample_video(Path(sys.argv[1]), VideoConfig())\nprint(next(events).width, flush=True)\ntime.sleep(99)"
    )
    command = [sys.executable, "-c", program, str(long_film)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"320\n"
        (pid,) = children_of(parent.pid)
        parent.kill()
    assert is_gone(pid)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "num_frames", "fps"),
    [
        ("videos/city_dashcam_60s.mp4", (1280, 720), 1800, 30),
        ("videos/gopro_walk_10s.mp4", (848, 480), 315, 29.97),
        ("videos/phone_park_6s.mp4", (1920, 1080), 171, 30),
        ("videos/kitti06_5s.mp4", (1226, 370), 51, 10),
        ("videos/static_camera_30s.mp4", (768, 432), 377, 12.5),
        ("train_videos/hallway_21s.mp4", (478, 850), 627, 29.94),
        ("train_videos/drone_nadir_2fps_104s.mp4", (854, 480), 209, 2),
        ("train_videos/student_room_3fps_155s.mp4", (368, 640), 464, 3),
        ("odd/nasa_13013.mp4", (480, 270), 390, 29.97),
        ("odd/h265_video.mp4", (128, 128), 10, 10),
    ],
)
def test_sample_video_of_real_films_has_the_frames_their_readme_states(
    shared_data: Path, name: str, size: tuple[int, int], num_frames: int, fps: float
) -> None:
    info, _, last = run(shared_data / "data" / name)
    assert (info.width, info.height) == size
    assert (info.num_frames_declared, last.num_frames, last.num_damaged) == (num_frames, num_frames, 0)
    assert info.fps == pytest.approx(fps, rel=1e-3)
    assert last.frame_indices == list(range(0, num_frames, info.step_frames))

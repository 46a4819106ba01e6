"""What a file is: videos described, everything else refused in one exact line."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gim.codecs import encode_jpeg, encode_png
from gim.errors import InvalidInput, UnsafeInput
from gim.video.config import DecodeLimits, SamplingConfig, VideoConfig
from gim.video.probe import probe_video
from tests.unit.video.media import (
    declare_size,
    numbered_frame,
    png_bytes,
    rotate_mp4,
    write_audio,
    write_many_streams,
    write_png_frames,
    write_video,
)

Maker = Callable[[Path], object]
_NOISE = np.random.default_rng(5).integers(0, 256, 20_000, np.uint8).tobytes()
_Y4M = b"YUV4MPEG2 W30000 H30000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000)
_LIST = "not a video file: lists are never followed, give the video itself"


def text(content: str) -> Maker:
    return lambda path: path.write_text(content)


def data(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content)


def cut_off(path: Path) -> None:
    write_video(path, 60)
    path.write_bytes(path.read_bytes()[:-1500])  # the index is at the end


def too_fast(path: Path) -> None:
    write_video(path, 5, fps=100_000)


def still_standing(path: Path) -> None:
    write_video(path, 2)
    content = bytearray(path.read_bytes())
    table = content.index(b"stts") + 12
    content[table + 4 : table + 8] = bytes(4)  # every frame lasts nothing
    path.write_bytes(content)


def belied_header(path: Path) -> None:
    write_video(path, 2)
    declare_size(path, b"avc1", (30_000, 30_000))


def cover_only(path: Path) -> None:
    write_audio(path, cover=encode_jpeg(np.zeros((32, 32, 3), np.uint8)))


def headless(path: Path) -> None:
    write_video(path, 2, codec="mpeg2video")
    path.write_bytes(bytes(4096))


_BAD: dict[str, tuple[str, Maker, type[InvalidInput], str]] = {
    "empty": ("a.mp4", data(b""), InvalidInput, "the file is empty (0 bytes)"),
    "text": ("a.mp4", text("no film\n"), InvalidInput, "a text file, not a video"),
    "truncated": (
        "a.mp4",
        cut_off,
        InvalidInput,
        "cut off: an MP4 file whose index (moov) is missing or incomplete; fetch it again",
    ),
    "noise": ("a.mp4", data(_NOISE), InvalidInput, "not a readable video (Invalid data found when processing input)"),
    "zeros": ("a.mp4", headless, InvalidInput, "not a readable video (Invalid data found when processing input)"),
    "png": ("a.mp4", data(encode_png(numbered_frame(1))), InvalidInput, "an image (PNG), not a video"),
    "jpeg": ("a.jpg", data(encode_jpeg(numbered_frame(1))), InvalidInput, "an image (JPEG), not a video"),
    "gif": ("a.gif", data(b"GIF89a" + bytes(50)), InvalidInput, "an image (GIF), not a video"),
    "audio": ("a.mp4", write_audio, InvalidInput, "has no video stream, only audio"),
    "cover": ("a.mp4", cover_only, InvalidInput, "has no video stream (only a cover picture), only audio"),
    "mp3": ("a.mp3", data(b"ID3\x03" + bytes(99)), InvalidInput, "a sound file, has no video"),
    "one_frame": ("a.mp4", lambda path: write_video(path, 1), InvalidInput, "has one frame, needs at least two frames"),
    "fast": ("a.mp4", too_fast, InvalidInput, "absurd frame rate of 100000 per second (at most 1000)"),
    "no_rate": ("a.mp4", still_standing, InvalidInput, "no usable frame rate: its time stamps do not advance"),
    "hls_file": ("a.mp4", text("#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n"), UnsafeInput, f"an HLS play list, {_LIST}"),
    "hls_http": ("a.m3u8", text("#EXTM3U\nhttp://169.254.169.254/\n"), UnsafeInput, f"an HLS play list, {_LIST}"),
    "hls_marked": ("a.mp4", data(b"\xef\xbb\xbf#EXTM3U\nx.ts"), UnsafeInput, f"an HLS play list, {_LIST}"),
    "hls_binary": ("a.mp4", data(b"#EXTM3U\n\xff\x00"), UnsafeInput, f"an HLS play list, {_LIST}"),
    "concat": ("a.mp4", text("ffconcat version 1.0\nfile x\n"), UnsafeInput, f"an FFmpeg concat list, {_LIST}"),
    "dash": ("a.mpd", text("<?xml version='1.0'?>\n<MPD><A/></MPD>"), UnsafeInput, f"a DASH manifest, {_LIST}"),
    "sdp": ("a.sdp", text("v=0\no=- 0 0 IN IP4 127.0.0.1\n"), UnsafeInput, f"an SDP session, {_LIST}"),
    "streams": (
        "a.mkv",
        lambda path: write_many_streams(path, 100),
        UnsafeInput,
        "has 100 streams, more than limits.max_streams=64",
    ),
    "huge_png": (
        "a.mov",
        lambda path: write_png_frames(path, (30_000, 30_000), [png_bytes(30_000, 30_000)] * 2),
        UnsafeInput,
        "frames of 30000x30000 pixels exceed limits.max_pixels=33177600",
    ),
    "huge_y4m": ("a.y4m", data(_Y4M), UnsafeInput, "frames of 30000x30000 pixels exceed limits.max_pixels=33177600"),
    "huge_header": (
        "a.mp4",
        belied_header,
        UnsafeInput,
        "frames of 30000x30000 pixels exceed limits.max_pixels=33177600",
    ),
}


@pytest.mark.parametrize("kind", _BAD)
def test_probe_video_of_what_is_no_video_says_what_it_is_in_one_line(tmp_path: Path, kind: str) -> None:
    file_name, make, error, line = _BAD[kind]
    path = tmp_path / file_name
    make(path)
    with pytest.raises(InvalidInput) as caught:
        probe_video(path, VideoConfig())
    assert type(caught.value) is error
    assert str(caught.value) == f"{file_name}: {line}"


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (DecodeLimits(max_pixels=160 * 120 - 1), "frames of 160x120 pixels exceed limits.max_pixels=19199"),
        (DecodeLimits(max_duration_seconds=1.5), "lasts 2.0 s, more than limits.max_duration_seconds=1.5"),
        (DecodeLimits(max_streams=0), "has 1 streams, more than limits.max_streams=0"),
    ],
)
def test_probe_video_beyond_a_limit_names_the_setting(tmp_path: Path, limits: DecodeLimits, line: str) -> None:
    path = write_video(tmp_path / "film.mkv", 60)
    with pytest.raises(UnsafeInput) as caught:
        probe_video(path, VideoConfig(limits=limits), "holiday")
    assert str(caught.value) == f"holiday: {line}"


def test_probe_video_describes_what_will_be_stored(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "film.mp4", 40, fps=Fraction(30000, 1001), size=(320, 180), pixel_format="yuv420p10le"
    )
    rotate_mp4(path, (0, 1, -1, 0))
    info = probe_video(path, VideoConfig(sampling=SamplingConfig(max_long_side=160)))
    assert (info.source_width, info.source_height, info.width, info.height) == (320, 180, 90, 160)
    assert (info.rotation_degrees, info.codec, info.pixel_format) == (90, "h264", "yuv420p10le")
    assert (info.fps, info.step_frames, info.num_frames_declared) == (30000 / 1001, 6, 40)
    assert not info.is_variable_rate
    assert info.duration_seconds == pytest.approx(40 * 1001 / 30000, abs=1e-3)
    assert info.step_seconds == pytest.approx(6 * 1001 / 30000)


def test_probe_video_of_a_variable_rate_measures_it(tmp_path: Path) -> None:
    ticks = np.cumsum(np.random.default_rng(2).choice([16, 33, 50, 66], 60)).tolist()
    info = probe_video(write_video(tmp_path / "film.mkv", 60, ticks=ticks), VideoConfig())
    assert info.is_variable_rate
    assert info.fps == pytest.approx(59_000 / (ticks[-1] - ticks[0]))
    assert info.step_seconds == 0.2


@pytest.mark.shared
def test_probe_video_of_two_video_streams_takes_the_larger(shared_data: Path) -> None:
    info = probe_video(shared_data / "data/odd/nasa_13013.mp4", VideoConfig())
    assert (info.width, info.height, info.num_frames_declared) == (480, 270, 390)


@pytest.mark.shared
def test_probe_video_of_full_range_video_with_data_streams(shared_data: Path) -> None:
    info = probe_video(shared_data / "data/videos/gopro_walk_10s.mp4", VideoConfig())
    assert (info.pixel_format, info.width, info.height, info.num_frames_declared) == ("yuvj420p", 848, 480, 315)

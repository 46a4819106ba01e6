"""Frames in order: exact indices, ascending times, and nothing handed out that leans on a damaged frame."""

import socket
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gim.errors import InvalidInput
from gim.video.config import DecodeLimits
from gim.video.container import open_container
from gim.video.images import choose_form, to_rgb
from gim.video.reader import FrameReader, _affordable_threads
from tests.unit.video.media import (
    damage_packets,
    numbered_frame,
    png_bytes,
    read_number,
    write_png_frames,
    write_video,
)

_FORMS: dict[str, dict[str, Any]] = {
    "film.mp4": {},
    "b_frames.mkv": {"options": {"bf": "3"}, "fps": Fraction(30000, 1001)},
    "reordered.avi": {"options": {"bf": "3"}},
    "film.avi": {"codec": "mpeg4"},
    "film.ts": {"codec": "mpeg2video"},
    "film.mpg": {"codec": "mpeg2video", "fps": 25},
    "film.flv": {},
    "film.webm": {"codec": "libvpx-vp9"},
    "hidden.webm": {
        "codec": "libvpx",
        "size": (96, 64),
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5", "deadline": "good"},
    },
    "deep.mp4": {"codec": "libx265", "pixel_format": "yuv420p10le"},
    "deep.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "odd.mkv": {"size": (333, 251), "pixel_format": "yuv444p"},
    "packed.avi": {"codec": "rawvideo", "pixel_format": "yuyv422"},
    "red_green_blue.mkv": {"codec": "ffv1", "pixel_format": "bgr0"},
    "grey.mkv": {"codec": "ffv1", "pixel_format": "gray16le"},
    "jpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj422p"},
    "raw.h264": {},
    "slow.mp4": {"fps": 2},
}


def read(path: Path, threads: int = 1) -> tuple[list[tuple[int, float, int, bool]], FrameReader]:
    """(index, time, number in the picture, is after a break) of every sound frame."""
    with FrameReader(path, path.name, DecodeLimits(), threads=threads) as reader:
        frames = [
            (item.index, item.time_seconds, read_number(to_rgb(item.frame)), item.is_after_break) for item in reader
        ]
    return frames, reader


@pytest.mark.parametrize("name", _FORMS)
def test_read_gives_every_frame_its_index_and_time(tmp_path: Path, name: str) -> None:
    frames, reader = read(write_video(tmp_path / name, 30, **_FORMS[name]))
    fps = 25 if name == "raw.h264" else _FORMS[name].get("fps", 30)
    assert [number for _, _, number, _ in frames] == list(range(30))
    assert [index for index, _, _, _ in frames] == list(range(30))
    assert [seconds for _, seconds, _, _ in frames] == pytest.approx([index / fps for index in range(30)], abs=6e-4)
    assert not any(is_after_break for _, _, _, is_after_break in frames)
    assert (reader.num_decoded, reader.num_damaged) == (30, 0)


def test_read_at_variable_rate_gives_the_times_of_the_file(tmp_path: Path) -> None:
    ticks = np.cumsum(np.random.default_rng(4).integers(5, 900, 40)).tolist()
    frames, _ = read(write_video(tmp_path / "film.mkv", 40, ticks=ticks))
    assert [seconds for _, seconds, _, _ in frames] == pytest.approx([(tick - ticks[0]) / 1000 for tick in ticks])


@pytest.mark.parametrize(
    ("name", "codec"), [("film.mp4", "libx264"), ("film.webm", "libvpx-vp9"), ("film.ts", "mpeg2video")]
)
def test_read_of_a_damaged_frame_goes_on_at_the_next_key_frame_whatever_the_threads(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = write_video(tmp_path / name, 90, codec=codec, options={"g": "30"})
    sound, _ = read(path)
    damage_packets(path, [40])
    frames, reader = read(path)
    trusted = [(round(seconds * 30), number) for _, seconds, number, _ in frames]
    assert all(place == number for place, number in trusted)  # the picture is the one its time promises
    numbers = [number for _, number in trusted]
    assert set(range(36)) | set(range(60, 90)) <= set(numbers)
    assert not set(range(41, 60)) & set(numbers)
    assert [number for _, _, number, is_after_break in frames if is_after_break] == [60]
    assert len(frames) + reader.num_damaged == reader.num_decoded < len(sound)
    for threads in (2, 4):
        assert read(path, threads)[0] == frames


@pytest.mark.parametrize("name", ["film.mkv", "film.ts"])
def test_read_of_a_file_cut_off_uses_what_is_there(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, 120)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    frames, _ = read(path)
    assert 40 < len(frames) < 120
    assert [number for _, _, number, _ in frames] == list(range(len(frames)))


def test_read_where_the_frame_size_changes_says_so_and_keeps_the_stored_size(tmp_path: Path) -> None:
    path = write_png_frames(tmp_path / "film.mov", (64, 48), [png_bytes(64, 48)] * 3 + [png_bytes(32, 24)] * 3)
    with FrameReader(path, "film", DecodeLimits(), threads=1) as reader:
        form = choose_form(reader.first.frame, 1920)
        breaks = []
        for item in reader:
            assert form.fit(to_rgb(item.frame)).shape == (48, 64, 3)
            breaks.append(item.is_after_break)
    assert breaks == [False, False, False, True, False, False]


def test_read_where_a_later_frame_is_enormous_stops_before_it(tmp_path: Path) -> None:
    path = write_png_frames(tmp_path / "film.mov", (64, 48), [png_bytes(64, 48)] * 3 + [png_bytes(30_000, 30_000)] * 2)
    with FrameReader(path, "film", DecodeLimits(), threads=1) as reader:
        assert len(list(reader)) == 3


def test_read_where_nothing_decodes_is_refused(tmp_path: Path) -> None:
    path = write_png_frames(tmp_path / "film.mov", (64, 48), [png_bytes(64, 48)] * 3)
    path.write_bytes(path.read_bytes().replace(b"IDAT", b"JUNK"))
    with pytest.raises(InvalidInput, match="film: not one frame of its png video can be decoded"):
        read_all(path)


def read_all(path: Path) -> None:
    with FrameReader(path, "film", DecodeLimits()) as reader:
        list(reader)


def test_png_bytes_and_numbers_of_the_test_media_are_what_they_say() -> None:
    assert len(png_bytes(30_000, 30_000)) < 100_000
    for number in (0, 1, 511, 1023):
        for size in ((160, 120), (333, 251)):
            assert read_number(numbered_frame(number, *size)) == number


@pytest.mark.parametrize("content", ["#EXTM3U\n#EXTINF:1,\n{url}\n", "ffconcat version 1.0\nfile '{url}'\n"])
def test_open_container_of_a_list_asks_nobody_even_where_it_is_not_recognised(tmp_path: Path, content: str) -> None:
    path = tmp_path / "film.m3u8"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        path.write_text(content.format(url=f"http://127.0.0.1:{server.getsockname()[1]}/film.ts"))
        with pytest.raises(InvalidInput, match="film: not a "):
            open_container(path, "film", DecodeLimits())
        with pytest.raises(TimeoutError):
            server.accept()


def test_affordable_threads_leave_half_of_the_memory(tmp_path: Path) -> None:
    context = av.CodecContext.create("h264", "r")
    context.width, context.height = 3840, 2160
    assert _affordable_threads(context, 8, DecodeLimits()) == 8
    assert _affordable_threads(context, 64, DecodeLimits()) == 2**30 // (3 * 3840 * 2160) - 20
    context.width, context.height = 7680, 4320
    assert _affordable_threads(context, 8, DecodeLimits()) == 1


def test_read_says_that_it_is_alive_while_no_frame_can_be_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "film.mp4", 60, options={"g": "60"})
    damage_packets(path, [10])
    monkeypatch.setattr("gim.video.reader._ALIVE_SECONDS", -1.0)
    calls: list[int] = []
    with FrameReader(path, "film", DecodeLimits(), threads=1, alive=lambda: calls.append(1)) as reader:
        list(reader)
        assert len(calls) == reader.num_damaged > 30

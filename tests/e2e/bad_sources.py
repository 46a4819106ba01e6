"""One source of every bad kind, and what a user is told of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim.codecs import encode_jpeg
from tests.unit.video.media import declare_size, png_bytes, write_audio, write_png_frames, write_video


@dataclass(frozen=True)
class BadSource:
    """`make` writes it at the path that it is given, or there is nothing to write and `text` is the source."""

    said: str  # part of the line
    name: str = ""
    make: Callable[[Path], object] | None = None
    text: str = ""

    def at(self, folder: Path) -> str:
        """The source as the user gives it."""
        if self.make is None:
            return self.text or str(folder / self.name)
        self.make(folder / self.name)
        return str(folder / self.name)


def _cut_off(path: Path) -> None:
    write_video(path, 60)
    path.write_bytes(path.read_bytes()[:-1500])


def _standing_still(path: Path) -> None:
    write_video(path, 2)
    content = bytearray(path.read_bytes())
    table = content.index(b"stts") + 12
    content[table + 4 : table + 8] = bytes(4)
    path.write_bytes(content)


def _enormous(path: Path) -> None:
    write_video(path, 2)
    declare_size(path, b"avc1", (30_000, 30_000))


def _list(*lines: str) -> Callable[[Path], object]:
    return lambda path: path.write_text("\n".join(["#EXTM3U", *lines, ""]))


BAD: dict[str, BadSource] = {
    "missing": BadSource("no such file", "missing.mp4"),
    "folder_without_video": BadSource("holds no video", "bare", lambda path: path.mkdir()),
    "zero_bytes": BadSource("is empty (0 bytes)", "zero.mp4", lambda path: path.write_bytes(b"")),
    "truncated": BadSource("cut off", "cut.mp4", _cut_off),
    "noise": BadSource("not a readable video", "noise.mp4", lambda path: path.write_bytes(bytes(4096))),
    "audio": BadSource("only audio", "audio.mp4", write_audio),
    "image": BadSource(
        "an image (JPEG)", "image.mp4", lambda path: path.write_bytes(encode_jpeg(np.zeros((64, 64, 3), np.uint8)))
    ),
    "one_frame": BadSource("one frame", "one.mp4", lambda path: write_video(path, 1)),
    "text": BadSource("is text, not a video file", "text.mp4", lambda path: path.write_text("no film\n")),
    "too_fast": BadSource("absurd frame rate", "fast.mp4", lambda path: write_video(path, 5, fps=100_000)),
    "no_rate": BadSource("no usable frame rate", "standing.mp4", _standing_still),
    "enormous": BadSource("30000x30000", "enormous.mp4", _enormous),
    "enormous_inside": BadSource(
        "30000x30000",
        "inside.mov",
        lambda path: write_png_frames(path, (30_000, 30_000), [png_bytes(30_000, 30_000)] * 2),
    ),
    "hls_file": BadSource("a list of other addresses (HLS)", "hls.mp4", _list("#EXTINF:9,", "file:///etc/passwd")),
    "hls_private": BadSource(
        "a list of other addresses (HLS)", "hls.m3u8", _list("#EXTINF:9,", "http://169.254.169.254/latest/")
    ),
    "private_address": BadSource("private", text='http://127.0.0.1:9/a.mp4 licence="CC BY 4.0"'),
    "dots": BadSource("", text="../../../../etc/shadow-/../nothing"),
    "dots_in_an_id": BadSource("", text="https://www.youtube.com/watch?v=../../../etc"),
    "shell_in_an_id": BadSource("", text="$(touch pwned)"),
    "shell_in_a_url": BadSource("", text="https://youtu.be/;touch pwned;"),
    "control_characters": BadSource("control characters", text="a\nb"),
}

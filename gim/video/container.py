"""Opens a file of a video container, and nothing else: kind, stream, time line; and the refusal of all others.

Runs inside the sandbox. Nothing here follows a reference to another file or address: FFmpeg opens with the protocols
shut to `file` and the demuxers to containers that hold their own media, and play lists are named by their first bytes.
"""

import array
import codecs
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
import numpy as np

from gim.errors import InvalidInput, UnsafeInput
from gim.video.config import DecodeLimits
from gim.video.sampling import FrameRate, measure_rate

CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,ogg,asf,mxf,ivf,nut,dv,h264,hevc,yuv4mpegpipe"  # that hold their media
MAX_FPS = 1000.0
_ALIVE_SECONDS = 1.0
_HEAD_BYTES = 4096
_DECLARED_SIZE = re.compile(r"Picture size (\d+)x(\d+)")
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "PSD",
    b"v/1\x01": "OpenEXR",
}
_IMAGE_BRANDS = {b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}
_SOUNDS = (b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9", b"MThd", b"#!AMR")
_PLAY_LISTS = {
    "#extm3u": "an HLS play list",
    "ffconcat": "an FFmpeg concat list",
    "<mpd": "a DASH manifest",
    "<smoothstreamingmedia": "a Smooth Streaming manifest",
    "[playlist]": "a play list",
    "[reference]": "a play list",
    "<asx": "a play list",
    "<smil": "a SMIL play list",
    "v=0": "an SDP session",
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the packets of a stream say of its times."""

    rate: FrameRate
    num_frames: int
    duration_seconds: float
    has_times: bool  # else a frame's time is its index over the declared rate


def refuse_non_video(path: Path, name: str) -> None:
    """Name what a file is when its first bytes show that it is no video.

    Raises:
        UnsafeInput: a list that points elsewhere.
        InvalidInput: empty, an image, sound, text, or an MP4 cut off before its index.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InvalidInput(f"{name}: the file is empty (0 bytes)")
    text = _as_text(head)
    if text is not None and not text.startswith("yuv4mpeg2"):
        _refuse_text(text, name)
    kind = _image_kind(head)
    if kind:
        raise InvalidInput(f"{name}: an image ({kind}), not a video")
    if head.startswith(_SOUNDS) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        raise InvalidInput(f"{name}: a sound file, has no video")
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip") and not _has_index(path):
        raise InvalidInput(f"{name}: cut off: an MP4 file whose index (moov) is missing or incomplete; fetch it again")


def _as_text(head: bytes) -> str | None:
    """The beginning of a text file in lower case; None when it is binary."""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        # A list in another encoding is a list still.
        return head.decode("latin-1").lower() if head.lstrip().lower().startswith((b"#extm3u", b"ffconcat")) else None
    return None if any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text) else text.lower()


def _refuse_text(text: str, name: str) -> None:
    body = text.lstrip("\ufeff \t\r\n")
    for mark, kind in _PLAY_LISTS.items():
        if body.startswith(mark) or (mark.startswith("<") and body.startswith("<") and mark in body):
            raise UnsafeInput(f"{name}: {kind}, not a video file: lists are never followed, give the video itself")
    raise InvalidInput(f"{name}: a text file, not a video")


def _image_kind(head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS:
        return _IMAGE_BRANDS[head[8:12]]
    return next((kind for magic, kind in _IMAGES.items() if head.startswith(magic)), "")


def _has_index(path: Path) -> bool:
    """Whether an ISO media file has a whole `moov` or a `moof` among its top-level boxes."""
    num_bytes = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while offset + 8 <= num_bytes:
            file.seek(offset)
            box: tuple[int, bytes] = struct.unpack(">I4s", file.read(8))
            size, kind = box
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(file.read(8), "big")
            elif size == 0:  # to the end of the file
                size = num_bytes - offset
            if kind in (b"moov", b"moof"):
                return offset + size <= num_bytes
            if size < 8:
                return False
            offset += size
    return False


def open_container(path: Path, name: str, limits: DecodeLimits) -> av.container.InputContainer:
    """Open a file of a known video container, and nothing beyond it.

    Raises:
        UnsafeInput: its header declares frames larger than allowed.
        InvalidInput: no such container, or damaged beyond opening.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": CONTAINERS,
        "max_pixels": str(limits.max_pixels),  # for the decoders that look into the first frames
    }
    with _captured_log() as log:
        try:
            return _open(f"file:{path}", options, name)
        finally:
            # FFmpeg forgets a size it refuses, so only its log can say what the header declared.
            for width, height in _DECLARED_SIZE.findall("".join(text for _, _, text in log)):
                refuse_size(int(width), int(height), name, limits)


@contextmanager
def _captured_log() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg complains of inside the block: (level, component, text)."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as log:
            yield log
    finally:
        av.logging.set_level(level)


def _open(url: str, options: dict[str, str], name: str) -> av.container.InputContainer:
    try:
        return av.open(url, options=options, metadata_errors="replace")
    except av.error.MemoryError:
        raise
    except av.error.ArgumentError as error:
        raise InvalidInput(f"{name}: not a video container that is read here ({CONTAINERS})") from error
    except av.error.FFmpegError as error:
        raise InvalidInput(f"{name}: not a readable video ({error.strerror})") from error


def choose_stream(container: av.container.InputContainer, name: str, limits: DecodeLimits) -> av.VideoStream:
    """The video stream with the most pixels; of equals the default one, then the first; never a cover picture.

    Raises:
        UnsafeInput: too many streams, or frames too large.
        InvalidInput: no video, or no decoder for it.
    """
    if len(container.streams) > limits.max_streams:
        raise UnsafeInput(
            f"{name}: has {len(container.streams)} streams, more than limits.max_streams={limits.max_streams}"
        )
    no_film = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & no_film]
    if not streams:
        only = " (only a cover picture)" if container.streams.video else ""
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        raise InvalidInput(f"{name}: has no video stream{only}, only {', '.join(kinds) or 'nothing'}")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise InvalidInput(f"{name}: no decoder for its video stream")
    best = max(known, key=lambda stream: (stream.width * stream.height, bool(stream.disposition & 1), -stream.index))
    refuse_size(best.width, best.height, name, limits)
    for stream in container.streams:
        if stream is not best:
            stream.discard = av.stream.Discard.all
    return best


def refuse_size(width: int, height: int, name: str, limits: DecodeLimits) -> None:
    """Refuse frames larger than allowed, by the header or by a frame that belies it.

    Raises:
        UnsafeInput: naming the size and the setting.
    """
    if width * height > limits.max_pixels:
        raise UnsafeInput(f"{name}: frames of {width}x{height} pixels exceed limits.max_pixels={limits.max_pixels}")


def scan_timeline(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    name: str,
    limits: DecodeLimits,
    alive: Callable[[], None] = lambda: None,
) -> Timeline:
    """Read the time stamps of all packets, decoding none: under 1 % of the cost of decoding them.

    The container's own word on rate and length is taken only where there are no time stamps.

    Raises:
        InvalidInput: fewer than two frames, or no usable rate.
        UnsafeInput: longer than allowed.
    """
    ticks, num_frames = _read_ticks(container, stream, alive)
    declared = _declared_fps(stream)
    # AVI stores no presentation times: FFmpeg's guesses are wrong for frames that are shown in another order.
    is_reordered_avi = container.format.name == "avi" and stream.codec_context.has_b_frames
    has_times = len(ticks) == num_frames and stream.time_base is not None and not is_reordered_avi
    rate = _measure(ticks, stream) if has_times else _regular(declared)
    fps = rate.fps if rate else declared
    if fps > MAX_FPS:
        raise InvalidInput(f"{name}: absurd frame rate of {fps:.6g} per second (at most {MAX_FPS:.0f})")
    if num_frames == 0:
        raise InvalidInput(f"{name}: its video stream holds no frames")
    if num_frames == 1:
        raise InvalidInput(f"{name}: has one frame, needs at least two frames")
    if rate is None:
        raise InvalidInput(f"{name}: no usable frame rate: its time stamps do not advance")
    shown = (max(ticks) - min(ticks)) * float(stream.time_base or 0) if has_times else (num_frames - 1) / rate.fps
    duration = shown + rate.period_seconds
    if duration > limits.max_duration_seconds:
        raise UnsafeInput(
            f"{name}: lasts {duration:.1f} s, more than limits.max_duration_seconds={limits.max_duration_seconds:.6g}"
        )
    return Timeline(_prefer_declared(rate, stream), num_frames, duration, has_times)


def _read_ticks(
    container: av.container.InputContainer, stream: av.VideoStream, alive: Callable[[], None]
) -> tuple["array.array[int]", int]:
    """The time stamps of the packets that will be shown, and how many there are, stamped or not."""
    ticks = array.array("q")
    num_frames = 0
    said = time.monotonic()
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            num_frames += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                ticks.append(stamp)
            if time.monotonic() - said > _ALIVE_SECONDS:
                alive()
                said = time.monotonic()
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError:
        pass  # cut off: what comes before is used, and decoding meets the same end
    return ticks, num_frames


def _measure(ticks: "array.array[int]", stream: av.VideoStream) -> FrameRate | None:
    return measure_rate(np.sort(np.asarray(ticks)) * float(stream.time_base or 0))


def _regular(fps: float) -> FrameRate | None:
    return FrameRate(fps, 1 / fps, is_variable=False) if fps else None


def _declared_fps(stream: av.VideoStream) -> float:
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return float(next((rate for rate in rates if rate), 0))


def _prefer_declared(rate: FrameRate, stream: av.VideoStream) -> FrameRate:
    """30000/1001 rather than 29.9697 measured from rounded time stamps, where the two agree to a thousandth."""
    declared = _declared_fps(stream)
    if declared and abs(declared / rate.fps - 1) < 1e-3:
        return FrameRate(declared, rate.period_seconds, rate.is_variable)
    return rate

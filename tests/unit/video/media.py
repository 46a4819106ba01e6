"""Makes small videos of every odd kind, so that no test needs a file nobody can explain.

Every frame carries its number as a row of black and white blocks, so a test can read from the stored picture which
frame it is.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import cv2
import numpy as np

from gim.records import Uint8Array

_BITS = 10
FrameMaker = Callable[[int], Uint8Array]


def numbered_frame(number: int, width: int = 160, height: int = 120) -> Uint8Array:
    """RGB [H, W, 3]: a texture that moves by 2 px a frame, and the number in blocks along the top quarter."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(40, 216, (12, 64, 3), np.uint8)
    texture = cv2.resize(coarse, (4 * width, height), interpolation=cv2.INTER_CUBIC)
    shift = 2 * number % (3 * width)
    image = np.array(texture[:, shift : shift + width])
    edges = np.linspace(0, width, _BITS + 1).astype(int)
    for bit in range(_BITS):
        image[: height // 4, edges[bit] : edges[bit + 1]] = 235 if number >> bit & 1 else 20
    return np.ascontiguousarray(image)


def read_number(image: Uint8Array) -> int:
    """The number of a displayed frame, RGB or grey."""
    grey = image if image.ndim == 2 else image[..., 1]
    height, width = grey.shape
    edges = np.linspace(0, width, _BITS + 1)
    row = grey[height // 16 : height // 6]
    centres = ((edges[:-1] + edges[1:]) / 2).astype(int)
    return sum(1 << bit for bit, x in enumerate(centres) if row[:, x - 1 : x + 2].mean() > 128)


def write_video(
    path: Path,
    num_frames: int = 30,
    *,
    fps: int | Fraction = 30,
    size: tuple[int, int] = (160, 120),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    make_frame: FrameMaker | None = None,
    field_order: str = "",
) -> Path:
    """Encode numbered frames; `ticks` are time stamps in units of `time_base`, `field_order` is `tff` or `bff`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=_fast(codec) | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        if ticks is not None:
            stream.codec_context.time_base = time_base
        for index in range(num_frames):
            image = make_frame(index) if make_frame else numbered_frame(index, *size)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[index], time_base
            else:
                frame.pts, frame.time_base = index, 1 / Fraction(fps)
            container.mux(
                stream.encode(_with_fields(frame.reformat(format=pixel_format), field_order) if field_order else frame)
            )
        container.mux(stream.encode(None))
    return path


def _with_fields(frame: av.VideoFrame, order: str) -> av.VideoFrame:
    """The frame, marked as interlaced: `tff` or `bff`."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(frame.time_base or 1)
    )
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.vpull()


def _fast(codec: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "veryfast", "crf": "18"},
        "libx265": {"preset": "ultrafast", "crf": "18", "x265-params": "log-level=none:pools=1"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
        "mpeg2video": {"b": "8M"},
        "mpeg4": {"b": "4M"},
    }.get(codec, {})


def rotate_mp4(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write `(a, b, c, d)` of the display matrix into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    a, b, c, d = (value << 16 for value in matrix)
    offset = start + (40 if data[start] == 0 else 52)
    data[offset : offset + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def write_many_streams(path: Path, num_streams: int) -> Path:
    """A file with this many video streams of two frames each."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=10) for _ in range(num_streams)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for stream in streams:
            for index in range(2):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 + index, np.uint8), format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def write_audio(path: Path, cover: bytes = b"") -> Path:
    """Half a second of silence, with a cover picture if given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        picture = None
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        for block in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 1024 * block
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if picture is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1)
            container.mux(packet)
    return path


def write_png_frames(path: Path, declared: tuple[int, int], frames: Sequence[bytes]) -> Path:
    """A QuickTime file of PNG frames whose header declares one size, and which have their own."""
    with av.open(str(path), "w", format="mov") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for index, png in enumerate(frames):
            packet = av.Packet(png)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 10)
            packet.is_keyframe = True
            container.mux(packet)
    declare_size(path, b"png ", declared)
    return path


def declare_size(path: Path, codec_tag: bytes, size: tuple[int, int]) -> None:
    """Write another frame size into the track header and the sample entry of an MP4 or QuickTime file."""
    data = bytearray(path.read_bytes())
    entry = data.index(codec_tag, data.index(b"stsd"))
    struct.pack_into(">HH", data, entry + 28, *size)
    header = data.index(b"tkhd")
    (header_bytes,) = struct.unpack_from(">I", data, header - 4)
    struct.pack_into(">II", data, header - 4 + header_bytes - 8, size[0] << 16, size[1] << 16)
    path.write_bytes(data)


def png_bytes(width: int, height: int) -> bytes:
    """A grey PNG of one bit a pixel; beyond 4096 rows only its header keeps the promise."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(min(height, 4096))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def damage_packets(path: Path, numbers: Sequence[int]) -> None:
    """Overwrite the inside of these packets (in order of the file) with a fixed noise."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(3)
    for number in numbers:
        position, size = places[number]
        data[position + 8 : position + size] = rng.integers(0, 256, size - 8, np.uint8).tobytes()
    path.write_bytes(data)

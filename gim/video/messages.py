"""What the decoding process and its parent say to each other: frozen records, framed on a pipe.

The job is one line of JSON. A message is `<kind: u8> <header bytes: u32> <blob bytes: u32> <header: JSON> <blob>`; at
most one field of a record is bytes, and travels as the blob. The reader believes nothing: sizes are capped and every
field is validated, because the writer has been handling untrusted media. Never pickle.
"""

import dataclasses
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from gim.errors import CorruptObject
from gim.records import Segment, Shot
from gim.video.config import VideoConfig

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PREFIX = struct.Struct("<BII")
_MAX_HEADER_BYTES = 256 * 2**20  # a day of samples, five a second, is some 20 MiB
_MAX_BLOB_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Job:
    """What the parent asks for."""

    path: str  # absolute
    name: str  # what error lines call the file
    threads: int  # of the decoder, 0 = all cores
    config: VideoConfig


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video is, known before its second frame is decoded."""

    container: str  # FFmpeg's name of the demuxer
    codec: str
    pixel_format: str
    source_width: int  # as coded, pixels
    source_height: int
    width: int  # as stored: rotated, and shrunk to SamplingConfig.max_long_side
    height: int
    rotation_degrees: int  # clockwise, applied to stored frames: 0, 90, 180, 270
    is_mirrored: bool  # flipped left to right before the rotation
    sample_aspect_ratio: float  # displayed width of a coded pixel over its height; not applied, see gim.video.images
    fps: float  # average
    is_variable_rate: bool
    num_frames_declared: int  # packets in the container
    duration_seconds: float  # of the whole source
    step_frames: int  # between samples
    step_seconds: float


@dataclass(frozen=True, slots=True)
class FrameSampled:
    """One stored frame."""

    sample: int  # 0-based position among the samples
    frame_index: int  # 0-based among all decoded frames of the source
    time_seconds: float  # from the first frame of the source
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class OverlayFound:
    """The static overlay of a closed shot."""

    shot: int
    png: bytes  # 255 usable, 0 overlay, stored size


@dataclass(frozen=True, slots=True)
class DecodeProgress:
    """How far decoding is; at most a few per second."""

    num_frames: int
    time_seconds: float


@dataclass(frozen=True, slots=True)
class VideoDecoded:
    """Everything known at the end of a video."""

    info: VideoInfo
    num_frames: int  # decoded and not trimmed away
    num_damaged: int  # decoded, but not trusted: from a lost or corrupt frame to the next key frame
    duration_seconds: float  # of what was not trimmed away
    shots: list[Shot]
    segments: list[Segment]
    frame_indices: list[int]
    frame_times: list[float]
    rejected: str  # why no shot is used; empty when one is
    seconds: dict[str, float]  # decode, analysis, encode: thread time, never stored


@dataclass(frozen=True, slots=True)
class Alive:
    """Work goes on, though there is nothing to show yet."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there will be no more messages."""

    kind: Literal["invalid", "unsafe", "config", "bug"]
    message: str


Message = VideoInfo | FrameSampled | OverlayFound | DecodeProgress | VideoDecoded | Alive | Failure

_KINDS: tuple[type[Any], ...] = (VideoInfo, FrameSampled, OverlayFound, DecodeProgress, VideoDecoded, Alive, Failure)
_BLOBS: dict[type[Any], str] = {FrameSampled: "jpeg", OverlayFound: "png"}


def pack_job(job: Job) -> bytes:
    """A job as one line."""
    return json.dumps(dataclasses.asdict(job)).encode() + b"\n"


def unpack_job(line: bytes) -> Job:
    """The job that `pack_job` wrote. The parent's word is taken as it is: only what comes back is checked."""
    fields = json.loads(line)
    sections = {
        name: type(getattr(VideoConfig(), name))(**{key: _unlist(value) for key, value in settings.items()})
        for name, settings in fields.pop("config").items()
    }
    return Job(**fields, config=VideoConfig(**sections))


def _unlist(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def pack_message(message: Message) -> bytes:
    """A message as the bytes that go through the pipe."""
    fields = dataclasses.asdict(message)
    blob_field = _BLOBS.get(type(message))
    blob: bytes = fields.pop(blob_field) if blob_field else b""
    header = json.dumps(fields, allow_nan=False).encode()
    return _PREFIX.pack(_KINDS.index(type(message)), len(header), len(blob)) + header + blob


class MessageBuffer:
    """Bytes as they arrive, messages as they become whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Add bytes and yield every message they complete.

        Raises:
            CorruptObject: the bytes are no message of this protocol.
        """
        self._bytes += data
        while len(self._bytes) >= _PREFIX.size:
            kind, header_bytes, blob_bytes = _PREFIX.unpack_from(self._bytes)
            if kind >= len(_KINDS) or header_bytes > _MAX_HEADER_BYTES or blob_bytes > _MAX_BLOB_BYTES:
                raise CorruptObject("the decoding process sent what is no message")
            end = _PREFIX.size + header_bytes + blob_bytes
            if len(self._bytes) < end:
                return
            header = bytes(self._bytes[_PREFIX.size : _PREFIX.size + header_bytes])
            blob = bytes(self._bytes[_PREFIX.size + header_bytes : end])
            del self._bytes[:end]
            yield _unpack(kind, header, blob)


@cache
def _adapter(kind: int) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - the side that only writes starts without it

    return TypeAdapter(_KINDS[kind])


def _unpack(kind: int, header: bytes, blob: bytes) -> Message:
    blob_field = _BLOBS.get(_KINDS[kind])
    try:
        fields = json.loads(header)
        if blob_field:
            fields[blob_field] = blob
        return _adapter(kind).validate_python(fields)  # type: ignore[no-any-return]
    except (ValueError, TypeError) as error:  # pydantic's is a ValueError
        raise CorruptObject(f"the decoding process sent a malformed {_KINDS[kind].__name__}") from error

"""Tells text from video by the first bytes: no web page, list or script reaches the decoder. Decodes nothing."""

from pathlib import Path

from gim.errors import InvalidInput, UnsafeInput
from gim.transfer.text import describe_text

_HEAD_BYTES = 4096
_VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t"),
        *(".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut"),
        *(".obu", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
    }
)


def is_video_name(name: str) -> bool:
    """Whether a file's suffix is one that video files have."""
    return Path(name).suffix.lower() in _VIDEO_SUFFIXES


def video_extension(name: str) -> str:
    """The suffix to store a video under, without the dot; `bin` when its own says nothing."""
    suffix = Path(name).suffix.lower()
    return suffix[1:] if suffix in _VIDEO_SUFFIXES else "bin"


def refuse_text(path: Path, name: str) -> None:
    """Return when a file does not begin with text.

    Raises:
        InvalidInput: it is empty or a text; `UnsafeInput` when it is a list that would send the decoder elsewhere.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise InvalidInput(f"{name}: is empty (0 bytes)")
    kind = describe_text(head)
    if kind.startswith("a list"):
        raise UnsafeInput(f"{name}: is {kind}, not a video file")
    if kind:
        raise InvalidInput(f"{name}: is {kind}, not a video file")

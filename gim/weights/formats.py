"""Tells by the first bytes what a weight file is, whatever its name says. Imports no torch."""

from enum import StrEnum
from pathlib import Path

from gim.errors import InvalidInput, Unavailable
from gim.transfer.text import describe_text

SUFFIXES = frozenset({".pth", ".pt", ".ckpt", ".safetensors", ".tflite"})

_HEAD_BYTES = 4096
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MAX_SAFETENSORS_HEADER = 100_000_000  # the format's own limit


class FileFormat(StrEnum):
    """How the tensors lie in a file."""

    zipped = "zip"  # torch.save since 1.6
    pickled = "pickle"  # torch.save before
    safetensors = "safetensors"
    tflite = "tflite"  # a whole network, which OpenCV runs


def file_format(path: Path) -> FileFormat:
    """The format of a weight file.

    Raises:
        InvalidInput: it is none; the message says what it is instead.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        num_bytes = path.stat().st_size
    except OSError as error:
        raise Unavailable(f"weights {path}: cannot be read ({error.strerror})") from error
    if head.startswith(b"PK\x03\x04"):
        return FileFormat.zipped
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return FileFormat.pickled
    if head[4:8] == b"TFL3":
        return FileFormat.tflite
    header_bytes = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header_bytes <= _MAX_SAFETENSORS_HEADER:
        if header_bytes + 8 > num_bytes:
            raise InvalidInput(f"weights {path}: cut off in its header, after {num_bytes} bytes")
        return FileFormat.safetensors
    raise InvalidInput(f"weights {path}: {_instead(head)}, not a checkpoint of torch or safetensors")


def _instead(head: bytes) -> str:
    if not head:
        return "is empty (0 bytes)"
    if head.startswith(_LFS_POINTER):
        return "is a pointer of Git LFS (fetch the file itself with `git lfs pull`)"
    if kind := describe_text(head):
        return f"is {kind}"
    return f"is something else (it begins with {head[:8].hex(' ')})"

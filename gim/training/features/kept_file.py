"""One file of kept features: the pairs of one group under one augmentation. Imports no torch.

Layout: `GIMFEAT1`; the pairs' bytes (`gim.training.features.records`), one after another; the index as JSON; and a
trailer of offset, size and CRC-32 of the index and `GIMFEAT1` once more, so that a file that was cut is known by its
end. A pair is read by one `pread` of its own and checked by its CRC-32: a damaged one is never given.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from gim.errors import CorruptObject
from gim.training.features.records import PairEntry, entry_of, pack, packed_size, unpack
from gim.training.samples import FeatureSample, SampleSkipped

_MAGIC = b"GIMFEAT1"
_TRAILER = struct.Struct("<QQI8s")


@dataclass(frozen=True, slots=True)
class NoSample:
    """A pair that gives no sample: kept too, so that it is not tried again."""

    reason: str
    detail: str = ""


class CannotKeepError(Exception):
    """The folder of kept features cannot take a file."""


def write_kept(path: Path, key: str, items: Iterable[FeatureSample | NoSample]) -> None:
    """Write a file whole or not at all, as the items come; they are not held.

    Args:
        path: its place; the folder is there. Another file of that place is replaced.
        key: what the features are known by; a reader that looks for others does not take them.
        items: of every pair of the group, in order.

    Raises:
        CannotKeepError: it cannot be written; nothing is left of it, as after an error of the items.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    entries: list[PairEntry] = []
    try:
        with ExitStack() as closing:
            with _write_errors(path):
                file = closing.enter_context(unfinished.open("wb"))
                file.write(_MAGIC)
            for item in items:
                with _write_errors(path):
                    entries.append(_write_item(file, item))
            with _write_errors(path):
                _write_index(file, {"key": key, "pairs": [asdict(entry) for entry in entries]})
                file.close()
                unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Tell errors of writing from those of what makes the items."""
    try:
        yield
    except OSError as error:
        raise CannotKeepError(f"{path}: cannot be written ({error.strerror})") from error


def _write_item(file: IO[bytes], item: FeatureSample | NoSample) -> PairEntry:
    if isinstance(item, NoSample):
        return PairEntry("", "", skipped=item.reason, detail=item.detail)
    entry, data, offset = entry_of(item), pack(item), file.tell()
    file.write(data)
    return replace(entry, offset=offset, num_bytes=len(data), crc32=zlib.crc32(data))


def _write_index(file: IO[bytes], index: dict[str, Any]) -> None:
    data, offset = json.dumps(index, separators=(",", ":")).encode(), file.tell()
    file.write(data)
    file.write(_TRAILER.pack(offset, len(data), zlib.crc32(data), _MAGIC))


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file whose index was read; its bytes are read when they are asked for, and it is not held open."""

    path: Path
    pairs: tuple[PairEntry, ...]

    @classmethod
    def open(cls, path: Path, key: str) -> "KeptFile":
        """Read the index.

        Raises:
            FileNotFoundError: there is no such file.
            CorruptObject: it is cut off, damaged, or of another key.
        """
        try:
            with path.open("rb") as file:
                index = _read_index(file)
            if index["key"] != key:
                raise ValueError("its features were made otherwise")
            return cls(path, tuple(_entry(**item) for item in index["pairs"]))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise CorruptObject(f"{path}: no file of kept features ({error})") from error

    def sample(self, index: int) -> FeatureSample:
        """One pair.

        Raises:
            SampleSkipped: it gave none when the file was made.
            CorruptObject: its bytes are damaged or gone.
        """
        entry = self.pairs[index]
        if entry.skipped:
            raise SampleSkipped(entry.skipped, entry.detail)
        data = bytearray(entry.num_bytes)
        try:
            with self.path.open("rb", buffering=0) as file:
                num_read = os.preadv(file.fileno(), [data], entry.offset)
        except OSError as error:
            raise CorruptObject(f"{self.path}: cannot be read ({error.strerror})") from error
        if num_read < entry.num_bytes or zlib.crc32(data) != entry.crc32:
            raise CorruptObject(f"{self.path}: features of {entry.name} are cut off or damaged")
        return unpack(data, entry)


def _read_index(file: IO[bytes]) -> dict[str, Any]:
    """The index of an open file.

    Raises:
        OSError, ValueError, struct.error: there is none, or it is damaged.
    """
    file.seek(-_TRAILER.size, os.SEEK_END)
    offset, num_bytes, crc32, magic = _TRAILER.unpack(file.read())
    if magic != _MAGIC or num_bytes > file.tell():
        raise ValueError("cut off")
    file.seek(offset)
    data = file.read(num_bytes)
    if len(data) < num_bytes or zlib.crc32(data) != crc32:
        raise ValueError("its index is damaged")
    found: dict[str, Any] = json.loads(data)
    return found


def _entry(*, counts: list[int], sizes: list[list[int]], **fields: Any) -> PairEntry:
    entry = PairEntry(counts=tuple(counts), sizes=tuple(map(tuple, sizes)), **fields)  # type: ignore[arg-type]
    if not entry.skipped and entry.num_bytes != packed_size(entry):
        raise ValueError("its index contradicts itself")
    return entry

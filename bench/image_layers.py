"""What is in an image: its layers with their sizes, and the Python packages in them, read from a saved archive."""

import csv
import io
import json
import posixpath
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_CHUNK_BYTES = 1 << 20
_GZIP_LEVEL = 6  # of gzip, and of what pushes to a registry
_GZIP_WBITS = 31  # zlib: with a gzip header
_GZIP_MAGIC = b"\x1f\x8b"
_NUM_PACKAGES = 12  # kept of each layer


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. Its digest is that of its content, so an equal one is stored and pulled once."""

    digest: str  # of the uncompressed tar
    folder: str  # that all its files lie in
    file_bytes: int
    gzip_bytes: int  # as a registry keeps it and a node pulls it
    packages: dict[str, int]  # the largest ones and the bytes of their files


def read_layers(archive: Path, known: Mapping[str, Layer]) -> list[Layer]:
    """The layers of an image, the lowest first; those of `known`, by digest, are not read again.

    Args:
        archive: what `docker save` or `podman save` writes for one image.
        known: layers that were read before.
    """
    with tarfile.open(archive) as saved:
        (manifest,) = _json(saved, "manifest.json")
        digests = _json(saved, manifest["Config"])["rootfs"]["diff_ids"]
        named = zip(digests, manifest["Layers"], strict=True)
        return [known.get(digest) or _read_layer(saved, name, digest) for digest, name in named]


def _json(saved: tarfile.TarFile, name: str) -> Any:
    return json.load(_open(saved, name))


def _open(saved: tarfile.TarFile, member: str | tarfile.TarInfo) -> IO[bytes]:
    stream = saved.extractfile(member)
    if stream is None:
        raise ValueError(f"{member} is no file of the archive")
    return stream


def _read_layer(saved: tarfile.TarFile, name: str, digest: str) -> Layer:
    with _open(saved, name) as stream:
        gzip_bytes = _gzip_bytes(stream)
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    with _open(saved, name) as stream, tarfile.open(fileobj=stream) as layer:
        for member in layer:
            if not member.isfile():
                continue
            path = posixpath.normpath(member.name)
            sizes[path] = member.size
            if path.endswith(".dist-info/RECORD"):
                owners |= _owned(path, _open(layer, member).read().decode())
    packages: Counter[str] = Counter()
    for path, size in sizes.items():
        if path in owners:
            packages[owners[path]] += size
    folder = posixpath.commonpath([posixpath.dirname(path) for path in sizes]) if sizes else ""
    return Layer(digest, folder, sum(sizes.values()), gzip_bytes, dict(packages.most_common(_NUM_PACKAGES)))


def _gzip_bytes(stream: IO[bytes]) -> int:
    """Bytes of a layer after gzip; a builder may have kept it compressed."""
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)
    if stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
        return stream.seek(0, io.SEEK_END)
    stream.seek(0)
    num_bytes = 0
    while chunk := stream.read(_CHUNK_BYTES):
        num_bytes += len(compressor.compress(chunk))
    return num_bytes + len(compressor.flush())


def _owned(record: str, text: str) -> dict[str, str]:
    """The files that a distribution's RECORD names, which are relative to the folder of its dist-info."""
    info = posixpath.dirname(record)
    package = posixpath.basename(info).split("-")[0].replace("_", "-")
    base = posixpath.dirname(info)
    rows = csv.reader(text.splitlines())
    return {posixpath.normpath(posixpath.join(base, row[0])): package for row in rows if row}

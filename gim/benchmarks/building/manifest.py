"""The manifest of a benchmark that was built: every file by its hash, how it was made, and a digest of it all.

The digest is what authors publish: whoever has it needs no key. With a key that both sides know, the manifest also
carries an HMAC of the digest. The file is canonical JSON, so that any other tool can sign it as it is.
"""

import dataclasses
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from gim import codecs
from gim.benchmarks.building.drawing import BinCount, DrawSettings
from gim.benchmarks.zeb import ZebDataset
from gim.errors import CorruptObject, InvalidInput

MANIFEST = "manifest.json"
_FEWEST_KEY_BYTES = 32  # of SHA-256: a shorter key is easier to guess than the hash


@dataclass(frozen=True, slots=True)
class HashedFile:
    """One file of a benchmark."""

    name: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class BuiltScene:
    """One scene: what it was made of, and what the draw gave."""

    name: str
    source: str  # folder's name
    num_images: int  # in the source
    overlap_from: str  # "depth" or "tracks": see gim.benchmarks.building.overlap
    bins: list[BinCount]


@dataclass(frozen=True, slots=True)
class ZebManifest:
    """What was built; its existence says that every file is there."""

    dataset: ZebDataset  # how the files are named and their images matched: what a reader of ZEB needs
    scenes: list[BuiltScene]
    images: list[HashedFile]  # by name
    pairs: list[HashedFile]  # texts, by name
    list_sha256: str  # of the pairs' identifiers, ascending, one per line
    protocol: str  # id of the protocol it is meant to be scored by
    protocol_sha256: str  # of all its numbers
    source_format: str
    licence: str  # of the images, as whoever built it says
    settings: DrawSettings
    depth_tolerance: float
    tools: dict[str, str]  # name -> version
    digest: str = ""  # SHA-256 of the canonical JSON of all the rest
    signature: str = ""  # HMAC-SHA256 of the digest; empty: none
    key_id: str = ""  # which key signed it, without saying the key


def digest_of(manifest: ZebManifest) -> str:
    """The digest that belongs to what a manifest says."""
    blank = dataclasses.replace(manifest, digest="", signature="", key_id="")
    return hashlib.sha256(codecs.to_json(blank)).hexdigest()


def sealed(manifest: ZebManifest, key: bytes | None = None) -> ZebManifest:
    """The manifest with its digest and, of a key, its signature."""
    digest = digest_of(manifest)
    if key is None:
        return dataclasses.replace(manifest, digest=digest, signature="", key_id="")
    return dataclasses.replace(manifest, digest=digest, signature=sign(digest, key), key_id=key_id_of(key))


def sign(digest: str, key: bytes) -> str:
    """HMAC-SHA256 of a digest, hex digits."""
    return hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()


def key_id_of(key: bytes) -> str:
    """8 hex digits that tell keys apart."""
    return hmac.new(key, b"gim key id", hashlib.sha256).hexdigest()[:8]


def read_key(path: Path) -> bytes:
    """A key from a file, without the line's end behind it.

    Raises:
        InvalidInput: it cannot be read or is too short.
    """
    try:
        key = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise InvalidInput(f"key {path}: cannot be read ({error.strerror})") from error
    if len(key) < _FEWEST_KEY_BYTES:
        raise InvalidInput(
            f"key {path}: {len(key)} bytes, expected at least {_FEWEST_KEY_BYTES}; make one by `openssl rand -hex 32`"
        )
    return key


def read_manifest(folder: Path) -> ZebManifest:
    """The manifest of a folder.

    Raises:
        InvalidInput: there is none, or it cannot be read as one.
    """
    path = folder / MANIFEST
    try:
        return codecs.from_json(ZebManifest, path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}); `gim zeb build` writes one") from error
    except CorruptObject as error:
        raise InvalidInput(f"{path}: {error}") from error


def hash_file(path: Path) -> HashedFile:
    """Name, hash and size of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return HashedFile(path.name, digest, path.stat().st_size)


def built_datasets(root: Path) -> list[ZebDataset]:
    """The benchmarks that were built below a folder, or the one that it is itself, for `gim.benchmarks.zeb` to read.

    A dataset's `folder` is the name it has now, so that it may be moved and renamed.

    Raises:
        InvalidInput: a manifest cannot be read.
    """
    if (root / MANIFEST).is_file():
        return [dataclasses.replace(read_manifest(root).dataset, folder=".")]
    folders = sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    return [dataclasses.replace(read_manifest(folder).dataset, folder=folder.name) for folder in folders]

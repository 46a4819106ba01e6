"""Benchmarks of a Store: pairs of images with known cameras, every file with its hash, under an id that names them all.

A benchmark never changes: other files make another id, so a score always says of what it is. Matches nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gim import codecs, keys
from gim.benchmarks.posed import PosedPair, parse_posed_pairs, read_posed_pairs
from gim.errors import ConfigError, CorruptObject, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import Uint8Array
from gim.spelling import did_you_mean

_PAIRS = "pairs.txt"


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """One file of a benchmark."""

    name: str  # path in the folder that was put
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class BenchmarkManifest:
    """What a benchmark is; its existence says that every file is stored."""

    benchmark_id: str  # the name, and the hash of kind and files
    name: str
    kind: Literal["posed"]  # `pairs.txt` and the images it names: see gim.benchmarks.posed
    num_pairs: int
    files: list[BenchmarkFile]  # by name
    licence: str = "unknown"  # of the images, as whoever put them says


class StoredBenchmark:
    """Reads one benchmark, and lets nothing through whose hash is not that of the manifest."""

    def __init__(self, store: Store, manifest: BenchmarkManifest) -> None:
        self._store = store
        self._files = {file.name: file for file in manifest.files}
        self.manifest = manifest

    def pairs(self) -> list[PosedPair]:
        """The pairs, in order.

        Raises:
            CorruptObject: the file of pairs is absent or changed.
        """
        return parse_posed_pairs(self._read(_PAIRS).decode(), f"{self.manifest.benchmark_id}/{_PAIRS}")

    def image(self, name: str) -> Uint8Array:
        """An image, RGB [H, W, 3].

        Raises:
            CorruptObject: it is absent or changed.
        """
        return codecs.decode_image(self._read(name))

    def _read(self, name: str) -> bytes:
        key = keys.benchmark_file(self.manifest.benchmark_id, name)
        try:
            data = self._store.get(key)
        except KeyMissing as error:
            raise CorruptObject(f"{key}: is named by its benchmark's manifest and not in the store") from error
        if name not in self._files or hashlib.sha256(data).hexdigest() != self._files[name].sha256:
            raise CorruptObject(f"{key} has changed: its SHA-256 is not that of its benchmark's manifest")
        return data


def put_benchmark(store: Store, name: str, folder: Path, *, licence: str = "unknown") -> BenchmarkManifest:
    """Store a folder with `pairs.txt` as a benchmark, with the images that pairs name. A second call does nothing.

    Raises:
        InvalidInput: the pairs are malformed, or an image is absent, unreadable or has a name that no key can hold.
    """
    pairs = read_posed_pairs(folder / _PAIRS)
    images = sorted({image for pair in pairs for image in (pair.image0, pair.image1)})
    files = [_checked_file(folder, file) for file in (_PAIRS, *images)]
    kind: Literal["posed"] = "posed"
    benchmark_id = keys.config_id(_checked_name(name), kind, files_hash(files))
    manifest = BenchmarkManifest(benchmark_id, name, kind, len(pairs), files, licence)
    key = keys.benchmark_manifest(benchmark_id)
    if store.exists(key):
        return codecs.from_json(BenchmarkManifest, store.get(key))
    for file in files:
        store.put_file(keys.benchmark_file(benchmark_id, file.name), folder / file.name)
    store.put(key, codecs.to_json(manifest))
    return manifest


def files_hash(files: Sequence[BenchmarkFile]) -> str:
    """SHA-256 of the names and hashes of files, in any order."""
    lines = sorted(f"{file.sha256}  {file.name}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def remove_benchmark(store: Store, benchmark_id: str) -> None:
    """Take a benchmark out, its manifest first; reports about it stay."""
    store.delete(keys.benchmark_manifest(benchmark_id))
    for key in list(store.list(keys.benchmarks_prefix(benchmark_id))):
        store.delete(key)


def list_benchmarks(store: Store) -> list[BenchmarkManifest]:
    """Every benchmark, by id."""
    found = [key for key in store.list(keys.benchmarks_prefix()) if key.endswith("/manifest.json")]
    whole = [key for key in found if key.count("/") == 2]
    return [codecs.from_json(BenchmarkManifest, store.get(key)) for key in whole]


def choose_benchmarks(store: Store, names: Sequence[str] = ()) -> list[StoredBenchmark]:
    """The benchmarks of these ids or names, in order, each once; all that there are when none is given.

    Raises:
        ConfigError: there is none, or a name is of none or of several.
    """
    there = list_benchmarks(store)
    if not there:
        raise ConfigError("the store holds no benchmark: `gim benchmark put NAME FOLDER` puts one")
    chosen = [_named(name, there) for name in names] or there
    return [StoredBenchmark(store, manifest) for manifest in {item.benchmark_id: item for item in chosen}.values()]


def _named(name: str, there: Sequence[BenchmarkManifest]) -> BenchmarkManifest:
    found = [manifest for manifest in there if name in (manifest.benchmark_id, manifest.name)]
    if len(found) > 1:
        raise ConfigError(f"benchmark {name!r}: which of {', '.join(item.benchmark_id for item in found)}?")
    if not found:
        ids = [manifest.benchmark_id for manifest in there]
        hint = did_you_mean(name, [*ids, *(manifest.name for manifest in there)])
        raise ConfigError(f"no benchmark {name!r}{hint}; the store has {', '.join(ids)}")
    return found[0]


def _checked_name(name: str) -> str:
    if "/" in keys.validate_key(name):
        raise InvalidInput(f"benchmark {name!r}: a name has no slash")
    return name


def _checked_file(folder: Path, name: str) -> BenchmarkFile:
    try:
        keys.benchmark_file("x", name)
    except InvalidInput as error:
        raise InvalidInput(f"{folder}: a store cannot hold a file {name!r} ({error})") from error
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{folder / name}: cannot be read ({error.strerror})") from error
    if name != _PAIRS:
        try:
            codecs.decode_image(data)
        except CorruptObject as error:
            raise InvalidInput(f"{folder / name}: {error}") from error
    return BenchmarkFile(name, hashlib.sha256(data).hexdigest(), len(data))

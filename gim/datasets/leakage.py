"""Whether videos of a dataset show images of a benchmark: their sampled frames against all its images.

How pictures are compared, and what that does not find, says `gim.benchmarks.building.leak`.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gim import codecs, keys
from gim.benchmarks.building.leak import Leak, find_leaks
from gim.benchmarks.building.leak_frames import IMAGE_SUFFIXES
from gim.benchmarks.posed import read_posed_pairs
from gim.benchmarks.stored import BenchmarkFile, StoredBenchmark, choose_benchmarks, files_hash
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import PairsManifest
from gim.video.config import VideoConfig

_PAIRS = "pairs.txt"


@dataclass(frozen=True, slots=True)
class LeakedVideo:
    """A video that shows images of benchmarks."""

    video_id: str
    benchmarks: tuple[str, ...]  # ids of those
    num_images: int  # of theirs that it shows
    image: str  # the most similar one: "<benchmark id>/<file>"
    frame: int | None  # that shows it
    similarity: float  # of the two, to 1

    @property
    def detail(self) -> str:
        """In one line."""
        return f"frame {self.frame} is {self.image} (similarity {self.similarity:.2f}); {self.num_images} images in all"


@dataclass(frozen=True, slots=True)
class UnseenVideo:
    """A video whose frames could not be compared."""

    video_id: str
    why: str


@dataclass(frozen=True, slots=True)
class LeakSearch:
    """What was compared, and what was found."""

    benchmark_ids: tuple[str, ...]
    num_images: int  # of all benchmarks
    num_frames: int
    leaked: list[LeakedVideo]  # by id
    unseen: list[UnseenVideo]  # by id


def find_leaked_videos(store: Store, results: Sequence[tuple[str, str]], benchmarks: Sequence[str]) -> LeakSearch:
    """Look for the images of benchmarks in the sampled frames of videos.

    Args:
        store: that has the frames.
        results: (video id, recipe id) of each.
        benchmarks: names or ids in the store, or folders of images.

    Raises:
        ConfigError: the store has no such benchmark.
        InvalidInput: a folder is none of images.
        CorruptObject: a file of a stored benchmark has changed.
    """
    frames = _Frames(store, results)
    with tempfile.TemporaryDirectory(prefix="gim-leak-") as name:
        images = _laid_out(store, benchmarks, Path(name))
        # A search takes a store whole: it is given one in which there are no other videos.
        one = [] if not frames.manifests else ["videos"]
        report = find_leaks(Path(name), one, VideoConfig(), open_store=lambda _: cast("Store", frames))
    unread = {source for source in report.skipped if keys.is_video_id(source)}
    unseen = [*frames.unseen, *(UnseenVideo(video_id, "its frames are damaged") for video_id in unread)]
    by_video: dict[str, list[Leak]] = {}
    for leak in report.leaks:
        by_video.setdefault(leak.source, []).append(leak)
    leaked = [_summed(video_id, leaks, images) for video_id, leaks in sorted(by_video.items())]
    ids = tuple(dict.fromkeys(benchmark_id for benchmark_id, _ in images.values()))
    return LeakSearch(ids, report.num_images, report.num_frames, leaked, sorted(unseen, key=lambda item: item.video_id))


class _Frames:
    """What a search reads of a store: manifests of the frames that some results were made of, and those frames."""

    def __init__(self, store: Store, results: Sequence[tuple[str, str]]) -> None:
        self._store = store
        self.manifests: list[str] = []
        self.unseen: list[UnseenVideo] = []
        for video_id, recipe_id in sorted(results):
            result = codecs.from_json(PairsManifest, store.get(keys.pairs_manifest(video_id, recipe_id)))
            key = keys.frame_manifest(video_id, result.sampling_id)
            if store.exists(key):
                self.manifests.append(key)
            else:
                self.unseen.append(UnseenVideo(video_id, "its frames are not in the store"))

    def list(self, prefix: str = "") -> Iterator[str]:
        """The manifests, whatever else lies there."""
        return iter(key for key in self.manifests if key.startswith(prefix))

    def get(self, key: str) -> bytes:
        """As the store has it."""
        return self._store.get(key)


def _summed(video_id: str, leaks: Sequence[Leak], images: dict[str, tuple[str, str]]) -> LeakedVideo:
    best = max(leaks, key=lambda leak: leak.similarity)
    shown = tuple(sorted({images[leak.image][0] for leak in leaks}))
    return LeakedVideo(video_id, shown, len(leaks), "/".join(images[best.image]), best.frame, best.similarity)


def _laid_out(store: Store, benchmarks: Sequence[str], folder: Path) -> dict[str, tuple[str, str]]:
    """Put all images of benchmarks into one folder; the benchmark's id and the image's name by the file's."""
    found: dict[str, tuple[str, str]] = {}
    for text in benchmarks:
        is_folder = Path(text).is_dir()
        files = _of_folder(Path(text)) if is_folder else _of_store(store, text)
        for benchmark_id, image, source in files:
            name = f"{len(found):08d}{Path(image).suffix}"
            found[name] = benchmark_id, image
            if isinstance(source, Path):
                (folder / name).symlink_to(source.absolute())
            else:
                (folder / name).write_bytes(source)
    return found


def _of_folder(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Id, image and file of each image that a folder's pairs name, or without pairs of each that lies in it."""
    if (folder / _PAIRS).is_file():
        pairs = read_posed_pairs(folder / _PAIRS)
        paths = sorted({folder / name for pair in pairs for name in (pair.image0, pair.image1)})
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise InvalidInput(f"benchmark {folder}: holds no images")
    names = [path.relative_to(folder).as_posix() for path in paths]
    files = [_described(path, name) for path, name in zip(paths, names, strict=True)]
    benchmark_id = f"{folder.resolve().name}-{files_hash(files)[:8]}"
    yield from ((benchmark_id, name, path) for path, name in zip(paths, names, strict=True))


def _described(path: Path, name: str) -> BenchmarkFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    return BenchmarkFile(name, hashlib.sha256(data).hexdigest(), len(data))


def _of_store(store: Store, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Id, name and bytes of each image of a stored benchmark."""
    (benchmark,) = choose_benchmarks(store, [name])
    for file in benchmark.manifest.files:
        if file.name != _PAIRS:
            yield benchmark.manifest.benchmark_id, file.name, _stored_bytes(store, benchmark, file)


def _stored_bytes(store: Store, benchmark: StoredBenchmark, file: BenchmarkFile) -> bytes:
    key = keys.benchmark_file(benchmark.manifest.benchmark_id, file.name)
    try:
        data = store.get(key)
    except KeyMissing as error:
        raise CorruptObject(f"{key}: is named by its benchmark's manifest and not in the store") from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise CorruptObject(f"{key} has changed: its SHA-256 is not that of its benchmark's manifest")
    return data

"""Finds images of a benchmark in training material: by signatures first, then by looking at the likeliest closely.

Frames pass once, in batches. Of every image and every video the few frames that look most alike are kept and compared
when the video ends; what is confirmed is named with its best frame.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from gim import codecs
from gim.benchmarks.building.confirming import MIN_SIMILARITY, ConfirmView, confirm_view, similarity
from gim.benchmarks.building.leak_frames import IMAGE_SUFFIXES, LeakFrame, Material, find_material
from gim.benchmarks.building.signatures import Uint64Array, find_alike, is_flat, sign_image
from gim.errors import CorruptObject, GimError, InvalidInput
from gim.ports.store import Store
from gim.video.config import VideoConfig

_BATCH = 256  # frames
_LOOKED_AT = 3  # frames of a video that are compared with one image


@dataclass(frozen=True, slots=True)
class Leak:
    """An image of the benchmark that training material holds too."""

    image: str  # file of the benchmark
    source: str  # video, or image
    frame: int | None  # the most similar one that was looked at
    time_seconds: float | None
    similarity: float  # correlation of grey values where both are seen, to 1


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What was looked at, and what was found."""

    leaks: list[Leak]  # by image, then by source
    num_images: int
    num_frames: int
    num_compared: int  # pairs that signatures let through
    skipped: list[str]  # images of the benchmark and sources that say nothing: blank, or not readable


@dataclass(frozen=True, slots=True, eq=False)
class _Signed:
    """Pictures that signatures were made of."""

    places: list[int]  # in the list that was given
    signatures: Uint64Array  # [N, W, 2]


def find_leaks(
    benchmark: Path,
    sources: Sequence[str],
    config: VideoConfig,
    *,
    open_store: Callable[[Path], Store | None] = lambda _: None,
    threads: int = 4,
    on_unreadable: Callable[[str], None] = lambda _: None,
) -> LeakReport:
    """Look for every image of a folder in training material.

    Args:
        benchmark: folder of images; of a built benchmark, or of one of ZEB's datasets.
        sources: paths of videos, images, folders or stores.
        config: how videos are sampled: as for training, to see what training saw.
        open_store: opens the store that a path is; None where it is none.
        threads: that decode and compare.
        on_unreadable: told of every source that could not be read to its end, in one line.

    Raises:
        InvalidInput: the folder has no images, or a source does not exist.
    """
    paths = sorted(path for path in _listed(benchmark) if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InvalidInput(f"{benchmark}: holds no images")
    materials = [material for text in sources for material in find_material(text, config, open_store)]
    skipped: list[str] = []
    leaks: list[Leak] = []
    num_frames = num_compared = 0
    with ThreadPoolExecutor(threads) as executor:
        signed = _sign([path.read_bytes for path in paths], executor)
        skipped += [paths[place].name for place in sorted(set(range(len(paths))) - set(signed.places))]
        for material in materials:
            search = _Search(signed, paths, executor)
            try:
                search.see(material)
            except GimError as error:
                on_unreadable(f"{material.name}: only {search.num_frames} frames were looked at ({error})")
                skipped.append(material.name)
            num_frames += search.num_frames
            found, compared = search.confirm()
            leaks += found
            num_compared += compared
    leaks.sort(key=lambda item: (item.image, item.source))
    return LeakReport(leaks, len(paths), num_frames, num_compared, skipped)


class _Search:
    """One video's frames against all images."""

    def __init__(self, signed: _Signed, paths: Sequence[Path], executor: ThreadPoolExecutor) -> None:
        self._signed = signed
        self._paths = paths
        self._executor = executor
        self._likely: dict[int, list[tuple[int, int, LeakFrame]]] = {}  # image -> (distance, frame's number, frame)
        self.num_frames = 0

    def see(self, material: Material) -> None:
        """Take all frames in, and keep those that look like an image."""
        for batch in _batches(material.frames()):
            signed = _sign([lambda frame=frame: frame.data for frame in batch], self._executor)  # type: ignore[misc]
            for alike in find_alike(self._signed.signatures, signed.signatures, self._executor):
                place = signed.places[alike.index1]
                kept = self._likely.setdefault(alike.index0, [])
                kept.append((alike.distance, self.num_frames + place, batch[place]))
                kept.sort(key=lambda item: item[:2])
                del kept[_LOOKED_AT:]
            self.num_frames += len(batch)

    def confirm(self) -> tuple[list[Leak], int]:
        """The images that are in there for sure, and how many pairs were compared."""
        found = self._executor.map(self._confirm_image, sorted(self._likely))
        compared = sum(len(kept) for kept in self._likely.values())
        return [leak for leaks in found for leak in leaks], compared

    def _confirm_image(self, index: int) -> list[Leak]:
        """Leaks of one image: the best frame of its video, or every single image that shows it."""
        path = self._paths[self._signed.places[index]]
        view = _view_of(path.read_bytes())
        best: dict[str, Leak] = {}
        for _, _, frame in self._likely[index]:
            score = similarity(view, _view_of(frame.data))
            if score >= MIN_SIMILARITY and (frame.source not in best or score > best[frame.source].similarity):
                leak = Leak(path.name, frame.source, frame.frame, frame.time_seconds, round(score, 4))
                best[frame.source] = leak
        return list(best.values())


def _sign(readers: Sequence[Callable[[], bytes]], executor: ThreadPoolExecutor) -> _Signed:
    """Signatures of pictures; without those that cannot be read or show nothing."""
    made = list(executor.map(_signature, readers))
    places = [place for place, bits in enumerate(made) if bits is not None]
    bits = [bits for bits in made if bits is not None]
    return _Signed(places, np.stack(bits) if bits else np.empty((0, 1, 2), np.uint64))


def _signature(read: Callable[[], bytes]) -> Uint64Array | None:
    try:
        grey = codecs.decode_grey(read())
    except CorruptObject:
        return None
    return None if is_flat(grey) else sign_image(grey)


def _view_of(data: bytes) -> ConfirmView:
    return confirm_view(codecs.decode_grey(data))


def _batches(frames: Iterator[LeakFrame]) -> Iterator[list[LeakFrame]]:
    while batch := list(islice(frames, _BATCH)):
        yield batch


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read ({error.strerror})") from error

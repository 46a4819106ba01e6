"""Matches the pairs of a benchmark into hloc's files: what is there is not made again.

A sparse matcher's keypoints are found once per image. A matcher without keypoints leaves positions, pair by pair, which
`gim.localisation.positions` joins into keypoints.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import h5py

from gim import codecs
from gim.errors import CorruptObject, InvalidInput
from gim.geometry.pixels import PixelMap, network_size, resize_image
from gim.localisation.growing_file import GrowingFile
from gim.localisation.hloc_files import Datasets, Pair, feature_datasets, match_datasets, pair_key, read_features
from gim.matchers.base import Matcher, SparseMatcher
from gim.records import Correspondences, Features, ImagePair, Uint8Array

Progress = Callable[[str, int, int], None]  # what is done, how many, of how many
Size = tuple[int, int]  # width, height
Item = TypeVar("Item")

_ITEMS_PER_PART = 64  # as much as a kill can cost
_FEATURES_HELD = 256  # images


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image as it is matched, and the way back to its own pixels."""

    pixels: Uint8Array  # RGB [H, W, 3] or grey [H, W]
    size: Size  # of the file
    to_file: PixelMap


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Images by name, shrunk to a longest side. The turn that EXIF may ask for is not made: cameras are of the file."""

    folder: Path
    max_side_px: int
    in_colour: bool

    def read(self, name: str) -> LoadedImage:
        """One image.

        Raises:
            InvalidInput: it is absent or cannot be read.
        """
        try:
            data = (self.folder / name).read_bytes()
            pixels = codecs.decode_image(data) if self.in_colour else codecs.decode_grey(data)
        except OSError as error:
            raise InvalidInput(f"image {self.folder / name}: {error.strerror}") from error
        except CorruptObject as error:
            raise InvalidInput(f"image {self.folder / name}: {error}") from error
        size = (pixels.shape[1], pixels.shape[0])
        resized, to_resized = resize_image(pixels, network_size(*size, max_side_px=self.max_side_px))
        return LoadedImage(resized, size, to_resized.inverse())


def extract_features(
    matcher: SparseMatcher,
    names: Iterable[str],
    reader: ImageReader,
    features: GrowingFile,
    executor: Executor,
    progress: Progress,
) -> Path:
    """Have a file of the features of images; its path.

    Raises:
        InvalidInput: an image is absent or cannot be read.
    """
    missing = [name for name in dict.fromkeys(names) if name not in features]
    for chunk in _chunks(missing, "features", progress):
        images = list(executor.map(reader.read, chunk))
        if matcher.is_batched:
            found = matcher.extract_batch([image.pixels for image in images], [None] * len(images))
        else:
            found = list(executor.map(lambda image: matcher.extract(image.pixels), images))
        features.write({name: _in_file(item, image) for name, item, image in zip(chunk, found, images, strict=True)})
    return features.merge()


def match_features(
    matcher: SparseMatcher,
    pairs: Iterable[Pair],
    features: Path,
    matches: GrowingFile,
    executor: Executor,
    progress: Progress,
) -> Path:
    """Have a file of the matches of pairs, from the features of their images; its path."""
    with h5py.File(features, "r") as file:

        @lru_cache(maxsize=_FEATURES_HELD)
        def read(name: str) -> Features:
            return read_features(file[name])

        for chunk in _chunks(_missing(pairs, matches), "matches", progress):
            both = [(read(name0), read(name1)) for name0, name1 in chunk]
            if matcher.is_batched:
                found = matcher.match_features_batch(both)
            else:
                found = list(executor.map(lambda pair: matcher.match_features(*pair), both))
            sizes = [len(features0.keypoints) for features0, _ in both]
            matches.write(
                {
                    pair_key(*pair): match_datasets(*item, size)
                    for pair, item, size in zip(chunk, found, sizes, strict=True)
                }
            )
    return matches.merge()


def match_positions(
    matcher: Matcher,
    pairs: Iterable[Pair],
    reader: ImageReader,
    positions: GrowingFile,
    executor: Executor,
    progress: Progress,
) -> Path:
    """Have a file of the positions, pair by pair, that a matcher without keypoints finds; its path.

    Raises:
        InvalidInput: an image is absent or cannot be read.
    """
    for chunk in _chunks(_missing(pairs, positions), "matches", progress):
        groups: dict[str, Datasets] = {}
        for start in range(0, len(chunk), matcher.batch_size):
            batch = chunk[start : start + matcher.batch_size]
            images = [tuple(executor.map(reader.read, pair)) for pair in batch]
            found = matcher.match_pairs([ImagePair(image0.pixels, image1.pixels) for image0, image1 in images])
            for pair, (image0, image1), item in zip(batch, images, found, strict=True):
                groups[pair_key(*pair)] = _positions(item, image0, image1)
        positions.write(groups)
    return positions.merge()


def _in_file(features: Features, image: LoadedImage) -> Datasets:
    keypoints = image.to_file.apply(features.keypoints)
    return feature_datasets(Features(keypoints, features.descriptors, features.scores), image.size)


def _positions(found: Correspondences, image0: LoadedImage, image1: LoadedImage) -> dict[str, Any]:
    return {
        "keypoints0": image0.to_file.apply(found.points[:, :2]),
        "keypoints1": image1.to_file.apply(found.points[:, 2:]),
        "scores": found.confidence,
        "image_size0": image0.size,
        "image_size1": image1.size,
    }


def _missing(pairs: Iterable[Pair], file: GrowingFile) -> list[Pair]:
    """Pairs that the file has in neither direction; of the two directions of a pair the first."""
    wanted: dict[frozenset[str], Pair] = {}
    for pair in pairs:
        if pair_key(*pair) not in file and pair_key(*pair[::-1]) not in file:
            wanted.setdefault(frozenset(pair), pair)
    return list(wanted.values())


def _chunks(items: Sequence[Item], what: str, progress: Progress) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _ITEMS_PER_PART):
        progress(what, start, len(items))
        yield items[start : start + _ITEMS_PER_PART]
    progress(what, len(items), len(items))

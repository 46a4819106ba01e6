"""Correspondences of many pairs by any matcher, kept in the cache as they come, so that nothing is done twice."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gim import codecs
from gim.geometry.colour import to_grey
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of, is_usable
from gim.reconstruction.cache import ResultCache, cache_key
from gim.reconstruction.images import LoadedImage, SourceImage, load_image
from gim.reconstruction.pairs import Pair
from gim.reconstruction.retrieval import describe_looks, similar_pairs
from gim.records import Correspondences, Features, Float32Array, ImagePair, Uint8Array

Report = Callable[[str, int, int], None]  # step, done, total; 0 in total: nobody knows
_HELD_FEATURES = 128  # images whose features stay in memory
_HELD_IMAGES = 16
_CHUNK = 16  # results kept at once


def say_nothing(*_: object) -> None:
    """The report of who wants none."""


@dataclass(frozen=True, slots=True)
class _Looks:
    descriptors: Uint8Array  # [N, 128]


class PhotoMatching:
    """One matcher on the images of one reconstruction."""

    def __init__(
        self,
        matcher: Matcher,
        images: Sequence[SourceImage],
        cache: ResultCache,
        executor: Executor,
        *,
        max_pixels: int,
        report: Report,
    ) -> None:
        self._matcher = matcher
        self._images = images
        self._cache = cache
        self._executor = executor
        self._max_pixels = max_pixels
        self._report = report
        self._held_image = lru_cache(_HELD_IMAGES)(self._load)
        self._held_features = lru_cache(_HELD_FEATURES)(self._read_features)

    def similar(self, num_similar: int, *, seed: int) -> list[Pair]:
        """Pairs of images that look alike; see `retrieval`."""
        names = [cache_key("looks", image.content_id) for image in self._images]

        def work(index: int) -> bytes:
            loaded = self._load(index)
            return codecs.to_npz(_Looks(describe_looks(loaded.image, loaded.mask)))

        self._fill("looks", names, lambda rows: self._executor.map(work, rows))
        looks = [codecs.from_npz(_Looks, self._cache.get(name)).descriptors for name in names]
        return similar_pairs(looks, num_similar, seed=seed)

    def match(self, pairs: Sequence[Pair]) -> list[Float32Array]:
        """Correspondences float32 [N, 4] of each pair, pixels of the upright images.

        Raises:
            InvalidInput: an image or a mask that cannot be used.
            DiskFull: there is no room for what is found.
        """
        names = [
            cache_key("pair", *self._matcher.identity, *(self._images[index].content_id for index in pair))
            for pair in pairs
        ]
        if isinstance(self._matcher, SparseMatcher):
            to_do = [pairs[row] for row in self._cache.missing(names)]
            self._extract(sorted({index for pair in to_do for index in pair}))
        match = self._match_features if isinstance(self._matcher, SparseMatcher) else self._match_pixels
        self._fill("match", names, lambda rows: match([pairs[row] for row in rows]))
        return [codecs.from_npz(Correspondences, self._cache.get(name)).points for name in names]

    def _fill(self, step: str, names: Sequence[str], work: Callable[[list[int]], Any]) -> None:
        """Have the cache hold every name, by `work` on the rows of those that are missing."""
        to_do = self._cache.missing(names)
        for start in range(0, len(to_do), _CHUNK):
            rows = to_do[start : start + _CHUNK]
            self._report(step, start, len(to_do))
            self._cache.put({names[row]: data for row, data in zip(rows, work(rows), strict=True)})
        self._report(step, len(to_do), len(to_do))

    def _extract(self, indices: Sequence[int]) -> None:
        names = [self._features_key(index) for index in indices]
        batched = self._matcher.is_batched

        def work(rows: list[int]) -> Iterator[bytes]:
            assert isinstance(self._matcher, SparseMatcher)
            if not batched:
                return self._executor.map(lambda row: codecs.to_npz(self._extract_one(indices[row])), rows)
            loaded = list(self._executor.map(lambda row: self._load(indices[row]), rows))
            images, masks = [self._as_wanted(item.image) for item in loaded], [item.mask for item in loaded]
            return map(codecs.to_npz, self._matcher.extract_batch(images, masks))

        self._fill("extract", names, work)

    def _extract_one(self, index: int) -> Features:
        assert isinstance(self._matcher, SparseMatcher)
        loaded = self._load(index)
        return self._matcher.extract(self._as_wanted(loaded.image), loaded.mask)

    def _match_features(self, pairs: list[Pair]) -> Iterator[bytes]:
        assert isinstance(self._matcher, SparseMatcher)
        matcher = self._matcher
        both = [(self._held_features(first), self._held_features(second)) for first, second in pairs]
        if matcher.is_batched:
            found = iter(matcher.match_features_batch(both))
        else:
            found = self._executor.map(lambda sides: matcher.match_features(*sides), both)
        for sides, matches in zip(both, found, strict=True):
            yield codecs.to_npz(correspondences_of(*sides, *matches))

    def _match_pixels(self, pairs: list[Pair]) -> Iterator[bytes]:
        for start in range(0, len(pairs), self._matcher.batch_size):
            chunk = pairs[start : start + self._matcher.batch_size]
            sides = [(self._held_image(first), self._held_image(second)) for first, second in chunk]
            asked = [ImagePair(view0.image, view1.image, view0.mask, view1.mask) for view0, view1 in sides]
            for found, (view0, view1) in zip(self._matcher.match_pairs(asked), sides, strict=True):
                yield codecs.to_npz(_inside(found, view0, view1))

    def _as_wanted(self, image: Uint8Array) -> Uint8Array:
        return image if self._matcher.wants_colour else to_grey(image)

    def _load(self, index: int) -> LoadedImage:
        return load_image(self._images[index], self._max_pixels)

    def _features_key(self, index: int) -> str:
        assert isinstance(self._matcher, SparseMatcher)
        return cache_key("features", self._matcher.extractor_id, self._images[index].content_id)

    def _read_features(self, index: int) -> Features:
        return _without_scalars(self._cache.get(self._features_key(index)))


def _without_scalars(data: bytes) -> Features:
    """Features as they were: a pair of numbers comes out of an npz as an array."""
    found = codecs.from_npz(Features, data)
    size = found.image_size
    plain = None if size is None else (int(size[0]), int(size[1]))
    return Features(found.keypoints, found.descriptors, found.scores, plain)


def _inside(found: Correspondences, view0: LoadedImage, view1: LoadedImage) -> Correspondences:
    """Those on pixels that exist and are not masked; not every dense matcher sees to it at its last step."""
    keep = is_usable(found.points[:, :2], view0.image.shape, view0.mask)
    keep &= is_usable(found.points[:, 2:], view1.image.shape, view1.mask)
    return Correspondences(np.asarray(found.points[keep], np.float32), found.confidence[keep])

"""Runs a matcher over pairs of images; what is computed of an image alone is computed once for neighbouring pairs.

Plain matchers work in the threads of an executor, networks in batches from one thread while threads read the next
images. Knows no Store and no truth.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from gim.evaluation.image_size import ResizedImage, to_original
from gim.evaluation.views import Views
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.records import Correspondences, Features, ImagePair

_HELD_BYTES = 256 * 2**20  # of features: RootSIFT's of 230 images, and no scene of ZEB has more that are near

_Item = TypeVar("_Item")
_Found = tuple[ResizedImage, Features]


class ViewMatching:
    """Matches pairs of views, some at a time; holds the features of images it saw last, 256 MiB of them."""

    def __init__(self, matcher: Matcher, views: Views, executor: Executor) -> None:
        self._matcher = matcher
        self._views = views
        self._executor = executor
        self._held: dict[str, _Found] = {}

    def match(self, pairs: Sequence[tuple[str, str]]) -> list[Correspondences]:
        """Correspondences of pairs of names, in order, in pixels of the images as they are, without indices.

        Raises:
            InvalidInput: an image cannot be read.
        """
        if isinstance(self._matcher, SparseMatcher):
            return self._match_sparse(self._matcher, pairs)
        if self._matcher.is_batched:
            return self._match_batched(pairs)
        return list(self._executor.map(self._match_one, pairs))

    def _match_one(self, pair: tuple[str, str]) -> Correspondences:
        return self._match_whole([(self._views.image(pair[0]), self._views.image(pair[1]))])[0]

    def _match_batched(self, pairs: Sequence[tuple[str, str]]) -> list[Correspondences]:
        reading = {name: self._executor.submit(self._views.image, name) for name in _names(pairs)}
        batches = (
            [(reading[name0].result(), reading[name1].result()) for name0, name1 in some]
            for some in _parts(pairs, self._matcher.batch_size)
        )
        return [found for views in batches for found in self._match_whole(views)]

    def _match_whole(self, views: Sequence[tuple[ResizedImage, ResizedImage]]) -> list[Correspondences]:
        found = self._matcher.match_pairs([ImagePair(a.pixels, b.pixels, a.mask, b.mask) for a, b in views])
        return [_as_given(item, *both) for item, both in zip(found, views, strict=True)]

    def _match_sparse(self, matcher: SparseMatcher, pairs: Sequence[tuple[str, str]]) -> list[Correspondences]:
        names = _names(pairs)
        missing = [name for name in names if name not in self._held]
        extracted = self._extract_batched if matcher.is_batched else self._extract_in_threads
        known = self._held | dict(zip(missing, extracted(matcher, missing), strict=True))
        self._held = _last_used(known, names)
        both = [(known[name0], known[name1]) for name0, name1 in pairs]
        features = [(found0[1], found1[1]) for found0, found1 in both]
        if matcher.is_batched:
            parts = _parts(features, matcher.batch_size)
            matched = [found for some in parts for found in matcher.match_features_batch(some)]
        else:
            matched = list(self._executor.map(lambda sides: matcher.match_features(*sides), features))
        return [
            _as_given(correspondences_of(*sides, *found), seen0[0], seen1[0])
            for sides, found, (seen0, seen1) in zip(features, matched, both, strict=True)
        ]

    def _extract_in_threads(self, matcher: SparseMatcher, names: Sequence[str]) -> list[_Found]:
        def extract(name: str) -> _Found:
            view = self._views.image(name)
            return _without_pixels(view), matcher.extract(view.pixels, view.mask)

        return list(self._executor.map(extract, names))

    def _extract_batched(self, matcher: SparseMatcher, names: Sequence[str]) -> list[_Found]:
        found: list[_Found] = []
        read = self._executor.map(self._views.image, names)  # all at once: threads read ahead
        for some in _parts(names, matcher.batch_size):
            views = list(islice(read, len(some)))
            features = matcher.extract_batch([view.pixels for view in views], [view.mask for view in views])
            found += zip(map(_without_pixels, views), features, strict=True)
        return found


def _as_given(found: Correspondences, image0: ResizedImage, image1: ResizedImage) -> Correspondences:
    return replace(found, points=to_original(found.points, image0, image1), matches=None)


def _without_pixels(view: ResizedImage) -> ResizedImage:
    """What is needed of an image once its features are known: sizes."""
    return replace(view, pixels=np.empty((0, 0, 3), np.uint8), mask=None)


def _names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The images of pairs, each once."""
    return list(dict.fromkeys(name for pair in pairs for name in pair))


def _last_used(known: Mapping[str, _Found], names: Sequence[str]) -> dict[str, _Found]:
    """Those used last, oldest first: `names` have just been."""
    just_used = dict.fromkeys(names)
    ordered = [name for name in known if name not in just_used] + list(just_used)
    sizes = [_num_bytes(known[name][1]) for name in reversed(ordered)]
    num_held = int(np.searchsorted(np.cumsum(sizes), _HELD_BYTES, side="right"))
    return {name: known[name] for name in ordered[len(ordered) - num_held :]}


def _num_bytes(features: Features) -> int:
    return sum(
        array.nbytes for array in (features.keypoints, features.descriptors, features.scores) if array is not None
    )


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))

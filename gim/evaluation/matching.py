"""Runs a matcher over pairs of images; what is computed of an image alone is computed once for neighbouring pairs.

Plain matchers work in the threads of an executor, networks in batches from one thread. Knows no Store and no truth.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from gim.evaluation.image_size import ResizedImage, to_original
from gim.evaluation.views import Views
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.records import Correspondences, Features, ImagePair

_Item = TypeVar("_Item")
_Found = tuple[ResizedImage, Features]


class ViewMatching:
    """Matches pairs of views, some at a time; holds the features of those images it saw last."""

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
            return [found for some in _parts(pairs, self._matcher.batch_size) for found in self._match_whole(some)]
        return [found for one in self._executor.map(lambda pair: self._match_whole([pair]), pairs) for found in one]

    def _match_whole(self, pairs: Sequence[tuple[str, str]]) -> list[Correspondences]:
        views = [(self._views.image(name0), self._views.image(name1)) for name0, name1 in pairs]
        found = self._matcher.match_pairs([ImagePair(a.pixels, b.pixels, a.mask, b.mask) for a, b in views])
        return [_as_given(item, *both) for item, both in zip(found, views, strict=True)]

    def _match_sparse(self, matcher: SparseMatcher, pairs: Sequence[tuple[str, str]]) -> list[Correspondences]:
        names = list(dict.fromkeys(name for pair in pairs for name in pair))
        missing = [name for name in names if name not in self._held]
        extracted = self._extract_batched if matcher.is_batched else self._extract_in_threads
        known = self._held | dict(zip(missing, extracted(matcher, missing), strict=True))
        self._held = {name: known[name] for name in names}
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
        for some in _parts(names, matcher.batch_size):
            views = list(self._executor.map(self._views.image, some))
            features = matcher.extract_batch([view.pixels for view in views], [view.mask for view in views])
            found += zip(map(_without_pixels, views), features, strict=True)
        return found


def _as_given(found: Correspondences, image0: ResizedImage, image1: ResizedImage) -> Correspondences:
    return replace(found, points=to_original(found.points, image0, image1), matches=None)


def _without_pixels(view: ResizedImage) -> ResizedImage:
    """What is needed of an image once its features are known: sizes."""
    return replace(view, pixels=np.empty((0, 0, 3), np.uint8), mask=None)


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))

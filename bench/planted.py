"""Evaluations of which all is known beforehand: views nobody looks at, matches and scores that are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gim.evaluation.image_size import ResizedImage
from gim.matchers.base import Matcher
from gim.records import Correspondences, Float32Array, Float64Array, Uint8Array

_GREY = np.full((8, 8, 3), 90, np.uint8)


@dataclass(frozen=True, slots=True)
class KnownViews:
    """Pairs of images that nobody looks at, for results that are known."""

    id: str
    pairs: Sequence[tuple[str, str]]

    def image(self, _name: str) -> ResizedImage:
        return ResizedImage(_GREY, (8, 8), (8, 8), None)


@dataclass(frozen=True, slots=True)
class KnownRows:
    """A scorer that knows what it says."""

    id: str
    rows: Float64Array

    def score(self, pair: int, _points: Float32Array) -> Float64Array:
        return np.asarray(self.rows[pair])


class PlantedMatcher(Matcher):
    """Gives the next correspondences of a list; nothing beyond its end."""

    name: ClassVar[str] = "planted"

    def __init__(self, found: Sequence[Float32Array]) -> None:
        super().__init__(None)
        self._found = iter(found)

    def match(
        self, _image0: Uint8Array, _image1: Uint8Array, _mask0: object = None, _mask1: object = None
    ) -> Correspondences:
        points = next(self._found, None)
        if points is None:
            return Correspondences.none()
        return Correspondences(points, np.ones(len(points), np.float32))

"""A matcher that finds what it is told, for tests of what is made of matches. Not a test.

Views are of one colour each, and the colour says which; no image is looked at for anything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from gim.evaluation.image_size import ResizedImage
from gim.matchers.base import Matcher
from gim.records import Correspondences, Float32Array, ImagePair, Uint8Array

_SIZE = (8, 6)  # width and height


@dataclass(frozen=True)
class PlantedConfig:
    """Anything that may differ between two such matchers."""

    variant: int = 0


class PlantedMatcher(Matcher):
    """Gives the correspondences of a table, and counts what it was asked for."""

    name: ClassVar[str] = "planted"

    def __init__(self, table: Mapping[tuple[int, int], Float32Array], config: PlantedConfig | None = None) -> None:
        super().__init__(config or PlantedConfig())
        self._table = table
        self.asked: list[tuple[int, int]] = []
        self.fails_at = -1  # so many pairs are matched, the next raises

    def match(
        self,
        image0: Uint8Array,
        image1: Uint8Array,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
    ) -> Correspondences:
        pair = (int(image0[0, 0, 0]), int(image1[0, 0, 0]))
        if len(self.asked) == self.fails_at:
            raise RuntimeError("the device is gone")
        self.asked.append(pair)
        points = np.asarray(self._table[pair], np.float32)
        return Correspondences(points, np.linspace(0, 1, len(points), dtype=np.float32))


class BatchedPlantedMatcher(PlantedMatcher):
    """The same in batches, as networks have it."""

    name: ClassVar[str] = "planted_batched"
    is_batched: ClassVar[bool] = True
    batch_size = 3  # type: ignore[assignment]

    def __init__(self, table: Mapping[tuple[int, int], Float32Array], config: PlantedConfig | None = None) -> None:
        super().__init__(table, config)
        self.batches: list[int] = []

    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]:
        self.batches.append(len(pairs))
        return super().match_pairs(pairs)


@dataclass(frozen=True)
class PlantedViews:
    """Views `0`, `1`, ... of one colour each."""

    pairs: Sequence[tuple[str, str]]
    id: str = "planted-00000000"
    read: list[str] = field(default_factory=list)  # names, each time

    def image(self, name: str) -> ResizedImage:
        self.read.append(name)
        pixels = np.full((_SIZE[1], _SIZE[0], 3), int(name), np.uint8)
        return ResizedImage(pixels, _SIZE, _SIZE, None)

"""What matchers with an extractor and a matching stage of their own have in common. No matcher by itself."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gim import keys
from gim.matchers.nearest.distance import descriptor_distance
from gim.matchers.network import SparseNetworkMatcher
from gim.records import Features, Int32Array, Uint8Array


class TwoStageMatcher(SparseNetworkMatcher):
    """`_build` gives an extractor with `extract(images)` and something with `match(pairs)`.

    `extractor_fields` names the settings that shape the features, `extractor_weights` those of them that name weights;
    what only the matching depends on can change and the stored features stay.
    """

    extractor: ClassVar[str]  # matchers that name the same one, with the same settings, share features
    extractor_revision: ClassVar[int] = 1  # bumped by hand when the same settings give other features
    extractor_fields: ClassVar[tuple[str, ...]] = ("max_keypoints", "detection_threshold", "max_side_px")
    extractor_weights: ClassVar[tuple[str, ...]] = ("weights",)
    descriptor_length: ClassVar[int]

    @property
    def descriptor_size(self) -> int:
        return self.descriptor_length

    @property
    def weights_of_extractor(self) -> tuple[str, ...]:
        """The fields that name the extractor's files."""
        return self.extractor_weights

    @property
    def extractor_id(self) -> str:
        settings = {name: getattr(self.config, name) for name in self.extractor_fields}
        weights = [self.files[name].sha256 for name in self.weights_of_extractor]
        return keys.config_id(
            self.extractor, self.extractor_revision, settings, weights, self.resources.inference.precision
        )

    @abstractmethod
    def _build(self, device: Any) -> tuple[Any, Any]:
        """The extractor and what matches its features, on a torch device."""

    def _extract(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Features]:
        found: list[Features] = self.network[0].extract(images)
        return found

    def _match(self, pairs: Sequence[tuple[Features, Features]]) -> list[tuple[Int32Array, np.ndarray[Any, Any]]]:
        found: list[tuple[Int32Array, np.ndarray[Any, Any]]] = self.network[1].match(pairs)
        return found

    def distance(self, features0: Features, features1: Features, candidates: Int32Array) -> np.ndarray[Any, Any]:
        """Euclidean distance of the descriptors, which have unit length."""
        return descriptor_distance(features0.descriptors, features1.descriptors, candidates)

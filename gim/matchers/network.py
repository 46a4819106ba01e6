"""Bases of matchers that are networks: their weights, their device, batches of equal size, maps made once per image.

Imports no torch: a matcher's file imports its network inside `_build`, so that naming and configuring it costs nothing.
"""

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from threading import RLock
from typing import Any, ClassVar, TypeVar

import numpy as np

from gim.geometry.colour import check_image
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.records import (
    Correspondences,
    DenseWarp,
    Features,
    ImagePair,
    Int32Array,
    Teacher,
    Uint8Array,
)
from gim.weights.config import WeightsConfig
from gim.weights.spec import WeightsFile

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ModelResources:
    """What a network needs besides its own configuration."""

    inference: InferenceConfig = field(default_factory=InferenceConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)


class NetworkMatcher(Matcher):
    """A matcher that is one or more networks with weights.

    `weight_fields` names the fields of the configuration that say which weights: a name of the catalogue, or the path
    of a file; an empty text means none. The files are found and checked when the matcher is made, the networks are
    built by `_build` at first use. Calls from many threads wait for each other: there is one device.
    """

    is_exact: ClassVar[bool] = False
    is_batched: ClassVar[bool] = True
    wants_colour: ClassVar[bool] = True
    min_side_px: ClassVar[int] = 16  # smaller images hold no features
    weight_fields: ClassVar[tuple[str, ...]] = ("weights",)

    def __init__(self, config: Any, resources: ModelResources) -> None:
        from gim.weights.files import find_weights  # noqa: PLC0415 - fetching, with all of HTTP, on use

        super().__init__(config)
        self.resources = resources
        self.files: dict[str, WeightsFile] = {
            name: find_weights(getattr(config, name), resources.weights)
            for name in self.weight_fields
            if getattr(config, name)
        }
        self._lock = RLock()

    @classmethod
    def weight_names(cls, config: Any) -> tuple[str, ...]:
        """The weights a configuration asks for, without looking for them."""
        return tuple(dict.fromkeys(getattr(config, name) for name in cls.weight_fields if getattr(config, name)))

    @property
    def identity(self) -> tuple[Any, ...]:
        """Name, revision, configuration and precision, with each weight file by its content and not by its place."""
        settings = {item.name: getattr(self.config, item.name) for item in fields(self.config)}
        hashes = {name: file.sha256 for name, file in self.files.items()}
        return (self.name, self.revision, settings | hashes, self.resources.inference.precision)

    @property
    def teacher(self) -> Teacher:
        from gim.weights.files import teacher_weights  # noqa: PLC0415 - as above

        return Teacher(self.name, self.licence, tuple(map(teacher_weights, dict.fromkeys(self.files.values()))))

    @property
    def batch_size(self) -> int:
        return self.resources.inference.batch_size

    @abstractmethod
    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]: ...

    def match(
        self,
        image0: Uint8Array,
        image1: Uint8Array,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
    ) -> Correspondences:
        return self.match_pairs([ImagePair(image0, image1, mask0, mask1)])[0]

    @abstractmethod
    def _build(self, device: Any) -> Any:
        """The networks with their weights, in evaluation mode, on a torch device."""

    @cached_property
    def device(self) -> Any:
        """The torch device of the settings."""
        from gim.inference.device import prepared_device  # noqa: PLC0415 - torch on use

        return prepared_device(self.resources.inference)

    @cached_property
    def _batches(self) -> Any:
        from gim.inference.device import Batches  # noqa: PLC0415 - torch on use

        return Batches(self.resources.inference)

    @property
    def network(self) -> Any:
        """The networks, built at first use."""
        with self._lock:
            return self._network

    @cached_property
    def _network(self) -> Any:
        return self._build(self.device)

    def _run(
        self,
        function: Callable[[Sequence[Item]], Sequence[Result]],
        items: Sequence[Item],
        key: Callable[[Item], Hashable],
    ) -> list[Result | None]:
        """Apply a function to batches of items of equal key, under the settings' precision.

        Results stand in the order of the items; an item whose key is None is left out, and its result is None.
        """
        from gim.inference.device import running  # noqa: PLC0415 - torch on use

        groups: dict[Hashable, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(key(item), []).append(index)
        groups.pop(None, None)
        results: list[Result | None] = [None] * len(items)
        with self._lock, running(self.resources.inference, self.device):
            for group, indices in groups.items():
                kind = (function.__name__, group)
                found = self._batches.apply(function, [items[index] for index in indices], kind)
                for index, result in zip(indices, found, strict=True):
                    results[index] = result
        return results

    def _shape(self, item: tuple[Uint8Array, Uint8Array | None]) -> Hashable:
        """Images of one shape share a batch; None: there is nothing to find in it."""
        image, mask = item
        has_texture = min(image.shape[:2]) >= self.min_side_px and image.min() < image.max()
        return image.shape if has_texture and (mask is None or mask.any()) else None


class SparseNetworkMatcher(SparseMatcher, NetworkMatcher):
    """A sparse matcher whose extractor, and perhaps matcher, is a network."""

    @property
    @abstractmethod
    def descriptor_size(self) -> int:
        """Length of a descriptor."""

    @abstractmethod
    def _extract(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Features]:
        """Features of images of one size, each with its mask, no smaller than `min_side_px`."""

    @abstractmethod
    def _match(self, pairs: Sequence[tuple[Features, Features]]) -> list[tuple[Int32Array, np.ndarray[Any, Any]]]:
        """Matches of pairs that all have keypoints on both sides."""

    def extract(self, image: Uint8Array, mask: Uint8Array | None = None) -> Features:
        return self.extract_batch([image], [mask])[0]

    def extract_batch(self, images: Sequence[Uint8Array], masks: Sequence[Uint8Array | None]) -> list[Features]:
        found = self._run(self._extract, _checked(images, masks), self._shape)
        return [item or self._no_features(image) for item, image in zip(found, images, strict=True)]

    def match_features(self, features0: Features, features1: Features) -> tuple[Int32Array, np.ndarray[Any, Any]]:
        return self.match_features_batch([(features0, features1)])[0]

    def match_features_batch(
        self, pairs: Sequence[tuple[Features, Features]]
    ) -> list[tuple[Int32Array, np.ndarray[Any, Any]]]:
        nothing = (np.empty((0, 2), np.int32), np.empty(0, np.float32))
        return [found or nothing for found in self._run(self._match, pairs, _have_keypoints)]

    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]:
        images, masks = images_of(pairs)
        both = _in_pairs(self.extract_batch(images, masks))
        return [
            correspondences_of(*pair, *found) for pair, found in zip(both, self.match_features_batch(both), strict=True)
        ]

    def _no_features(self, image: Uint8Array) -> Features:
        descriptors = np.empty((0, self.descriptor_size), np.float32)
        return Features(
            np.empty((0, 2), np.float32), descriptors, np.empty(0, np.float32), (image.shape[1], image.shape[0])
        )


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a dense matcher computes of one image alone; good for every pair the image is in."""

    image_size: tuple[int, int]  # (width, height) of the image as given
    key: Hashable  # pairs whose images' keys are equal may share a batch
    maps: Any  # the matcher's own, on its device; None: the image holds nothing to match


class DenseMatcher(NetworkMatcher):
    """A network that matches two images without keypoints; what it computes of one image alone is reused over pairs."""

    dense: ClassVar[bool] = True

    @abstractmethod
    def _encode(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Encoded]:
        """Maps of images of one size, each with its mask, no smaller than `min_side_px`."""

    @abstractmethod
    def _match(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[Correspondences]:
        """Correspondences of pairs of equal keys."""

    def encode(self, images: Sequence[Uint8Array], masks: Sequence[Uint8Array | None]) -> list[Encoded]:
        """Maps of many images, of any sizes, in order.

        Raises:
            ShapeError: an image or mask has the wrong shape or dtype.
        """
        found = self._run(self._encode, _checked(images, masks), self._shape)
        return [
            item or Encoded((image.shape[1], image.shape[0]), None, None)
            for item, image in zip(found, images, strict=True)
        ]

    def match_encoded(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[Correspondences]:
        """Correspondences of many pairs of encoded images, in order."""
        return [found or Correspondences.none() for found in self._run(self._match, pairs, _keys)]

    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]:
        return self.match_encoded(_in_pairs(self.encode(*images_of(pairs))))


class WarpMatcher(DenseMatcher):
    """A dense matcher that says of every pixel where it goes."""

    @abstractmethod
    def _warp(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[tuple[DenseWarp, DenseWarp]]:
        """Both directions of pairs of equal keys."""

    def warps(self, pairs: Sequence[ImagePair]) -> list[tuple[DenseWarp, DenseWarp]]:
        """The full warp 0 -> 1 and the full warp 1 -> 0 of many pairs, in order.

        Rows of both are (x0, y0, x1, y1); the grid of the first lies over image 0, that of the second over image 1.
        """
        both = _in_pairs(self.encode(*images_of(pairs)))
        nothing = DenseWarp(np.empty((0, 0, 4), np.float32), np.empty((0, 0), np.float32))
        return [found or (nothing, nothing) for found in self._run(self._warp, both, _keys)]


def _have_keypoints(pair: tuple[Features, Features]) -> Hashable:
    return all(len(item.keypoints) for item in pair) or None


def _keys(pair: tuple[Encoded, Encoded]) -> Hashable:
    return None if any(item.maps is None for item in pair) else (pair[0].key, pair[1].key)


def _in_pairs(items: Sequence[Item]) -> list[tuple[Item, Item]]:
    """What belongs to the first and to the second image of pairs, which stand in turn as in `images_of`."""
    return list(zip(items[::2], items[1::2], strict=True))


def _checked(
    images: Sequence[Uint8Array], masks: Sequence[Uint8Array | None]
) -> list[tuple[Uint8Array, Uint8Array | None]]:
    items = list(zip(images, masks, strict=True))
    for item in items:
        check_image(*item)
    return items


def images_of(pairs: Sequence[ImagePair]) -> tuple[list[Uint8Array], list[Uint8Array | None]]:
    """Images and masks of pairs, first and second in turn."""
    images = [image for pair in pairs for image in (pair.image0, pair.image1)]
    return images, [mask for pair in pairs for mask in (pair.mask0, pair.mask1)]

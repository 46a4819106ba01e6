"""From images to keypoints through any network that finds some: size, masks, order and number."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gim.geometry.colour import to_rgb
from gim.geometry.pixels import PixelMap, network_size, resize_image
from gim.geometry.trees import kd_tree
from gim.matchers.base import is_best_at, is_usable
from gim.records import Features, Float32Array, Int64Array, Uint8Array

# Keypoints [N, 2] pixels of the network's input, origin at the centre of the top-left pixel; unit descriptors [N, D];
# scores [N]. Any order.
Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
# Of places that were given: unit descriptors [N, D] and the detector's scores [N], in their order.
Described = tuple[torch.Tensor, torch.Tensor]


class KeypointExtractor(ABC):
    """Runs a network on images of one size."""

    multiple = 1  # sides of the network's input are multiples of this

    def __init__(self, network: torch.nn.Module, *, max_keypoints: int, max_side_px: int) -> None:
        self._network: Any = network  # of kornia, each with methods of its own
        self._device = next(network.parameters()).device
        self._max_keypoints = max_keypoints
        self._max_side_px = max_side_px

    @abstractmethod
    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        """At least the `num` strongest keypoints, as far as there are so many, of RGB [B, 3, H, W] in [0, 1]."""

    def extract(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Features]:
        """The strongest keypoints of each image outside its mask, strongest first."""
        tensor, to_given = self._inputs(images)
        most = tensor.shape[2] * tensor.shape[3]
        # A mask is applied to what was found, so ask for as many more as it may take.
        shares = [_usable_share(mask) for _, mask in images]
        spare = 1.0 if min(shares) == 1 else 1.25
        num = min(math.ceil(spare * self._max_keypoints / min(shares)), most)
        while True:
            found = self._detect(tensor, num)
            features = [self._features(item, *seen, to_given) for item, seen in zip(found, images, strict=True)]
            are_all = [
                share == 1 or len(item.keypoints) == self._max_keypoints or len(places) < num
                for share, item, (places, _, _) in zip(shares, features, found, strict=True)
            ]
            if num == most or all(are_all):
                return features
            num = min(4 * num, most)  # it took even those

    def _inputs(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> tuple[torch.Tensor, PixelMap]:
        """RGB [B, 3, H, W] in [0, 1] as the network takes it, and the way back to pixels of the images as given."""
        height, width = images[0][0].shape[:2]
        size = network_size(width, height, max_side_px=self._max_side_px, multiple=self.multiple)
        resized = [resize_image(to_rgb(image), size) for image, _ in images]
        batch = torch.from_numpy(np.stack([image for image, _ in resized])).to(self._device)
        return batch.permute(0, 3, 1, 2).float().div_(255), resized[0][1].inverse()

    def _features(self, found: Found, image: Uint8Array, mask: Uint8Array | None, to_given: PixelMap) -> Features:
        every = _all_usable(found, image, mask, to_given)
        return _rows(every, slice(self._max_keypoints))


class DescribingExtractor(KeypointExtractor):
    """One whose network also describes places that somebody else chose."""

    @abstractmethod
    def _detect_and_describe(
        self, images: torch.Tensor, num: int, positions: Sequence[torch.Tensor]
    ) -> tuple[list[Found], list[Described]]:
        """What `_detect` finds, and what one and the same pass of the network says of given places.

        Args:
            images: RGB [B, 3, H, W] in [0, 1].
            num: as of `_detect`.
            positions: for each image float32 [N, 2] pixels of the network's input, between the outermost centres.
        """

    def extract_at(
        self, images: Sequence[tuple[Uint8Array, Uint8Array | None]], positions: Sequence[Float32Array]
    ) -> list[Features]:
        """Features at given places and nowhere else, in their order; masks say nothing here.

        Args:
            images: of one size, each with its mask.
            positions: for each image float32 [N, 2] pixels, inside it.
        """
        tensor, to_given = self._inputs(images)
        _, described = self._detect_and_describe(tensor, 1, self._places(positions, tensor, to_given))
        return [given_features(*each) for each in zip(positions, described, map(_size, images), strict=True)]

    def extract_with(
        self,
        images: Sequence[tuple[Uint8Array, Uint8Array | None]],
        positions: Sequence[Float32Array],
        *,
        min_distance_px: float,
    ) -> list[Features]:
        """Features at given places, in their order, then the strongest keypoints that are far from all of them.

        Args:
            images: of one size, each with its mask, which forbids only what is detected.
            positions: for each image float32 [N, 2] pixels, inside it, at most as many as are kept.
            min_distance_px: a keypoint as near as that to a given place, or nearer, is that place.
        """
        tensor, to_given = self._inputs(images)
        places, most = self._places(positions, tensor, to_given), tensor.shape[2] * tensor.shape[3]
        # Given places take keypoints away as a mask does, but leave room for fewer, too.
        num = min(math.ceil(1.25 * self._max_keypoints / min(_usable_share(mask) for _, mask in images)), most)
        while True:
            found, described = self._detect_and_describe(tensor, num, places)
            features = [
                join_features(
                    given_features(places, seen, _size(item)),
                    _all_usable(detected, *item, to_given),
                    min_distance_px=min_distance_px,
                    max_keypoints=self._max_keypoints,
                )
                for places, seen, detected, item in zip(positions, described, found, images, strict=True)
            ]
            are_all = [
                len(item.keypoints) == self._max_keypoints or len(detected) < num
                for item, (detected, _, _) in zip(features, found, strict=True)
            ]
            if num == most or all(are_all):
                return features
            num = min(4 * num, most)

    def _places(
        self, positions: Sequence[Float32Array], tensor: torch.Tensor, to_given: PixelMap
    ) -> list[torch.Tensor]:
        """Given positions as pixels of the network's input; none is further out than the outermost centres."""
        last, to_network = np.array([tensor.shape[3] - 1, tensor.shape[2] - 1], np.float32), to_given.inverse()
        inside = [to_network.apply(item).clip(0, last) for item in positions]
        return [torch.from_numpy(item).to(self._device) for item in inside]


def given_features(positions: Float32Array, described: Described, size: tuple[int, int]) -> Features:
    """Features at places that were given, as they were given."""
    descriptors, scores = (np.asarray(part.float().cpu().numpy()) for part in described)
    return Features(np.ascontiguousarray(positions, np.float32), descriptors, scores, size)


def join_features(given: Features, detected: Features, *, min_distance_px: float, max_keypoints: int) -> Features:
    """All given ones, then the first detected ones that are far from all of them, `max_keypoints` at most together."""
    is_far = np.ones(len(detected.keypoints), np.bool_)
    if len(given.keypoints) and len(detected.keypoints):
        is_far = kd_tree(given.keypoints).query(detected.keypoints)[0] > min_distance_px
    rest = _rows(detected, np.flatnonzero(is_far)[: max(max_keypoints - len(given.keypoints), 0)])
    assert given.scores is not None  # networks give them
    assert rest.scores is not None
    return Features(
        np.concatenate([given.keypoints, rest.keypoints]),
        np.concatenate([given.descriptors, rest.descriptors]),
        np.concatenate([given.scores, rest.scores]),
        given.image_size,
    )


def _rows(features: Features, rows: slice | Int64Array) -> Features:
    scores = None if features.scores is None else features.scores[rows]
    return Features(features.keypoints[rows], features.descriptors[rows], scores, features.image_size)


def _all_usable(found: Found, image: Uint8Array, mask: Uint8Array | None, to_given: PixelMap) -> Features:
    """What was found outside the mask, strongest first, in pixels of the image as given."""
    keypoints, descriptors, scores = (np.asarray(part.float().cpu().numpy()) for part in found)
    keypoints = to_given.apply(keypoints)
    # Equally strong ones stand in the order of their places, whatever order the device gave them in.
    order = np.lexsort((keypoints[:, 0], keypoints[:, 1], -scores))
    order = order[is_usable(keypoints[order], image.shape, mask)]
    # Refinement may move two to one place.
    order = order[is_best_at(keypoints[order], scores[order])]
    return Features(keypoints[order], descriptors[order], scores[order], (image.shape[1], image.shape[0]))


def _usable_share(mask: Uint8Array | None) -> float:
    return 1.0 if mask is None else np.count_nonzero(mask) / mask.size


def _size(item: tuple[Uint8Array, Uint8Array | None]) -> tuple[int, int]:
    return (item[0].shape[1], item[0].shape[0])

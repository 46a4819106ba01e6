"""From images to keypoints through any network that finds some: size, masks, order and number."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gim.geometry.colour import to_rgb
from gim.geometry.pixels import PixelMap, network_size, resize_image
from gim.matchers.base import is_best_at, is_usable
from gim.records import Features, Uint8Array

# Keypoints [N, 2] pixels of the network's input, origin at the centre of the top-left pixel; unit descriptors [N, D];
# scores [N]. Any order.
Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


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
        height, width = images[0][0].shape[:2]
        size = network_size(width, height, max_side_px=self._max_side_px, multiple=self.multiple)
        resized = [resize_image(to_rgb(image), size) for image, _ in images]
        batch = torch.from_numpy(np.stack([image for image, _ in resized])).to(self._device)
        tensor = batch.permute(0, 3, 1, 2).float().div_(255)
        to_given, most = resized[0][1].inverse(), size[0] * size[1]
        # A mask is applied to what was found, so ask for as many more as it may take.
        shares = [1.0 if mask is None else np.count_nonzero(mask) / mask.size for _, mask in images]
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

    def _features(self, found: Found, image: Uint8Array, mask: Uint8Array | None, to_given: PixelMap) -> Features:
        keypoints, descriptors, scores = (np.asarray(part.float().cpu().numpy()) for part in found)
        keypoints = to_given.apply(keypoints)
        # Equally strong ones stand in the order of their places, whatever order the device gave them in.
        order = np.lexsort((keypoints[:, 0], keypoints[:, 1], -scores))
        order = order[is_usable(keypoints[order], image.shape, mask)]
        # Refinement may move two to one place.
        order = order[is_best_at(keypoints[order], scores[order])][: self._max_keypoints]
        return Features(keypoints[order], descriptors[order], scores[order], (image.shape[1], image.shape[0]))

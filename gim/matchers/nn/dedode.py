"""DeDoDe (Edstedt et al., 3DV 2024) by kornia: keypoints at whole pixels, matched under a dual soft-max."""

from collections.abc import Sequence

import numpy as np
import torch
from kornia.feature import DeDoDe

from gim.geometry.pixels import from_corner_origin
from gim.matchers.nn.assignment import Matches
from gim.matchers.nn.dual_softmax import match_dual_softmax
from gim.matchers.nn.keypoints import Found, KeypointExtractor
from gim.records import Features
from gim.weights.checkpoint import StateDict, load_into

_INVERSE_TEMPERATURE = 20.0  # of the soft-max, as published


class DedodeExtractor(KeypointExtractor):
    """Keypoints of DeDoDe: detector L, descriptor B."""

    multiple = 16  # the network halves four times, and leaves a pixel at least

    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        keypoints, scores, descriptors = self._network(images, n=num, pad_if_not_divisible=False)
        places = torch.from_numpy(from_corner_origin(keypoints.cpu().numpy()))
        unit = torch.nn.functional.normalize(descriptors.float(), dim=2)
        return list(zip(places, unit, scores, strict=True))


class DualSoftmaxMatcher:
    """Pairs of keypoints that are each other's most confident partner."""

    def __init__(self, device: torch.device, threshold: float) -> None:
        self._device = device
        self._threshold = threshold

    def match(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches int32 [K, 2], ascending, one-to-one, and their confidence float32 [K] in [0, 1]."""
        return [self._match(*pair) for pair in pairs]

    def _match(self, features0: Features, features1: Features) -> Matches:
        first, second = (
            torch.from_numpy(item.descriptors).to(self._device, torch.float32) for item in (features0, features1)
        )
        with torch.autocast(self._device.type, enabled=False):
            found = match_dual_softmax(first * _INVERSE_TEMPERATURE, second, threshold=self._threshold)
        rows, columns, confidence = (part.cpu().numpy() for part in found)
        return np.column_stack([rows, columns]).astype(np.int32), confidence


def load_dedode(
    detector: StateDict, descriptor: StateDict, *, sources: tuple[str, str], device: torch.device, precision: str
) -> DeDoDe:
    """DeDoDe with weights.

    Args:
        detector: tensors of the detector L.
        descriptor: tensors of the descriptor B.
        sources: what messages call the two files.
        device: where it runs.
        precision: of its own mixed precision on CUDA.

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ.
    """
    network = DeDoDe("L", "B", amp_dtype=getattr(torch, precision))
    load_into(network.detector, detector, source=sources[0])
    load_into(network.descriptor, descriptor, source=sources[1])
    return network.eval().to(device)

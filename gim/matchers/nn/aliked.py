"""ALIKED (Zhao et al., TIM 2023) by kornia: keypoints from local maxima, moved to sub-pixel places."""

from collections.abc import Sequence
from pathlib import Path

import torch
from kornia.feature import ALIKED
from torch.nn.functional import grid_sample

from gim.errors import InvalidInput
from gim.matchers.nn.keypoints import Described, DescribingExtractor, Found
from gim.matchers.nn.precision import InPrecision
from gim.weights.checkpoint import StateDict, load_into

_DERIVED = "dkd.hw_grid"  # made from the radius; no file has it
# Of the published sizes: width of the descriptor, and the number of its sample positions.
_SIZES = {(64, 16): "aliked-t16", (128, 16): "aliked-n16", (128, 32): "aliked-n32"}


class AlikedExtractor(DescribingExtractor):
    """Keypoints of ALIKED."""

    @property
    def descriptor_size(self) -> int:
        """Length of a descriptor."""
        return int(self._network.desc_head.agg_weights.shape[1])

    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        with torch.autocast(images.device.type, enabled=False):
            features, scores = self._network.extract_dense_map(images)
            return self._strongest(features, scores, num)

    def _detect_and_describe(
        self, images: torch.Tensor, num: int, positions: Sequence[torch.Tensor]
    ) -> tuple[list[Found], list[Described]]:
        with torch.autocast(images.device.type, enabled=False):
            features, scores = self._network.extract_dense_map(images)
            found = self._strongest(features, scores, num)
            return found, [self._described(*each) for each in zip(features, scores, positions, strict=True)]

    def _strongest(self, features: torch.Tensor, scores: torch.Tensor, num: int) -> list[Found]:
        network = self._network
        network.dkd.n_limit = num  # attributes of the detector, not globals
        network.dkd.top_k = num if network.dkd.top_k > 0 else network.dkd.top_k
        keypoints, strengths, _ = network.dkd(scores)
        descriptors, _ = network.desc_head(features, keypoints)
        scale = _half_span(scores)
        return [
            ((places + 1) * scale, found, strength)
            for places, found, strength in zip(keypoints, descriptors, strengths, strict=True)
        ]

    def _described(self, features: torch.Tensor, scores: torch.Tensor, positions: torch.Tensor) -> Described:
        """What one image's maps [C, H, W] say at positions [N, 2], as detection reads them at its keypoints."""
        if not len(positions):
            return features.new_empty(0, self.descriptor_size), features.new_empty(0)
        grid = positions / _half_span(scores) - 1
        descriptors, _ = self._network.desc_head(features[None], [grid])
        return descriptors[0], grid_sample(scores[None], grid[None, None], align_corners=True)[0, 0, 0]


def _half_span(scores: torch.Tensor) -> torch.Tensor:
    """Half the pixels (x, y) between the outermost centres: kornia's positions go from -1 at the first to 1."""
    height, width = scores.shape[-2:]
    return torch.tensor([width - 1, height - 1], device=scores.device) / 2


def load_aliked(
    state: StateDict,
    *,
    source: str,
    device: torch.device,
    max_keypoints: int,
    detection_threshold: float,
    precision: str = "float32",
) -> ALIKED:
    """ALIKED of the size that a file holds.

    Args:
        state: its tensors.
        source: what messages call the file.
        device: where it runs.
        max_keypoints: strongest kept.
        detection_threshold: least score, exclusive; 0: the strongest, whatever their score.
        precision: of the two blocks at full and half resolution. The others sample their input at learned places and
            form the scores, where bfloat16 costs 3 % of the matches: it knows a column above 128 to one pixel.

    Raises:
        InvalidInput: not a file of ALIKED.
    """
    weights = state.get("desc_head.agg_weights")
    name = _SIZES.get((weights.shape[1], weights.shape[0])) if weights is not None and weights.ndim == 3 else None
    if name is None:
        raise InvalidInput(f"weights {Path(source).name}: not of ALIKED, there is no desc_head.agg_weights of its size")
    network = ALIKED(name, max_num_keypoints=max_keypoints, detection_threshold=detection_threshold)
    load_into(network, state, source=source, may_miss=[_DERIVED])
    if precision != "float32":
        for name in ("block1", "block2"):
            setattr(network, name, InPrecision(getattr(network, name), getattr(torch, precision)))
    return network.to(device)

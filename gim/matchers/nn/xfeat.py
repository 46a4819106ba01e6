"""XFeat (Potje et al., CVPR 2024) by kornia: keypoints at whole pixels, fast on a CPU."""

from collections.abc import Iterable, Sequence

import torch
from kornia.feature import XFeat
from kornia.feature.xfeat import InterpolateSparse2d
from torch.nn.functional import normalize, pixel_shuffle

from gim.matchers.nn.keypoints import Described, DescribingExtractor, Found
from gim.matchers.nn.precision import InPrecision
from gim.weights.checkpoint import StateDict, load_into

_UNUSED = "fine_matcher."  # a head that only the semi-dense variant has a use for
# What comes out of the network: the places of keypoints are ranked by the first two and descriptors sampled from the
# third, which torch does wrongly in half precision on a CPU. All are small beside the blocks before them.
_EXACT = ("keypoint_head", "heatmap_head", "block_fusion")
_CELL_PX = 8  # of the network's maps


class XFeatExtractor(DescribingExtractor):
    """Keypoints of XFeat."""

    multiple = 32  # else kornia resizes, and its way back is half a pixel off

    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        found = self._network.detectAndCompute(images, top_k=num)
        return [(item["keypoints"].float(), item["descriptors"], item["scores"]) for item in found]

    def _detect_and_describe(
        self, images: torch.Tensor, num: int, positions: Sequence[torch.Tensor]
    ) -> tuple[list[Found], list[Described]]:
        # kornia runs the network inside its detection: its maps are taken from there, so that it runs once.
        maps: list[tuple[torch.Tensor, ...]] = []
        hook = self._network.net.register_forward_hook(lambda _net, _inputs, outputs: maps.append(outputs))
        try:
            found = self._detect(images, num)
        finally:
            hook.remove()
        descriptors, logits, reliability = maps[0]
        per_image = zip(normalize(descriptors, dim=1), _heat_maps(logits), reliability, positions, strict=True)
        return found, [self._described(*each) for each in per_image]

    def _described(
        self, descriptors: torch.Tensor, heat_map: torch.Tensor, reliability: torch.Tensor, positions: torch.Tensor
    ) -> Described:
        """What one image's maps say at float32 positions [N, 2], as detection reads them at its keypoints."""
        if not len(positions):
            return descriptors.new_empty(0, len(descriptors)), descriptors.new_empty(0)
        height, width = heat_map.shape
        vectors = self._network.interpolator(descriptors[None], positions[None], H=height, W=width)[0]
        trust = InterpolateSparse2d("bilinear")(reliability[None], positions[None], H=height, W=width)[0, :, 0]
        columns, rows = positions.round().long().T
        return normalize(vectors, dim=-1), heat_map[rows, columns] * trust


def _heat_maps(logits: torch.Tensor) -> torch.Tensor:
    """Probability of a keypoint [B, 8 h, 8 w]: 65 logits of each cell are its pixels, row by row, and "none here"."""
    return pixel_shuffle(logits.softmax(1)[:, :-1], _CELL_PX)[:, 0]


def load_xfeat(state: StateDict, *, source: str, device: torch.device, detection_threshold: float) -> XFeat:
    """XFeat with weights.

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ.
    """
    xfeat = XFeat(detection_threshold=detection_threshold).eval()
    load_into(xfeat.net, state, source=source, may_miss=_unused(xfeat.net.state_dict()))
    for name in _EXACT:
        setattr(xfeat.net, name, InPrecision(getattr(xfeat.net, name), torch.float32))
    return xfeat.to(device)


def _unused(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(_UNUSED)]

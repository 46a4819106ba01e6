"""XFeat (Potje et al., CVPR 2024) by kornia: keypoints at whole pixels, fast on a CPU."""

from collections.abc import Iterable

import torch
from kornia.feature import XFeat

from gim.matchers.nn.keypoints import Found, KeypointExtractor
from gim.matchers.nn.precision import InPrecision
from gim.weights.checkpoint import StateDict, load_into

_UNUSED = "fine_matcher."  # a head that only the semi-dense variant has a use for
# What comes out of the network: the places of keypoints are ranked by the first two and descriptors sampled from the
# third, which torch does wrongly in half precision on a CPU. All are small beside the blocks before them.
_EXACT = ("keypoint_head", "heatmap_head", "block_fusion")


class XFeatExtractor(KeypointExtractor):
    """Keypoints of XFeat."""

    multiple = 32  # else kornia resizes, and its way back is half a pixel off

    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        found = self._network.detectAndCompute(images, top_k=num)
        return [(item["keypoints"].float(), item["descriptors"], item["scores"]) for item in found]


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

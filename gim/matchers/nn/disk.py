"""DISK (Tyszkiewicz et al., NeurIPS 2020) by kornia: keypoints at whole pixels."""

import torch
from kornia.feature import DISK
from kornia.feature.disk.detector import heatmap_to_keypoints

from gim.matchers.nn.keypoints import Found, KeypointExtractor
from gim.weights.checkpoint import StateDict, load_into

_WINDOW_PX = 5  # in which only the strongest stays, as published


class DiskExtractor(KeypointExtractor):
    """Keypoints of DISK."""

    multiple = 16  # four halvings

    def __init__(self, network: DISK, *, detection_threshold: float, max_keypoints: int, max_side_px: int) -> None:
        super().__init__(network, max_keypoints=max_keypoints, max_side_px=max_side_px)
        self._detection_threshold = detection_threshold

    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        scores, descriptors = self._network.heatmap_and_dense_descriptors(images)
        found = heatmap_to_keypoints(
            scores.float(), n=num, window_size=_WINDOW_PX, score_threshold=self._detection_threshold
        )
        features = [item.merge_with_descriptors(maps.float()) for item, maps in zip(found, descriptors, strict=True)]
        return [(item.keypoints, item.descriptors, item.detection_scores) for item in features]


def load_disk(state: StateDict, *, source: str, device: torch.device) -> DISK:
    """DISK with weights.

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ.
    """
    network = DISK()
    load_into(network, state, source=source)
    return network.to(device)

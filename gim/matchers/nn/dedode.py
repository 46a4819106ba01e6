"""DeDoDe (Edstedt et al., 3DV 2024) by kornia: keypoints at whole pixels, to be matched under a dual soft-max."""

import torch
from kornia.feature import DeDoDe

from gim.geometry.pixels import from_corner_origin
from gim.matchers.nn.keypoints import Found, KeypointExtractor
from gim.weights.checkpoint import StateDict, load_into

INVERSE_TEMPERATURE = 20.0  # of the soft-max over similarities, as published


class DedodeExtractor(KeypointExtractor):
    """Keypoints of DeDoDe: detector L, descriptor B."""

    multiple = 16  # the network halves four times, and leaves a pixel at least

    def _detect(self, images: torch.Tensor, num: int) -> list[Found]:
        keypoints, scores, descriptors = self._network(images, n=num, pad_if_not_divisible=False)
        places = torch.from_numpy(from_corner_origin(keypoints.cpu().numpy()))
        unit = torch.nn.functional.normalize(descriptors.float(), dim=2)
        return list(zip(places, unit, scores, strict=True))


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

"""Samples of features as one batch, and a batch as networks for keypoints see it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from gim.errors import ShapeError
from gim.matchers.nn.assignment import KeypointBatch
from gim.records import Features
from gim.training.batches import FeatureBatch
from gim.training.samples import FeatureSample
from gim.training.truth import Views, truth_batch


def feature_batch(samples: Sequence[FeatureSample]) -> FeatureBatch:
    """Samples of one part as tensors on the CPU, padded to the most keypoints that one image has, at least one.

    Raises:
        ShapeError: features do not say the size of their image, or their descriptors are of several lengths.
    """
    sides = [[sample.features0 for sample in samples], [sample.features1 for sample in samples]]
    lengths = {features.descriptors.shape[1] for side in sides for features in side}
    if len(lengths) != 1:
        raise ShapeError(f"a batch of features of lengths {sorted(lengths)}: one extractor each")
    most = max(1, *(len(features.keypoints) for side in sides for features in side))
    (keypoints0, descriptors0, scores0, is_real0), (keypoints1, descriptors1, scores1, is_real1) = (
        _padded(side, most, lengths.copy().pop()) for side in sides
    )
    sizes0, sizes1 = ([_size(features) for features in side] for side in sides)
    return FeatureBatch(
        part=samples[0].part,
        names=tuple(sample.name for sample in samples),
        keypoints0=keypoints0,
        keypoints1=keypoints1,
        descriptors0=descriptors0,
        descriptors1=descriptors1,
        scores0=scores0,
        scores1=scores1,
        is_real0=is_real0,
        is_real1=is_real1,
        sizes0=torch.tensor(sizes0, dtype=torch.float32),
        sizes1=torch.tensor(sizes1, dtype=torch.float32),
        num_labels=torch.tensor([sample.num_labels for sample in samples]),
        truth=truth_batch([sample.truth for sample in samples], Views(sizes0), Views(sizes1)),
    )


def _size(features: Features) -> tuple[int, int]:
    if features.image_size is None:
        raise ShapeError("features to train on must say the size of their image")
    return features.image_size


def _padded(
    side: Sequence[Features], most: int, length: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keypoints, descriptors, scores and which are real, of one image of every pair."""
    keypoints = np.zeros((len(side), most, 2), np.float32)
    descriptors = np.zeros((len(side), most, length), np.float32)
    scores = np.zeros((len(side), most), np.float32)
    for index, features in enumerate(side):
        num = len(features.keypoints)
        keypoints[index, :num], descriptors[index, :num] = features.keypoints, features.descriptors
        if features.scores is not None:
            scores[index, :num] = features.scores
    counts = torch.tensor([len(features.keypoints) for features in side])
    is_real = torch.arange(most) < counts[:, None]
    return torch.from_numpy(keypoints), torch.from_numpy(descriptors), torch.from_numpy(scores), is_real


Places = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def network_inputs(batch: FeatureBatch, places: Places) -> tuple[KeypointBatch, KeypointBatch]:
    """What networks see of a batch.

    Args:
        batch: the features.
        places: makes of keypoints [B, M, 2], sizes [B, 2] and scores [B, M] what the network sees of them.
    """
    seen0 = _as_real(batch.is_real0), places(batch.keypoints0, batch.sizes0, batch.scores0)
    seen1 = _as_real(batch.is_real1), places(batch.keypoints1, batch.sizes1, batch.scores1)
    (real0, places0), (real1, places1) = seen0, seen1
    return KeypointBatch(places0, batch.descriptors0, real0), KeypointBatch(places1, batch.descriptors1, real1)


def _as_real(is_real: torch.Tensor) -> torch.Tensor | None:
    """Which keypoints others may attend to.

    None where all may: attention without a mask has the faster kernels. Only a processor tells that for nothing. An
    image without keypoints is attended to as it is padded: a soft-max over nothing is no number.
    """
    if is_real.device.type == "cpu" and bool(is_real.all()):
        return None
    return is_real | ~is_real.any(1, keepdim=True)


def centred_places(keypoints: torch.Tensor, sizes: torch.Tensor, _scores: torch.Tensor) -> torch.Tensor:
    """What LightGlue sees, see `gim.matchers.nn.lightglue.normalised_positions`."""
    unit = sizes.amax(1) / 2
    return (keypoints - (sizes[:, None] - 1) / 2) / unit[:, None, None]


def scored_places(keypoints: torch.Tensor, sizes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """What SuperGlue sees, see `gim.matchers.nn.superglue.keypoint_inputs`."""
    unit = 0.7 * sizes.amax(1)
    return torch.cat([(keypoints - sizes[:, None] / 2) / unit[:, None, None], scores[..., None]], -1)

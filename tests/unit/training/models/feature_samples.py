"""Pairs of random features whose correspondences are known. Not a test; used by tests of matchers on features."""

import numpy as np

from gim.records import Features
from gim.training.batches import FeatureBatch
from gim.training.samples import FeatureSample, Homography, Labels

SIZE = (320, 240)
SHIFT = np.array([6.0, -4.0], np.float32)


def labelled(seed: int, num: int = 12, *, num_labels: int | None = None, length: int = 64) -> FeatureSample:
    """Keypoint i of either image is the same point, and a label for i < `num_labels` (all)."""
    features0, features1 = _pair(seed, num, length)
    points = np.hstack([features0.keypoints, features1.keypoints])
    num_labels = num if num_labels is None else num_labels
    return FeatureSample(f"film/{seed}", "video", features0, features1, Labels(points[:num_labels]), num_labels)


def shifted(seed: int, num: int = 12, *, num_common: int = 8, length: int = 64) -> FeatureSample:
    """The first `num_common` keypoints match in order, under a shift; the others lie anywhere."""
    num_common = min(num, num_common)
    features0, features1 = _pair(seed, num, length)
    rng = np.random.default_rng(seed + 1000)
    features1.keypoints[num_common:] = rng.uniform(10, (300, 220), (num - num_common, 2))
    H01 = np.eye(3)
    H01[:2, 2] = SHIFT
    return FeatureSample(f"film/{seed}", "homography", features0, features1, Homography(H01))


def _pair(seed: int, num: int, length: int) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(20, (300, 220), (num, 2)).astype(np.float32)
    descriptors = rng.normal(size=(num, length)).astype(np.float32)
    changed = descriptors + 0.1 * rng.normal(size=descriptors.shape).astype(np.float32)
    scores = rng.uniform(0.1, 1, num).astype(np.float32)
    return (
        Features(keypoints, _unit(descriptors), scores, SIZE),
        Features(keypoints + SHIFT, _unit(changed), scores, SIZE),
    )


def _unit(descriptors: np.ndarray) -> np.ndarray:
    return descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)


def without(features: Features, start: int) -> Features:
    """Features without the keypoints from `start` on."""
    assert features.scores is not None
    return Features(
        features.keypoints[:start], features.descriptors[:start], features.scores[:start], features.image_size
    )


def num_positions(batch: FeatureBatch) -> int:
    """Rows of the batch's images, padding included."""
    return batch.keypoints0.shape[1]

"""What the golden sets of keypoints with real weights have in common: the same set, in the order of the stored one."""

from collections.abc import Callable

import numpy as np

from gim.records import Features

Record = Callable[[str, float, float], None]


def in_golden_order(found: Features, keypoints: np.ndarray) -> Features:
    """Features by the place of the stored keypoint each is nearest to; they must pair off one to one."""
    distance = np.linalg.norm(keypoints[:, None] - found.keypoints[None], axis=2)
    rows = distance.argmin(axis=1)
    assert sorted(rows) == list(range(len(found.keypoints)))
    return Features(found.keypoints[rows], found.descriptors[rows], found.scores[rows], found.image_size)


def check_features(found: Features, golden: dict[str, np.ndarray], record: Record, *, prefix: str, side: int) -> None:
    """Keypoints within 1e-2 px, descriptors and strengths within 1e-3, of features in the golden order."""
    tolerances = {"keypoints": 1e-2, "descriptors": 1e-3, "scores": 1e-3}
    for name, tolerance in tolerances.items():
        quantity = f"{prefix}{name}{side}"
        record(quantity, np.abs(getattr(found, name) - golden[quantity]).max(), tolerance)

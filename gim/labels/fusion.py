"""Fusing what several matchers say of one pair of frames."""

from collections.abc import Sequence

import numpy as np

from gim.labels.linking import one_to_one
from gim.records import Float32Array


def fuse_labels(labels: Sequence[Float32Array], *, unique: bool) -> Float32Array:
    """Put the correspondences of several matchers together, the first matcher's first.

    Args:
        labels: one float32 [N, 4] per matcher, rows (x0, y0, x1, y1), pixels.
        unique: keep them one-to-one by place, earlier matchers winning; else as the original does, all of them.

    Returns:
        float32 [M, 4].
    """
    if not labels:
        return np.empty((0, 4), np.float32)
    points = labels[0] if len(labels) == 1 else np.vstack(labels)
    return points[one_to_one(points)] if unique else points

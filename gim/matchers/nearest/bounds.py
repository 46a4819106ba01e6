"""Upper bounds of dot products from a part of the dimensions: what is surely not near needs no exact product.

Descriptors use their dimensions unevenly: half as many, well chosen, hold 98 % of RootSIFT's squared length. With parts
p in a subspace and remainders r, the inequality of Cauchy and Schwarz says x . y <= px . py + |rx| |ry|: a dot product
of half the length, when |r| is stored as one more dimension.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gim.records import Float32Array

SUBSPACE_DIMENSIONS = 63  # with the remainder 64; measured: 47 and 79 cost more
_EVERY = 8  # descriptors looked at to choose the subspace
_ROUNDING = np.float32(1e-4)  # ten times what float32 can lose in projecting and multiplying unit vectors


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest possible dot products of two sets of descriptors."""

    nearest: npt.NDArray[np.intp]  # [N] column with the largest bound
    best: Float32Array  # [N] that bound: no dot product of the row is larger
    runner_up: npt.NDArray[np.intp]  # [N] column with the next bound
    second: Float32Array  # [N] that bound: no dot product of the row is larger, but for `nearest`
    elsewhere: Float32Array  # [M] no dot product of the column is larger, but for rows whose `nearest` it is


def bound_nearest(descriptors0: Float32Array, descriptors1: Float32Array, block_rows: int) -> Bounds:
    """Bounds of the dot products of all rows of descriptors0 with all of descriptors1.

    Args:
        descriptors0: float32 [N, D], rows of unit length or zero.
        descriptors1: float32 [M, D], M >= 2, likewise.
        block_rows: rows of `descriptors0` compared at a time.
    """
    axes = _main_axes(descriptors0)
    rows0, columns = _project(descriptors0, axes), np.ascontiguousarray(_project(descriptors1, axes).T)
    num_rows, num_columns = len(descriptors0), len(descriptors1)
    nearest, runner_up = np.empty(num_rows, np.intp), np.empty(num_rows, np.intp)
    best, second = np.empty(num_rows, np.float32), np.empty(num_rows, np.float32)
    elsewhere = np.full(num_columns, -np.inf, np.float32)
    buffer = np.empty((min(block_rows, num_rows), num_columns), np.float32)
    for start in range(0, num_rows, block_rows):
        rows = slice(start, min(start + block_rows, num_rows))
        bound = buffer[: rows.stop - start]
        np.matmul(rows0[rows], columns, out=bound)
        nearest[rows], best[rows] = _take_largest(bound)
        np.maximum(elsewhere, bound.max(axis=0), out=elsewhere)
        runner_up[rows], second[rows] = _take_largest(bound)
    return Bounds(nearest, best + _ROUNDING, runner_up, second + _ROUNDING, elsewhere + _ROUNDING)


def _take_largest(values: Float32Array) -> tuple[npt.NDArray[np.intp], Float32Array]:
    """Place and value of the largest of each row, which is -inf afterwards."""
    row_numbers, at = np.arange(len(values)), values.argmax(axis=1)
    largest = values[row_numbers, at]
    values[row_numbers, at] = -np.inf
    return at, largest


def _main_axes(descriptors: Float32Array) -> Float32Array:
    """Orthonormal columns [D, 63] of the subspace that holds most of their length."""
    some = descriptors[::_EVERY]
    return np.ascontiguousarray(np.linalg.eigh(some.T @ some)[1][:, -SUBSPACE_DIMENSIONS:])


def _project(descriptors: Float32Array, axes: Float32Array) -> Float32Array:
    """Coordinates in the subspace, and the length of what is left [N, 64]."""
    inside = descriptors @ axes
    left = np.einsum("nd,nd->n", descriptors, descriptors) - np.einsum("nd,nd->n", inside, inside)
    # The rounding of a difference near zero must not make the remainder too short.
    return np.column_stack([inside, np.sqrt(np.maximum(left, 0) + _ROUNDING / 100)])

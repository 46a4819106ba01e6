"""Nearest neighbours in the plane, by scipy's k-d tree."""

from typing import TYPE_CHECKING

from gim.records import Float32Array, Float64Array

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


def load_trees() -> None:
    """Have scipy loaded before the first tree is asked for."""
    from scipy.spatial import cKDTree  # noqa: F401, PLC0415


def kd_tree(points: Float32Array | Float64Array) -> "cKDTree":
    """The tree of points [N, 2], pixels."""
    # scipy takes nearly as long to load as all the rest, and listing, or leading worker processes, needs none of it.
    from scipy.spatial import cKDTree  # noqa: PLC0415

    # Splitting at middles instead of medians: the same neighbours, and the tree is made in a third of the time.
    return cKDTree(points, balanced_tree=False, compact_nodes=False)

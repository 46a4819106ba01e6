"""Which images of a model see the same points: pairs to match, and groups of retrieved images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from gim.localisation.hloc_files import Pair
from gim.localisation.model import SceneModel


def covisible_pairs(model: SceneModel, most: int) -> list[Pair]:
    """Each image with those that share most points with it, at most `most`, and at least one point; by name.

    A pair stands once, in the direction that comes first.
    """
    names = sorted(model.names)
    seen = _incidence(model, names)
    pairs: dict[frozenset[str], Pair] = {}
    shared = csr_array(seen @ seen.T)
    for row, name in enumerate(names):
        start, end = shared.indptr[row], shared.indptr[row + 1]
        others, counts = shared.indices[start:end], shared.data[start:end]
        best = np.lexsort((others, -counts))
        partners = [names[other] for other in others[best] if other != row][:most]
        for partner in partners:
            pairs.setdefault(frozenset((name, partner)), (name, partner))
    return list(pairs.values())


def covisible_groups(model: SceneModel, names: Sequence[str]) -> list[list[str]]:
    """Images in groups that hang together by shared points, the largest group first; order within as given."""
    seen = _incidence(model, names)
    _, label_of = connected_components(seen @ seen.T, directed=False)
    groups: dict[int, list[str]] = {}
    for name, label in zip(names, label_of, strict=True):
        groups.setdefault(int(label), []).append(name)
    return sorted(groups.values(), key=len, reverse=True)


def _incidence(model: SceneModel, names: Sequence[str]) -> Any:
    """Which image [len(names)] sees which point, 0 or 1."""
    points = [np.unique(ids[ids >= 0]) for ids in map(model.point_ids, names)]
    rows = np.repeat(np.arange(len(names)), [len(ids) for ids in points])
    _, columns = np.unique(np.concatenate([*points, np.empty(0, np.int64)]), return_inverse=True)
    shape = (len(names), int(columns.max(initial=-1)) + 1)
    return csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape)

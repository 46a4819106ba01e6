"""Keypoints for matchers that have none: positions of many pairs, joined image by image.

In a database image positions near each other become one keypoint, so that tracks are longer than two views; a query's
positions stay as they are, since its pose is what is asked for.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from gim.export.keypoints import KeypointTable, one_to_one
from gim.localisation.growing_file import new_file, open_groups, write_group
from gim.localisation.hloc_files import Pair, match_datasets, pair_key

_STAMP = "pairs"  # attribute: what the file was made of


def join_positions(
    positions: Path, pairs: Sequence[Pair], queries: Iterable[str], folder: Path, merge_px: float
) -> None:
    """Make `features.h5` and `matches.h5` of a file of positions.

    The order of the pairs decides which positions come first and stay: with those of the database first, its keypoints
    have the same ids whatever the queries are. An array `matches0` is as long as the keypoints were when its pair came.

    Args:
        positions: as `gim.localisation.matching.match_positions` makes it.
        pairs: all that are to be joined.
        queries: names of the images whose positions stay as they are.
        folder: for the two files; they are left alone where they were made of the same.
        merge_px: see `gim.export.keypoints.KeypointTable`.
    """
    stamp = sha256(json.dumps([pairs, sorted(queries), merge_px]).encode()).hexdigest()
    if all(_is_made_of(folder / name, stamp) for name in ("features.h5", "matches.h5")):
        return
    numbers: dict[str, int] = {}
    tables = {True: KeypointTable(), False: KeypointTable(merge_px)}  # of queries, of the database
    sizes: dict[str, Any] = {}
    is_query = frozenset(queries)

    def add(name: str, keypoints: Any) -> Any:
        return tables[name in is_query].add(numbers.setdefault(name, len(numbers)), keypoints)

    with open_groups(positions) as source, new_file(folder / "matches.h5") as matches:
        for name0, name1 in pairs:
            found = _group_of(source, name0, name1)
            order = np.argsort(-found["scores"], kind="stable")  # the surer of two matches of one keypoint stays
            ids0, ids1 = add(name0, found["keypoints0"][order]), add(name1, found["keypoints1"][order])
            keep = one_to_one(ids0, ids1)
            rows = np.stack([ids0[keep], ids1[keep]], axis=1)
            num_keypoints0 = len(tables[name0 in is_query].keypoints(numbers[name0]))
            if pair_key(name0, name1) not in matches and pair_key(name1, name0) not in matches:
                datasets = match_datasets(rows, found["scores"][order][keep], num_keypoints0)
                write_group(matches, pair_key(name0, name1), datasets)
            sizes |= {name0: found["image_size0"], name1: found["image_size1"]}
        matches.attrs[_STAMP] = stamp
    with new_file(folder / "features.h5") as features:
        for name, number in numbers.items():
            keypoints = tables[name in is_query].keypoints(number)
            write_group(features, name, {"keypoints": keypoints, "image_size": sizes[name]})
        features.attrs[_STAMP] = stamp


def _group_of(source: Any, name0: str, name1: str) -> dict[str, Any]:
    """Positions of a pair, whichever way round they are stored."""
    if (key := pair_key(name0, name1)) in source:
        return {name: item[()] for name, item in source[key].items()}
    other = {"0": "1", "1": "0"}
    stored = source[pair_key(name1, name0)]
    return {name[:-1] + other.get(name[-1], name[-1]): item[()] for name, item in stored.items()}


def _is_made_of(path: Path, stamp: str) -> bool:
    if not path.exists():
        return False
    with open_groups(path) as file:
        return bool(file.attrs.get(_STAMP) == stamp)

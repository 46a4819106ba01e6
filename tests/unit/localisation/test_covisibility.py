"""Pairs and groups by shared points, against counting by hand."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.localisation.covisibility import covisible_groups, covisible_pairs

SEEN = st.lists(st.lists(st.integers(-1, 12), max_size=8), min_size=1, max_size=6)


class Model:
    """What of a model is asked here."""

    def __init__(self, seen):
        self._seen = {f"{index}.jpg": np.array(ids, np.int64) for index, ids in enumerate(seen)}
        self.names = set(self._seen)

    def point_ids(self, name):
        return self._seen[name]


def _shared(model, name0, name1):
    return len((set(model.point_ids(name0)) & set(model.point_ids(name1))) - {-1})


@given(SEEN, st.integers(1, 4))
def test_each_image_is_paired_with_those_that_share_most(seen, most) -> None:
    model = Model(seen)
    expected = set()
    for name in model.names:
        others = sorted(model.names - {name}, key=lambda other: (-_shared(model, name, other), other))
        expected |= {frozenset((name, other)) for other in others[:most] if _shared(model, name, other)}
    found = covisible_pairs(model, most)
    assert {frozenset(pair) for pair in found} == expected
    assert len(found) == len(expected)


@given(SEEN)
def test_groups_hang_together_and_share_nothing_with_each_other(seen) -> None:
    model = Model(seen)
    names = sorted(model.names)
    groups = covisible_groups(model, names)
    assert sorted(name for group in groups for name in group) == names
    assert [len(group) for group in groups] == sorted((len(group) for group in groups), reverse=True)
    group_of = {name: index for index, group in enumerate(groups) for name in group}
    for name0, name1 in combinations(names, 2):
        if _shared(model, name0, name1):
            assert group_of[name0] == group_of[name1]
    for group in groups:
        reached = {group[0]}
        for _ in group:
            reached |= {name for name in group if any(_shared(model, name, other) for other in reached)}
        assert reached == set(group)


@pytest.mark.parametrize("seen", [[[]], [[-1], [-1]]])
def test_without_points_there_are_no_pairs(seen) -> None:
    assert covisible_pairs(Model(seen), 3) == []
    assert covisible_groups(Model(seen), ["0.jpg"]) == [["0.jpg"]]

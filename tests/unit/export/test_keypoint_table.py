"""Keypoint ids against a slow, obvious reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.export.keypoints import KeypointTable, one_to_one

_COORDINATE = st.integers(0, 5).map(lambda n: n / 2)
_BATCHES = st.lists(st.lists(st.tuples(_COORDINATE, _COORDINATE), max_size=12), max_size=5)


def _array(batch):
    return np.array(batch, np.float32).reshape(-1, 2)


@given(_BATCHES)
def test_equal_positions_share_an_id_in_order_of_first_appearance(batches):
    table, reference = KeypointTable(), {}
    for batch in batches:
        expected = [reference.setdefault(position, len(reference)) for position in batch]
        assert table.add(7, _array(batch)).tolist() == expected
    assert table.keypoints(7).tolist() == [list(position) for position in reference]


def _add_slowly(known, batch, merge_px):
    """Each distinct new position takes the nearest known one that no nearer position takes."""
    distinct = list(dict.fromkeys(batch))
    wishes = []
    for position in distinct:
        if known and position not in known:
            near = min(range(len(known)), key=lambda i: np.hypot(*np.subtract(known[i], position)))
            distance = np.hypot(*np.subtract(known[near], position))
            if distance <= merge_px:
                wishes.append((distance, position, near))
        elif position in known:
            wishes.append((0.0, position, known.index(position)))
    taken = {}
    for _, position, near in sorted(wishes, key=lambda wish: wish[0]):
        if near not in taken.values():
            taken[position] = near
    ids = []
    for position in batch:
        if position not in taken:
            known.append(position)
            taken[position] = len(known) - 1
        ids.append(taken[position])
    return ids


def test_near_positions_join_the_nearest_keypoint_of_another_pair():
    rng = np.random.default_rng(3)
    for _ in range(30):
        table, known = KeypointTable(merge_px=0.4), []
        for _ in range(4):
            batch = [tuple(row) for row in rng.uniform(0, 4, (25, 2)).astype(np.float32).tolist()]
            assert table.add(0, _array(batch)).tolist() == _add_slowly(known, batch, 0.4)


def test_positions_of_one_pair_are_never_merged_with_each_other():
    table = KeypointTable(merge_px=2.0)
    table.add(0, _array([(10, 10)]))
    ids = table.add(0, _array([(10.5, 10), (10.2, 10), (9.9, 10)]))
    assert ids.tolist() == [1, 2, 0]


def test_frames_are_apart():
    table = KeypointTable()
    table.add(1, _array([(1, 1)]))
    assert table.add(2, _array([(5, 5), (1, 1)])).tolist() == [0, 1]
    assert table.keypoints(3).shape == (0, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_no_keypoint_is_matched_twice(rows):
    ids = np.array(rows, np.int32).reshape(-1, 2)
    kept = ids[one_to_one(ids[:, 0], ids[:, 1])].tolist()
    assert len({row[0] for row in kept}) == len({row[1] for row in kept}) == len(kept)
    if rows:
        assert kept[0] == list(rows[0])


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_minus_zero_is_zero(zero):
    table = KeypointTable()
    table.add(0, _array([(0.0, 1.0)]))
    assert table.add(0, _array([(zero, 1.0)])).tolist() == [0]

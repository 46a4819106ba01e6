"""Linking against loops over single points: the three rules, and the two ways of keeping labels unique."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ShapeError
from gim.labels.linking import is_among, link_points, one_per_pixel_pair, one_to_one
from tests.unit.labels import reference
from tests.unit.labels.reference import rows_of

RULES = ("mutual", "distance", "rounded")
COARSE = st.sampled_from([-1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5])  # ties, twins, both zeros, halves


def points_of(*rows: tuple[float, ...], columns: int = 2) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, columns)


def coarse_points(columns: int, most: int = 14) -> st.SearchStrategy[np.ndarray]:
    rows = st.lists(st.tuples(*[COARSE] * columns), max_size=most)
    return rows.map(lambda found: points_of(*found, columns=columns))


def jittered(seed: int, num: int, *, share: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds of which a share are neighbours; no two distances are equal."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 3 * math.sqrt(num) + 1, (num, 2))
    again = rng.permutation(first[rng.random(num) < share])
    again = again + rng.uniform(-1.2, 1.2, again.shape)
    return first.astype(np.float32), again.astype(np.float32)


def linked_rows(end01: np.ndarray, start12: np.ndarray, rule: str, max_distance_px: float) -> list[tuple[int, int]]:
    """What the reference links, told by numbered rows."""
    first = [(float(row), 0.0, *point) for row, point in enumerate(rows_of(end01))]
    second = [(*point, float(row), 0.0) for row, point in enumerate(rows_of(start12))]
    linked = reference.LINKS[rule](first, second, max_distance_px)
    return sorted((int(row[0]), int(row[2])) for row in linked)


@pytest.mark.parametrize("rule", RULES)
@given(seed=st.integers(0, 2**32), num=st.integers(0, 60), max_distance_px=st.sampled_from([0.3, 1.0, 2.5]))
def test_every_rule_equals_its_reference_where_nothing_ties(
    rule: str, seed: int, num: int, max_distance_px: float
) -> None:
    end01, start12 = jittered(seed, num)
    found = link_points(end01, start12, rule=rule, max_distance_px=max_distance_px)
    assert [tuple(pair) for pair in found.tolist()] == linked_rows(end01, start12, rule, max_distance_px)


@pytest.mark.parametrize("rule", ["distance", "rounded"])
@given(end01=coarse_points(2), start12=coarse_points(2))
def test_ties_and_twins_change_nothing_for_rules_that_choose_no_neighbour(
    rule: str, end01: np.ndarray, start12: np.ndarray
) -> None:
    found = link_points(end01, start12, rule=rule, max_distance_px=1.0)
    assert [tuple(pair) for pair in found.tolist()] == linked_rows(end01, start12, rule, 1.0)


@given(end01=coarse_points(2), start12=coarse_points(2))
def test_mutual_links_among_ties_are_nearest_both_ways_and_use_no_row_twice(
    end01: np.ndarray, start12: np.ndarray
) -> None:
    found = link_points(end01, start12, rule="mutual", max_distance_px=1.0)
    assert found.dtype == np.int64
    assert len(set(found[:, 0])) == len(set(found[:, 1])) == len(found)
    assert found[:, 0].tolist() == sorted(found[:, 0])
    ends, starts = rows_of(end01), rows_of(start12)
    for row01, row12 in found:
        gap = reference.distance(ends[row01], starts[row12])
        assert gap < 1.0
        assert gap == reference.nearest(ends[row01], starts) == reference.nearest(starts[row12], ends)
        assert all(ends[earlier] != ends[row01] or earlier in found[:, 0] for earlier in range(row01))


def test_the_greatest_distance_is_exclusive() -> None:
    for rule in ("mutual", "distance"):
        for gap, num in ((0.999, 1), (1.0, 0), (1.001, 0)):
            found = link_points(points_of((5, 5)), points_of((5, 5 + gap)), rule=rule, max_distance_px=1.0)
            assert len(found) == num


def test_rounding_goes_to_the_even_pixel_on_both_sides_of_zero() -> None:
    ends, starts = points_of((0.5, -0.5), (1.5, 2.5), (-0.2, 0.2)), points_of((0, 0), (2, 2))
    found = link_points(ends, starts, rule="rounded", max_distance_px=1.0)
    assert found.tolist() == [[1, 1], [2, 0]]  # of (0.5, -0.5) and (-0.2, 0.2), both on (0, 0), the last


@pytest.mark.parametrize("rule", RULES)
def test_nothing_links_to_nothing(rule: str) -> None:
    some, none = points_of((1, 2), (3, 4)), points_of()
    for ends, starts in ((none, none), (some, none), (none, some)):
        found = link_points(ends, starts, rule=rule, max_distance_px=1.0)
        assert (found.shape, found.dtype) == ((0, 2), np.int64)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 2, 2)])
def test_other_shapes_are_refused(rule: str, shape: tuple[int, ...]) -> None:
    for arguments in ((np.zeros(shape, np.float32), points_of()), (points_of(), np.zeros(shape, np.float32))):
        with pytest.raises(ShapeError, match=r"\[N, 2\]"):
            link_points(*arguments, rule=rule, max_distance_px=1.0)


@given(points=coarse_points(4, most=30))
def test_one_to_one_equals_its_reference(points: np.ndarray) -> None:
    kept = one_to_one(points)
    assert rows_of(points[kept]) == reference.one_to_one(rows_of(points))
    assert kept.tolist() == sorted(kept)


@given(points=coarse_points(4, most=30))
def test_one_per_pixel_pair_keeps_the_first_of_equal_entries(points: np.ndarray) -> None:
    first: dict[tuple[int, ...], int] = {}
    for index, row in enumerate(rows_of(points)):
        first.setdefault(tuple(round(value) for value in row), index)
    assert one_per_pixel_pair(points).tolist() == sorted(first.values())


@given(points=coarse_points(2), others=coarse_points(2))
def test_is_among_asks_for_the_same_place_and_knows_one_zero(points: np.ndarray, others: np.ndarray) -> None:
    places = set(rows_of(others))  # -0.0 == 0.0, and they hash alike
    assert is_among(points, others).tolist() == [place in places for place in rows_of(points)]


def test_neighbouring_floats_are_different_places() -> None:
    x = np.float32(1000.25)
    points = points_of((x, 1, 2, 3), (np.nextafter(x, np.float32(2000)), 1, 4, 5), columns=4)
    assert one_to_one(points).tolist() == [0, 1]

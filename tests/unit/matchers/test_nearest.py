"""match_mutual against an obvious reference, at its ties and edges, and whatever BLAS does."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from gim.errors import ShapeError
from gim.matchers.nearest.bounds import bound_nearest
from gim.matchers.nearest.mutual import match_all, match_bounded, match_mutual


def match_slowly(descriptors0, descriptors1, ratio):
    """Read the definition off the docstring, one descriptor at a time."""
    matches, similarities, claimed = [], [], set()
    for i, descriptor in enumerate(descriptors0):
        row = [float(np.dot(descriptor.astype(np.float64), other)) for other in descriptors1]
        if not row or max(row) <= 0:
            continue
        j = row.index(max(row))
        column = [float(np.dot(other.astype(np.float64), descriptors1[j])) for other in descriptors0]
        if max(column) > row[j] or j in claimed:
            continue
        if ratio < 1:
            others = row[:j] + row[j + 1 :]
            if not others:
                continue
            nearest, second = (max(2 - 2 * s, 0) for s in (row[j], max(others)))
            if not nearest < ratio**2 * second:  # squared, so that equality is not a matter of rounding
                continue
        claimed.add(j)
        matches.append((i, j))
        similarities.append(min(row[j], 1.0))
    return np.array(matches, np.int32).reshape(-1, 2), np.array(similarities, np.float32)


def exact_descriptors(seed, num, length, levels):
    """Rows of few distinct values in steps of 1/64: many ties, duplicates and zero rows, and exact dot products."""
    return (np.random.default_rng(seed).integers(0, levels, (num, length)) * 8 // levels / 64).astype(np.float32)


@given(
    seed=st.integers(0, 2**32 - 1),
    num0=st.integers(0, 40),
    num1=st.integers(0, 40),
    length=st.integers(1, 8),
    levels=st.integers(1, 8),
    ratio=st.sampled_from([0.5, 0.8, 0.95, 1.0, 2.0]),
    block_rows=st.sampled_from([1, 3, 16, 256]),
)
@example(seed=0, num0=1, num1=1, length=4, levels=8, ratio=0.8, block_rows=256)
@example(seed=0, num0=2, num1=2, length=4, levels=8, ratio=1.0, block_rows=1)
@example(seed=0, num0=0, num1=5, length=4, levels=8, ratio=1.0, block_rows=1)
def test_match_mutual_equals_slow_reference(seed, num0, num1, length, levels, ratio, block_rows):
    descriptors0 = exact_descriptors(seed, num0, length, levels)
    descriptors1 = exact_descriptors(seed + 1, num1, length, levels)
    matches, similarity = match_mutual(descriptors0, descriptors1, ratio=ratio, block_rows=block_rows)
    expected, expected_similarity = match_slowly(descriptors0, descriptors1, ratio)
    np.testing.assert_array_equal(matches, expected)
    np.testing.assert_array_equal(similarity, expected_similarity)
    assert matches.dtype == np.int32
    assert similarity.dtype == np.float32


def test_match_mutual_of_duplicates_takes_lowest_index_or_nothing():
    row = np.full((1, 4), 0.5, np.float32)
    three = np.repeat(row, 3, axis=0)
    matches, _ = match_mutual(three, three, ratio=1.0)
    np.testing.assert_array_equal(matches, [[0, 0]])
    assert len(match_mutual(three, three, ratio=0.8)[0]) == 0


def test_match_mutual_of_zero_descriptors_finds_nothing():
    zeros = np.zeros((3, 4), np.float32)
    for ratio in (0.8, 1.0):
        assert len(match_mutual(zeros, zeros, ratio=ratio)[0]) == 0
        assert len(match_mutual(zeros, np.eye(4, dtype=np.float32), ratio=ratio)[0]) == 0


def test_match_mutual_when_rounding_exceeds_one_stays_at_one():
    long = np.eye(4, dtype=np.float32) * np.float32(1.0001)
    matches, similarity = match_mutual(long, long, ratio=0.8)
    np.testing.assert_array_equal(matches, np.repeat(np.arange(4)[:, None], 2, axis=1))
    np.testing.assert_array_equal(similarity, np.ones(4, np.float32))


def test_match_mutual_finds_planted_pairs_among_noise():
    rng = np.random.default_rng(7)
    unit = rng.random((600, 128))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    order = rng.permutation(600)
    noisy = unit[order] + rng.normal(0, 0.002, unit.shape)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    matches, _ = match_mutual(unit.astype(np.float32), noisy.astype(np.float32), ratio=0.8)
    np.testing.assert_array_equal(order[matches[:, 1]], matches[:, 0])
    assert len(matches) == 600


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block_rows", [1, 17, 256, 5000])
@pytest.mark.parametrize("large", [0, 10**9], ids=["bounded", "all"])
def test_match_mutual_of_exact_products_is_the_same_for_every_blas_setting(threads, block_rows, large, monkeypatch):
    monkeypatch.setattr("gim.matchers.nearest.mutual._LARGE", large)
    rng = np.random.default_rng(3)
    steps = rng.integers(0, 280, (701, 128))
    moved = np.abs(steps[rng.permutation(701)[:533]] + rng.integers(-90, 90, (533, 128)))
    descriptors = [(rows / 2048).astype(np.float32) for rows in (steps, moved)]
    expected = match_slowly_by_matrix(*descriptors, ratio=0.99)
    with threadpool_limits(threads, user_api="blas"):
        matches, _ = match_mutual(*descriptors, ratio=0.99, block_rows=block_rows)
    np.testing.assert_array_equal(matches, expected)
    assert 100 < len(expected) < 533


@st.composite
def skewed_descriptors(draw):
    """Two sets of exact descriptors that share some rows, with repeats, zeros, and most of their length in few axes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    decay = draw(st.sampled_from([0.0, 0.02, 0.1]))
    noise = draw(st.sampled_from([0, 30, 300]))
    scale = 400 * np.exp(-decay * np.arange(128))
    steps0 = np.abs(rng.normal(0, scale, (draw(st.integers(1, 80)), 128)))
    steps1 = steps0[rng.integers(0, len(steps0), draw(st.integers(2, 80)))]
    sets = []
    for steps in (steps0, np.abs(steps1 + rng.normal(0, noise + 1e-9, steps1.shape))):
        length = np.linalg.norm(steps, axis=1, keepdims=True)
        unit = steps / length * (rng.random((len(steps), 1)) > 0.05)
        sets.append((np.rint(unit * 2048) / 2048).astype(np.float32))
    return sets


@given(sets=skewed_descriptors(), ratio=st.sampled_from([0.5, 0.8, 0.99]), block_rows=st.sampled_from([1, 7, 256]))
def test_bounds_change_no_match(sets, ratio, block_rows):
    for of_all, of_bounded in zip(
        match_all(*sets, ratio, block_rows), match_bounded(*sets, ratio, block_rows), strict=True
    ):
        np.testing.assert_array_equal(of_bounded, of_all)


@given(sets=skewed_descriptors())
def test_bounds_are_upper_bounds(sets):
    bounds = bound_nearest(*sets, 16)
    product = sets[0].astype(np.float64) @ sets[1].T.astype(np.float64)
    rows = np.arange(len(product))
    assert (bounds.best >= product.max(axis=1)).all()
    product[rows, bounds.nearest] = -np.inf
    assert (bounds.second >= product.max(axis=1)).all()
    assert (bounds.elsewhere >= product.max(axis=0)).all()
    assert (bounds.runner_up != bounds.nearest).all()


def match_slowly_by_matrix(descriptors0, descriptors1, ratio):
    similarity = descriptors0.astype(np.float64) @ descriptors1.astype(np.float64).T
    nearest, ordered = similarity.argmax(axis=1), np.sort(similarity, axis=1)
    distance = np.sqrt(np.maximum(2 - 2 * ordered[:, [-1, -2]], 0))
    is_kept = similarity.argmax(axis=0)[nearest] == np.arange(len(descriptors0))
    is_kept &= distance[:, 0] < ratio * distance[:, 1]
    return np.argwhere(is_kept).ravel()[:, None] * [1, 0] + nearest[is_kept][:, None] * [0, 1]


@pytest.mark.parametrize(
    ("descriptors0", "descriptors1"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3))),
        (np.zeros(3, np.float32), np.zeros((2, 3), np.float32)),
        (np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)),
    ],
)
def test_match_mutual_when_shape_or_dtype_is_wrong_says_so(descriptors0, descriptors1):
    with pytest.raises(ShapeError, match="descriptors"):
        match_mutual(descriptors0, descriptors1)

"""Sinkhorn, the assignment and what is read off it, against slow references; SuperGlue on planted matches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from gim.errors import ShapeError
from gim.inference.config import InferenceConfig
from gim.records import Features
from tests.matcher_files.superpoint_superglue import superglue_state

torch = pytest.importorskip("torch")

from gim.inference.device import running  # noqa: E402 - needs torch
from gim.matchers.nn.assignment import mutual_matches  # noqa: E402
from gim.matchers.nn.superglue import SuperGlue, keypoint_inputs, load_superglue, sinkhorn  # noqa: E402

CPU = torch.device("cpu")
SIZE = (640, 480)
ASSIGNING = SuperGlue(sinkhorn_iterations=200)


@pytest.fixture(scope="module")
def matcher():
    return load_superglue(
        superglue_state(),
        source="filled",
        device=CPU,
        inference=InferenceConfig(),
        match_threshold=0.2,
        sinkhorn_iterations=100,
    )


def planted(seed, num0=60, num1=50, num_common=40):
    """Features whose keypoints `common[k]` of image 0 and k of image 1 are the same, a little changed."""
    rng = np.random.default_rng(seed)

    def features(keypoints, descriptors):
        unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
        scores = rng.random(len(keypoints)).astype(np.float32)
        return Features(keypoints.astype(np.float32), unit.astype(np.float32), scores, SIZE)

    keypoints, descriptors = rng.uniform(0, (639, 479), (num0, 2)), rng.normal(size=(num0, 256))
    common = rng.permutation(num0)[:num_common]
    moved = np.vstack([keypoints[common] * 0.9 + 5, rng.uniform(0, (639, 479), (num1 - num_common, 2))])
    changed = descriptors[common] + 0.2 * rng.normal(size=(num_common, 256))
    changed = np.vstack([changed, rng.normal(size=(num1 - num_common, 256))])
    return features(keypoints, descriptors), features(moved, changed), common


def reordered(features, order):
    return Features(features.keypoints[order], features.descriptors[order], features.scores[order], SIZE)


def match(matcher, *pairs, precision="float32"):
    with running(InferenceConfig(precision=precision), CPU):
        return matcher.match(pairs)


# --- assignment -------------------------------------------------------------------------------------------------------


def slow_sinkhorn(scores, log_rows, log_columns, num_iterations):
    u, v = np.zeros(len(log_rows)), np.zeros(len(log_columns))
    for _ in range(num_iterations):
        u = np.array([log_rows[i] - logsumexp(scores[i] + v) for i in range(len(u))])
        v = np.array([log_columns[j] - logsumexp(scores[:, j] + u) for j in range(len(v))])
    return scores + u[:, None] + v[None]


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.1, 3, 30]), st.integers(1, 20)
)
def test_sinkhorn_is_the_slow_one_and_gives_each_column_its_sum(seed, num_rows, num_columns, spread, num_iterations):
    rng = np.random.default_rng(seed)
    scores = (spread * rng.normal(size=(2, num_rows, num_columns))).astype(np.float32)
    log_rows, log_columns = rng.normal(size=num_rows), rng.normal(size=num_columns)
    log_rows += logsumexp(log_columns) - logsumexp(log_rows)
    sums = [torch.from_numpy(item.astype(np.float32)) for item in (log_rows, log_columns)]
    found = sinkhorn(torch.from_numpy(scores), *sums, num_iterations).numpy()
    for ours, given_scores in zip(found, scores, strict=True):
        expected = slow_sinkhorn(given_scores.astype(float), log_rows, log_columns, num_iterations)
        np.testing.assert_allclose(ours, expected, atol=2e-4 * max(spread, 1))
        np.testing.assert_allclose(logsumexp(ours.astype(float), axis=0), log_columns, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8))
def test_assignment_gives_every_keypoint_one_whole(seed, num0, num1):
    similarity = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (2, num0, num1)).astype(np.float32))
    with torch.inference_mode():
        share = ASSIGNING.assign(similarity).exp().double().numpy()
    np.testing.assert_allclose(share[:, :-1].sum(2), 1, atol=1e-3)
    np.testing.assert_allclose(share[:, :, :-1].sum(1), 1, atol=1e-4)
    np.testing.assert_allclose(share[:, -1].sum(1), num1, rtol=1e-3)
    np.testing.assert_allclose(share[:, :, -1].sum(1), num0, rtol=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7), st.sampled_from([0.0, 0.2, 0.9]))
def test_mutual_matches_are_best_both_ways_and_likely(seed, num0, num1, threshold):
    likelihood = np.random.default_rng(seed).random((2, num0 + 1, num1 + 1)).astype(np.float32)
    found = mutual_matches(torch.from_numpy(likelihood).log(), threshold)
    for (matches, confidence), whole in zip(found, likelihood, strict=True):
        inner = whole[:-1, :-1]
        expected = [
            (i, j)
            for i in range(num0)
            for j in range(num1)
            if inner[i, j] == inner[i].max() == inner[:, j].max() and inner[i, j] > threshold
        ]
        assert [tuple(row) for row in matches] == expected
        assert matches.dtype == np.int32
        assert confidence.dtype == np.float32
        np.testing.assert_allclose(confidence, [inner[place] for place in expected], rtol=1e-5)


# --- the network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_planted_matches_are_found_and_no_others(matcher, precision):
    features0, features1, common = planted(0)
    ((matches, confidence),) = match(matcher, (features0, features1), precision=precision)
    assert (matches[:, 0] == common[matches[:, 1].clip(max=len(common) - 1)]).all()
    assert len(matches) >= 38
    assert (confidence > 0.2).all()


def test_order_of_keypoints_changes_no_match(matcher):
    features0, features1, _ = planted(1)
    rng = np.random.default_rng(5)
    order0, order1 = rng.permutation(60), rng.permutation(50)
    ((expected, confidence),) = match(matcher, (features0, features1))
    ((found, other_confidence),) = match(matcher, (reordered(features0, order0), reordered(features1, order1)))
    assert (np.diff(found[:, 0]) > 0).all()
    back = np.column_stack([order0[found[:, 0]], order1[found[:, 1]]])
    order = np.argsort(back[:, 0])
    np.testing.assert_array_equal(back[order], expected)
    np.testing.assert_allclose(other_confidence[order], confidence, atol=1e-5)


def test_images_changed_about_give_the_same_matches(matcher):
    features0, features1, _ = planted(2)
    ((expected, _),) = match(matcher, (features0, features1))
    ((found, _),) = match(matcher, (features1, features0))
    assert {(j, i) for i, j in found.tolist()} == {(i, j) for i, j in expected.tolist()}


def test_batch_gives_what_each_pair_gives(matcher):
    pairs = [planted(seed)[:2] for seed in range(3)]
    for (matches, confidence), pair in zip(match(matcher, *pairs), pairs, strict=True):
        ((alone, alone_confidence),) = match(matcher, pair)
        np.testing.assert_array_equal(matches, alone)
        np.testing.assert_allclose(confidence, alone_confidence, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_assignment_of_a_batch_with_unequal_numbers_of_keypoints_is_that_of_each_pair(matcher, precision, tolerance):
    sizes = ((60, 50), (43, 70), (1, 9))
    pairs = [planted(seed, *counts, num_common=min(*counts, 40))[:2] for seed, counts in enumerate(sizes)]
    with running(InferenceConfig(precision=precision), CPU):
        together = matcher.log_assignment(pairs).exp()
        for found, pair in zip(together, pairs, strict=True):
            (alone,) = matcher.log_assignment([pair]).exp()
            num0, num1 = (len(item.keypoints) for item in pair)
            real = found[[*range(num0), -1]][:, [*range(num1), -1]]
            assert (real - alone).abs().max() < tolerance
            assert found[num0:-1].count_nonzero() == found[:, num1:-1].count_nonzero() == 0


def test_keypoint_inputs_are_centred_on_the_image_in_units_of_its_longer_side():
    keypoints = np.array([[320, 240], [320 + 448, 240 - 448]], np.float32)
    features = Features(keypoints, np.empty((2, 256)), np.array([0.25, 0.5], np.float32), SIZE)
    np.testing.assert_allclose(keypoint_inputs(features), [[0, 0, 0.25], [1, -1, 0.5]], atol=1e-6)


@pytest.mark.parametrize("lacking", [{"scores": None}, {"image_size": None}])
def test_features_of_another_extractor_are_refused(lacking):
    whole = {"scores": np.zeros(2, np.float32), "image_size": SIZE} | lacking
    with pytest.raises(ShapeError, match="SuperGlue must have scores and say the size"):
        keypoint_inputs(Features(np.zeros((2, 2), np.float32), np.zeros((2, 256)), **whole))

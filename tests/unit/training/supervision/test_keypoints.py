"""Which keypoints match, against loops over all pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.geometry.homography import apply_homography
from gim.records import Features
from gim.training.batches import FeatureBatch
from gim.training.models._assignment_batch import feature_batch
from gim.training.samples import DepthView, FeatureSample, Homography, Labels, Posed, Truth
from gim.training.supervision.keypoints import NO_MATCH, Thresholds, keypoint_truth, mutual_nearest

SIZE = (60, 40)
THRESHOLDS = Thresholds(positive_px=3.0, negative_px=5.0, epipolar_px=5.0, label_radius_px=4.0)


def batch_of(
    keypoints0: np.ndarray, keypoints1: np.ndarray, truth: Truth, num_labels: int = 0, padding: int = 0
) -> FeatureBatch:
    """One pair; with `padding` a second one of so many keypoints, to which the first is padded."""
    sides = [
        Features(np.asarray(keypoints, np.float32), np.ones((len(keypoints), 1), np.float32), None, SIZE)
        for keypoints in (keypoints0, keypoints1)
    ]
    more = Features(np.zeros((padding, 2), np.float32), np.ones((padding, 1), np.float32), None, SIZE)
    samples = [FeatureSample("a/0", "a", sides[0], sides[1], truth, num_labels)]
    return feature_batch([*samples, FeatureSample("a/1", "a", more, more, truth)] if padding else samples)


def random_places(rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.uniform((-0.5, -0.5), (SIZE[0] - 0.5, SIZE[1] - 0.5), (num, 2)).astype(np.float32)


def expected(
    moved0: np.ndarray,
    moved1: np.ndarray,
    seen: tuple[np.ndarray, np.ndarray],
    keypoints0: np.ndarray,
    keypoints1: np.ndarray,
) -> tuple[list[int], list[bool], list[bool]]:
    """By loops: matches of image 0, and who is farther than the threshold from all, where all is known."""
    M, N = len(keypoints0), len(keypoints1)
    error = np.full((M, N), np.inf)
    for i in range(M):
        for j in range(N):
            if seen[0][i] and seen[1][j]:
                there = np.linalg.norm(moved0[i] - keypoints1[j])
                error[i, j] = max(there, np.linalg.norm(moved1[j] - keypoints0[i]))
    matches = []
    for i in range(M):
        j = int(error[i].argmin())
        is_match = error[i, j] < THRESHOLDS.positive_px and int(error[:, j].argmin()) == i
        matches.append(j if is_match else NO_MATCH)
    far0 = [
        not seen[0][i] or all(np.linalg.norm(moved0[i] - keypoints1[j]) > THRESHOLDS.negative_px for j in range(N))
        for i in range(M)
    ]
    far1 = [
        not seen[1][j] or all(np.linalg.norm(moved1[j] - keypoints0[i]) > THRESHOLDS.negative_px for i in range(M))
        for j in range(N)
    ]
    return matches, far0, far1


def inside(positions: np.ndarray) -> np.ndarray:
    return ((positions >= -0.5) & (positions < (SIZE[0] - 0.5, SIZE[1] - 0.5))).all(1)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), num0=st.integers(1, 25), num1=st.integers(1, 25), padding=st.sampled_from([0, 30])
)
def test_homographies_match_what_loops_match(seed: int, num0: int, num1: int, padding: int) -> None:
    rng = np.random.default_rng(seed)
    H01 = np.array([[1.1, 0.1, rng.uniform(-15, 15)], [-0.2, 0.9, rng.uniform(-9, 9)], [1e-3, -1e-3, 1]])
    keypoints0, keypoints1 = random_places(rng, num0), random_places(rng, num1)
    near = rng.permutation(num1)[: num0 // 2]
    keypoints1[near] = apply_homography(keypoints0[: len(near)], H01) + rng.normal(0, 2, (len(near), 2))
    keypoints1[~inside(keypoints1)] = 0
    found = keypoint_truth(batch_of(keypoints0, keypoints1, Homography(H01), padding=padding), THRESHOLDS)
    moved0, moved1 = apply_homography(keypoints0, H01), apply_homography(keypoints1, np.linalg.inv(H01))
    matches, far0, far1 = expected(moved0, moved1, (inside(moved0), inside(moved1)), keypoints0, keypoints1)
    assert found.matches0[0, :num0].tolist() == matches
    assert found.is_unmatched0[0, :num0].tolist() == far0
    assert found.is_unmatched1[0, :num1].tolist() == far1
    if padding:
        assert (found.matches0[0, num0:] == NO_MATCH).all()
        assert not found.is_unmatched0[0, num0:].any()
        assert not found.is_unmatched1[0, num1:].any()


def test_between_both_thresholds_nothing_is_said() -> None:
    keypoints0 = np.array([[10.0, 10], [30, 10], [50, 10]])
    keypoints1 = keypoints0 + np.array([[0, 2.9], [0, 3.1], [0, 5.1]])
    found = keypoint_truth(batch_of(keypoints0, keypoints1, Homography(np.eye(3))), THRESHOLDS)
    assert found.matches0.tolist() == [[0, NO_MATCH, NO_MATCH]]
    assert found.is_unmatched0.tolist() == found.is_unmatched1.tolist() == [[False, False, True]]


def test_who_comes_second_to_a_match_is_neither_matched_nor_unmatched() -> None:
    found = keypoint_truth(
        batch_of(np.array([[10.0, 10], [12, 10]]), np.array([[10.5, 10]]), Homography(np.eye(3))), THRESHOLDS
    )
    assert found.matches0.tolist() == [[0, NO_MATCH]]
    assert found.is_unmatched0.tolist() == [[False, False]]


# --- posed ------------------------------------------------------------------------------------------------------------

K = np.array([[50.0, 0, 29.5], [0, 50, 19.5], [0, 0, 1]])


def wall(*, unknown: slice | None = None) -> Posed:
    """A wall 5 units off, seen by two cameras half a unit apart: pixels move by 5 to the left."""
    T = np.eye(4)
    T[0, 3] = -0.5
    depths = [np.full((SIZE[1], SIZE[0]), 5.0, np.float32) for _ in range(2)]
    if unknown is not None:
        depths[0][:, unknown] = depths[1][:, unknown] = 0
    return Posed(*(DepthView(depth, K, np.eye(3)) for depth in depths), T)


def test_posed_keypoints_match_where_depth_says_so() -> None:
    keypoints0 = np.array([[30.0, 10], [40, 20], [2, 5], [50, 30]])
    keypoints1 = keypoints0 + (-5, 0) + [[0, 0], [2, 0], [60, 0], [0, 7]]
    keypoints1[2] = (30, 35)
    found = keypoint_truth(batch_of(keypoints0, keypoints1, wall()), THRESHOLDS)
    assert found.matches0.tolist() == [[0, 1, NO_MATCH, NO_MATCH]]
    assert found.is_unmatched0.tolist() == [[False, False, True, True]]  # the third leaves the image
    assert found.is_unmatched1.tolist() == [[False, False, True, True]]


def test_without_depth_the_epipolar_line_says_who_has_no_match() -> None:
    posed = wall(unknown=slice(0, 30))
    keypoints0 = np.array([[20.0, 10], [20, 30], [15, 20]])  # all where depth is not known
    keypoints1 = np.array([[45.0, 14.5], [40, 38]])  # known; on no one's place
    found = keypoint_truth(batch_of(keypoints0, keypoints1, posed), THRESHOLDS)
    assert (found.matches0 == NO_MATCH).all()
    # Lines are rows here: 14.5 is 4.5 from the first's and 5.5 from the third's; 38 is 8 from the second's.
    assert found.is_unmatched0.tolist() == [[False, True, True]]
    turned = posed.warped(np.array([[0.0, -1, 39], [1, 0, 0], [0, 0, 1]]), np.eye(3))
    quarter = np.column_stack([39 - keypoints0[:, 1], keypoints0[:, 0]])
    found = keypoint_truth(batch_of(quarter, keypoints1, turned), THRESHOLDS)
    assert found.is_unmatched0.tolist() == [[False, True, True]]


def test_cameras_in_one_place_say_nothing_of_pixels_without_depth() -> None:
    posed = wall(unknown=slice(0, 60))
    still = Posed(posed.view0, posed.view1, np.eye(4))
    found = keypoint_truth(batch_of(np.array([[20.0, 10]]), np.array([[40.0, 30]]), still), THRESHOLDS)
    assert not found.is_unmatched0.any()


# --- labels -----------------------------------------------------------------------------------------------------------


def test_keypoints_at_labels_match_by_number_and_of_others_nothing_is_said() -> None:
    places = random_places(np.random.default_rng(0), 7)
    labels = Labels(np.hstack([places, places]).astype(np.float32))
    found = keypoint_truth(batch_of(places, places, labels, num_labels=4), THRESHOLDS)
    assert found.matches0.tolist() == [[0, 1, 2, 3, NO_MATCH, NO_MATCH, NO_MATCH]]
    assert not found.is_unmatched0.any()
    assert not found.is_unmatched1.any()


def expected_of_labels(keypoints0: np.ndarray, keypoints1: np.ndarray, labels: np.ndarray) -> list[int]:
    """By loops: the offset from the nearest label, turned and scaled as the 8 labels nearest to that are."""
    radius, error = THRESHOLDS.label_radius_px, np.full((len(keypoints0), len(keypoints1)), np.inf)
    here, there = labels[:, :2] @ (1, 1j), labels[:, 2:] @ (1, 1j)
    for i, keypoint in enumerate(keypoints0 @ (1, 1j)):
        nearest = abs(here - keypoint).argmin()
        if abs(here[nearest] - keypoint) > radius:
            continue
        around = sorted((k for k in range(len(labels)) if k != nearest), key=lambda k: abs(here[k] - here[nearest]))[:8]
        spread0, spread1 = here[around] - here[nearest], there[around] - there[nearest]
        turn = np.vdot(spread0, spread1) / np.vdot(spread0, spread0) if around else 1
        for j, other in enumerate(keypoints1 @ (1, 1j)):
            error[i, j] = abs(there[nearest] + turn * (keypoint - here[nearest]) - other)
    matches = []
    for i in range(len(keypoints0)):
        j = int(error[i].argmin())
        matches.append(j if error[i, j] < radius and int(error[:, j].argmin()) == i else NO_MATCH)
    return matches


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_labels=st.integers(0, 30), padding=st.sampled_from([0, 30]))
def test_detected_keypoints_move_with_their_label_as_in_loops(seed: int, num_labels: int, padding: int) -> None:
    rng = np.random.default_rng(seed)
    turn = 1.2 * np.exp(1j * rng.uniform(-np.pi, np.pi))
    A = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    places = random_places(rng, num_labels)
    labels = np.hstack([places, (places - 20) @ A.T + 20 + rng.normal(0, 0.3, places.shape)]).astype(np.float32)
    keypoints0, keypoints1 = random_places(rng, 20), random_places(rng, 24)
    keypoints1[:18] = (keypoints0[:18] - 20) @ A.T + 20 + rng.normal(0, 1, (18, 2))
    found = keypoint_truth(batch_of(keypoints0, keypoints1, Labels(labels), padding=padding), THRESHOLDS)
    wanted = expected_of_labels(keypoints0, keypoints1, labels) if num_labels else [NO_MATCH] * 20
    assert found.matches0[0, :20].tolist() == wanted
    assert (found.matches0[0, 20:] == NO_MATCH).all()
    assert not found.is_unmatched0.any()


def test_a_sample_on_its_head_turns_the_offset_from_a_label() -> None:
    places = random_places(np.random.default_rng(1), 12)
    labels = Labels(np.hstack([places, (59, 39) - places]).astype(np.float32))
    keypoints0 = places + np.array([2.5, 1.0])
    found = keypoint_truth(batch_of(keypoints0, (59, 39) - keypoints0, labels), THRESHOLDS)
    matched = found.matches0[0].numpy()
    assert (matched >= 0).sum() >= 10
    assert all(row == column for row, column in enumerate(matched) if column >= 0)


def test_mutual_nearest_of_nothing_near_is_none() -> None:
    assert mutual_nearest(torch.full((1, 2, 3), torch.inf), 3.0).tolist() == [[NO_MATCH, NO_MATCH]]
    assert mutual_nearest(torch.tensor([[[3.0, 9.0]]]), 3.0).tolist() == [[NO_MATCH]]


@pytest.mark.parametrize("far", [np.inf, np.nan, 1e30])
def test_positions_that_are_no_numbers_match_nothing(far: float) -> None:
    from gim.training.supervision.labels import pixel_distances

    found = pixel_distances(torch.tensor([[[far, 5.0], [4.0, 5.0]]]), torch.tensor([[[1000.0, 5.0]]]))
    assert found.isfinite().all()
    assert found[0, 1, 0] == 996

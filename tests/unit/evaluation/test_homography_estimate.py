"""Homographies from correspondences: exact ones lead to the truth, noise away from it, nonsense nowhere."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.homography_pairs import PlanePair
from gim.errors import ConfigError
from gim.evaluation.homography import HomographyEstimate, corner_error_px, estimate_homography, pixel_size
from gim.evaluation.homography_protocols import PROTOCOLS, HomographyProtocol, homography_protocol_named
from gim.geometry.homography import apply_homography
from gim.records import Float32Array, Float64Array

H01 = np.array([[0.9, 0.1, 20.0], [-0.05, 1.1, 5.0], [1e-4, -5e-5, 1.0]])
SIZE0, SIZE1 = (640, 480), (800, 600)
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.id)


def pair_of(H: Float64Array = H01, size1: tuple[int, int] = SIZE1) -> PlanePair:
    return PlanePair("0", "1", H, SIZE0, size1, "")


def matches(num: int, *, noise_px: float = 0.0, num_wrong: int = 0, seed: int = 0) -> Float32Array:
    rng = np.random.default_rng(seed)
    points0 = rng.uniform((0, 0), (SIZE0[0] - 1, SIZE0[1] - 1), (num, 2))
    points1 = apply_homography(points0, H01) + rng.normal(0, noise_px, (num, 2))
    points1[:num_wrong] = rng.uniform((0, 0), SIZE1, (num_wrong, 2))
    return np.hstack([points0, points1]).astype(np.float32)


def error_of(points: Float32Array, protocol: HomographyProtocol, pair: PlanePair | None = None) -> float:
    pair = pair or pair_of()
    return corner_error_px(estimate_homography(points, protocol, pixel=pixel_size(pair, protocol)), pair, protocol)


@each_protocol
def test_exact_correspondences_lead_to_the_truth(protocol: HomographyProtocol) -> None:
    assert error_of(matches(100), protocol) < 1e-3
    assert error_of(matches(100, num_wrong=60), protocol) < 1e-2
    estimate = estimate_homography(matches(100, num_wrong=60), protocol)
    assert estimate is not None
    assert np.count_nonzero(estimate.inliers[60:]) == 40
    assert np.count_nonzero(estimate.inliers[:60]) < 5


@each_protocol
def test_the_error_grows_with_noise(protocol: HomographyProtocol) -> None:
    errors = [
        np.mean([error_of(matches(60, noise_px=sigma, seed=seed), protocol) for seed in range(8)])
        for sigma in (0.0, 0.3, 1.0)
    ]
    assert errors[0] < 1e-3
    assert 0.02 < errors[1] < errors[2] < 5


@each_protocol
def test_nonsense_leads_nowhere(protocol: HomographyProtocol) -> None:
    wrong = matches(60, num_wrong=60)
    assert error_of(wrong, protocol) > 10


@each_protocol
def test_without_a_plane_there_is_no_estimate(protocol: HomographyProtocol) -> None:
    assert estimate_homography(matches(3), protocol) is None
    assert estimate_homography(matches(0), protocol) is None
    on_a_line = matches(30)
    on_a_line[:, 1] = 0.5 * on_a_line[:, 0]
    on_a_line[:, 2:] = apply_homography(on_a_line[:, :2], H01)
    in_one_place = np.tile(np.float32([[50, 50, 60, 50]]), (20, 1))
    for points in (in_one_place, np.float32(on_a_line)):
        assert error_of(points, protocol) > 10
    assert corner_error_px(None, pair_of(), protocol) == np.inf


@given(
    entries=st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=6),
    tilt=st.tuples(st.floats(-2e-4, 2e-4), st.floats(-2e-4, 2e-4)),
)
def test_the_error_is_the_mean_of_four_corners(entries: list[float], tilt: tuple[float, float]) -> None:
    protocol = PROTOCOLS[0]
    H = np.vstack([np.eye(3)[:2] + np.reshape(entries, (2, 3)), [*tilt, 1.0]])
    distances = []
    for x in (0, SIZE0[0] - 1):
        for y in (0, SIZE0[1] - 1):
            both = [matrix @ [x, y, 1] for matrix in (H, H01)]
            distances.append(np.hypot(*(both[0][:2] / both[0][2] - both[1][:2] / both[1][2])))
    found = corner_error_px(HomographyEstimate(H, np.ones(4, bool)), pair_of(), protocol)
    assert found == pytest.approx(np.mean(distances) / (600 / 480), rel=1e-9)


@each_protocol
def test_a_pixel_is_that_of_the_shorter_side_whatever_the_size(protocol: HomographyProtocol) -> None:
    """Image 1 three times as large, with matches as much further apart, is the same pair."""
    points = matches(80, noise_px=0.5, num_wrong=20)
    large = np.diag([3.0, 3.0, 1.0]) @ H01
    enlarged = points * np.float32([1, 1, 3, 3])
    found = error_of(enlarged, protocol, pair_of(large, (3 * SIZE1[0], 3 * SIZE1[1])))
    assert found == pytest.approx(error_of(points, protocol), rel=0.05)
    as_given = replace(protocol, shortest_side=None)
    assert pixel_size(pair_of(), as_given) == 1
    assert pixel_size(pair_of(), protocol) == 600 / 480


def test_a_seed_decides_alone() -> None:
    strict = homography_protocol_named("strict")
    points = matches(40, noise_px=1.0, num_wrong=25)
    runs = [estimate_homography(points, strict, seed=seed) for seed in (0, 0)]
    assert runs[0] is not None
    assert runs[1] is not None
    np.testing.assert_array_equal(runs[0].H01, runs[1].H01)
    assert strict.is_fixed_length
    assert len(strict.seeds) == 3


def test_a_misspelt_protocol_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"no protocol of homographies 'stric' \(did you mean strict\?\): gim, strict"
    ):
        homography_protocol_named("stric")

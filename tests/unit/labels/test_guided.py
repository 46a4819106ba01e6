"""Guided re-matching against one keypoint at a time, and what its parts promise."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.geometry.epipolar import cross_product_matrix
from gim.labels.config import GuidedConfig
from gim.labels.guided import predict_positions, rematch_guided
from tests.unit.labels import reference
from tests.unit.labels.reference import rows_of

CONFIG = GuidedConfig(window_px=12.0, line_px=1.5, ratio=0.85, max_distance=0.8, neighbours=4, support_px=70.0)


@dataclass
class Scene:
    """Two frames of a scene: links, free keypoints with their descriptors' distances, and the true geometry."""

    links: np.ndarray
    F01: np.ndarray
    keypoints0: np.ndarray
    keypoints1: np.ndarray
    distances: np.ndarray  # [N, M]

    @classmethod
    def random(cls, seed: int, *, num_links: int = 12, num_free: int = 25, steps: int = 0) -> "Scene":
        """Points that slide towards an epipole by their own parallax; `steps` makes descriptor distances tie."""
        rng = np.random.default_rng(seed)
        epipole = np.append(rng.uniform(-400, 700, 2), 1.0)
        H = np.eye(3) + rng.normal(0, 1, (3, 3)) * [[0.02, 0.02, 5], [0.02, 0.02, 5], [1e-5, 1e-5, 0]]
        F01 = cross_product_matrix(epipole) @ H

        def second(points0: np.ndarray) -> np.ndarray:
            moved = np.column_stack([points0, np.ones(len(points0))]) @ H.T
            moved = moved[:, :2] / moved[:, 2:]
            towards = epipole[:2] - moved
            return moved + rng.uniform(0, 0.03, (len(points0), 1)) * towards + rng.normal(0, 0.4, moved.shape)

        linked0, free0 = rng.uniform(0, 300, (num_links, 2)), rng.uniform(0, 300, (num_free, 2))
        linked1, free1 = second(linked0), second(free0)
        extra1 = free1[: num_free // 2] + rng.normal(0, 3, (num_free // 2, 2))  # rivals close by
        # Keypoints that are linked already are there too, and twins with another orientation.
        keypoints0 = np.vstack([linked0, free0, free0[:5]]).astype(np.float32)
        keypoints1 = np.vstack([linked1, free1, extra1, free1[:5]]).astype(np.float32)
        links = np.hstack([linked0, linked1]).astype(np.float32)
        distances = rng.uniform(0.5, 1.2, (len(keypoints0), len(keypoints1)))
        own = np.arange(num_free)
        distances[num_links + own, num_links + own] = rng.uniform(0.1, 0.7, num_free)
        if steps:
            distances = np.round(distances * steps) / steps
        return cls(links, F01, keypoints0, keypoints1, distances.astype(np.float32))

    def distance(self, candidates: np.ndarray) -> np.ndarray:
        return self.distances[candidates[:, 0], candidates[:, 1]]

    def rematch(self, config: GuidedConfig = CONFIG) -> np.ndarray:
        return rematch_guided(self.links, self.F01, self.keypoints0, self.keypoints1, self.distance, config)


@given(
    seed=st.integers(0, 2**32),
    num_links=st.integers(0, 25),
    num_free=st.integers(0, 40),
    steps=st.sampled_from([0, 5, 20]),
)
@settings(max_examples=60)
def test_rematching_equals_the_reference(seed: int, num_links: int, num_free: int, steps: int) -> None:
    scene = Scene.random(seed, num_links=num_links, num_free=num_free, steps=steps)
    expected = reference.rematch(
        rows_of(scene.links),
        scene.F01,
        rows_of(scene.keypoints0),
        rows_of(scene.keypoints1),
        lambda i, j: float(scene.distances[i, j]),
        CONFIG,
    )
    found = scene.rematch()
    assert set(rows_of(found)) == expected
    assert len(found) == len(expected)


def test_rematching_finds_most_of_what_is_there_and_nothing_taken() -> None:
    found = sum(len(Scene.random(seed, num_links=40).rematch()) for seed in range(10))
    assert found > 100  # of 250: the comparison above does not compare nothing with nothing
    for seed in range(10):
        scene = Scene.random(seed)
        rows = scene.rematch()
        assert len({row[:2] for row in rows_of(rows)}) == len({row[2:] for row in rows_of(rows)}) == len(rows)
        assert not {row[:2] for row in rows_of(rows)} & {row[:2] for row in rows_of(scene.links)}
        gaps = [reference.nearest(row[2:], rows_of(scene.links[:, 2:])) for row in rows_of(rows)]
        assert min(gaps, default=2.0) >= 1.5
        order = [rows_of(scene.keypoints0).index(row[:2]) for row in rows_of(rows)]
        assert order == sorted(order)


def test_rematching_asks_for_each_candidate_once_and_for_no_linked_keypoint() -> None:
    scene = Scene.random(3, num_links=20)
    asked: list[tuple[int, int]] = []

    def distance(candidates: np.ndarray) -> np.ndarray:
        assert candidates.dtype == np.int32
        asked.extend((int(i), int(j)) for i, j in candidates)
        return scene.distance(candidates)

    rematch_guided(scene.links, scene.F01, scene.keypoints0, scene.keypoints1, distance, CONFIG)
    assert asked
    assert len(set(asked)) == len(asked)
    assert all(i >= 20 and j >= 20 for i, j in asked)


@pytest.mark.parametrize(("num_links", "num_free"), [(0, 0), (0, 9), (3, 9), (12, 0)])
def test_too_few_links_or_no_free_keypoint_give_nothing(num_links: int, num_free: int) -> None:
    found = Scene.random(1, num_links=num_links, num_free=num_free).rematch()
    assert (found.shape, found.dtype) == ((0, 4), np.float32)


def test_a_frame_without_keypoints_gives_nothing() -> None:
    scene = Scene.random(1)
    scene.keypoints1 = np.empty((0, 2), np.float32)
    assert scene.rematch().shape == (0, 4)


def test_one_neighbour_is_enough_where_the_settings_say_so() -> None:
    config = GuidedConfig(neighbours=1, support_px=1000.0)
    links = np.array([[10, 10, 14, 11], [90, 90, 80, 95]], np.float32)
    predicted, supported = predict_positions(links, np.array([[12, 12], [91, 80]], np.float32), config)
    np.testing.assert_allclose(predicted, [[16, 13], [81, 85]])
    assert supported.all()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_prediction_is_exact_where_all_links_move_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 200, (12, 2)).astype(np.float32)
    move = np.array([3.5, -2.25], np.float32)
    points0 = rng.uniform(0, 200, (7, 2)).astype(np.float32)
    predicted, _ = predict_positions(np.hstack([start, start + move]), points0, GuidedConfig())
    np.testing.assert_allclose(predicted, points0 + move, atol=1e-3)


def test_a_prediction_needs_its_third_nearest_link_near() -> None:
    links = np.array([[0, 0, 0, 0], [10, 0, 10, 0], [50, 0, 50, 0], [400, 0, 400, 0]], np.float32)
    config = GuidedConfig(neighbours=4, support_px=45.0)
    _, supported = predict_positions(links, np.array([[6, 0], [4, 0], [399, 0]], np.float32), config)
    assert supported.tolist() == [True, False, False]  # the third is 44, 46 and 389 px away

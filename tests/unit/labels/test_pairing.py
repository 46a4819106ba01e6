"""Base labels: which pairs a segment owns, and what makes a label; fusing those of several matchers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.labels.config import PairingConfig
from gim.labels.fusion import fuse_labels
from gim.labels.linking import one_to_one
from gim.labels.pairing import LABELLED, NO_FIT, TOO_FEW_INLIERS, TOO_FEW_MATCHES, base_pairs, label_pair
from gim.records import Correspondences, FrameManifest, Segment, Shot
from tests.synthetic import random_tracks


def manifest_of(shot_lengths: list[int], segment_samples: int, rejected: set[int]) -> FrameManifest:
    shots, segments, first = [], [], 0
    for index, length in enumerate(shot_lengths):
        shots.append(
            Shot(index, first, first + length - 1, 0.0, 0.0, first, length, "blank" if index in rejected else "")
        )
        for start in range(0, length if index not in rejected else 0, segment_samples):
            segments.append(Segment(len(segments), index, first + start, min(segment_samples, length - start)))
        first += length
    frames = list(range(first))
    return FrameManifest(
        "file-0123456789abcdef", "s", 64, 48, 1.0, first, float(first), 1.0, frames, [float(f) for f in frames],
        shots, segments,
    )  # fmt: skip


@given(
    shot_lengths=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    segment_samples=st.integers(1, 40),
    intervals=st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True).map(sorted),
    rejected=st.sets(st.integers(0, 4)),
)
@settings(max_examples=60)
def test_every_pair_of_a_used_shot_belongs_to_exactly_one_segment(
    shot_lengths: list[int], segment_samples: int, intervals: list[int], rejected: set[int]
) -> None:
    manifest = manifest_of(shot_lengths, segment_samples, rejected)
    owned = [pair for segment in manifest.segments for pair in base_pairs(manifest, segment, tuple(intervals))]
    expected = [
        (shot.first_sample + start, shot.first_sample + start + interval)
        for shot in manifest.shots
        if not shot.rejected
        for start in range(shot.num_samples)
        for interval in intervals
        if start + interval < shot.num_samples
    ]
    assert owned == sorted(owned)
    assert owned == sorted(expected)


def matches(seed: int = 0, *, outlier_share: float = 0.2, num_points: int = 600) -> Correspondences:
    tracks = random_tracks(seed, num_points=num_points, num_frames=3, noise_px=0.1, outlier_share=outlier_share)
    points = tracks.correspondences(0, 2).astype(np.float32)
    return Correspondences(points, np.linspace(0, 1, len(points), dtype=np.float32))


def test_a_label_is_the_inliers_with_their_confidence_in_order() -> None:
    found = matches()
    label = label_pair(found, PairingConfig(), seed=3)
    assert (label.outcome, label.num_matches) == (LABELLED, len(found.points))
    assert 0.4 * len(found.points) < len(label.points) < 0.9 * len(found.points)
    rows = [found.points.tolist().index(row) for row in label.points.tolist()]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(label.confidence, found.confidence[rows])


def test_a_label_that_is_none_says_why() -> None:
    found = matches()
    few = Correspondences(found.points[:15], found.confidence[:15])
    nowhere = Correspondences(np.tile(np.float32([5, 5, 9, 9]), (40, 1)), np.ones(40, np.float32))
    noise = np.random.default_rng(0).uniform(0, 600, (400, 4)).astype(np.float32)
    cases = {
        TOO_FEW_MATCHES: (few, PairingConfig()),
        NO_FIT: (nowhere, PairingConfig()),
        TOO_FEW_INLIERS: (Correspondences(noise, noise[:, 0]), PairingConfig(min_inliers=100)),
    }
    for outcome, (correspondences, config) in cases.items():
        label = label_pair(correspondences, config, seed=0)
        assert (label.outcome, label.num_matches) == (outcome, len(correspondences.points))
        assert (label.points.shape, label.confidence.shape) == ((0, 4), (0,))
        assert label.points.dtype == np.float32


def test_no_match_at_all_is_too_few() -> None:
    none = Correspondences(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    for drop_static in (False, True):
        label = label_pair(none, PairingConfig(drop_static_points=drop_static), seed=0)
        assert (label.outcome, label.num_matches) == (TOO_FEW_MATCHES, 0)


@pytest.mark.parametrize(("move", "stays"), [((0.99, 0.99), False), ((1.0, 0.0), True), ((0.0, -1.0), True)])
def test_static_points_move_less_than_a_pixel_both_ways(move: tuple[float, float], stays: bool) -> None:
    found = matches()
    still = np.array([[100, 50, 100 + move[0], 50 + move[1]]], np.float32)
    more = Correspondences(np.vstack([found.points, still]), np.r_[found.confidence, np.float32(1)])
    moving = (np.abs(found.points[:, 2:] - found.points[:, :2]) >= 1).any(axis=1).sum()
    assert label_pair(more, PairingConfig(drop_static_points=True), seed=0).num_matches == moving + stays


def test_the_seed_is_all_the_chance_there_is() -> None:
    found = matches(outlier_share=0.4)
    one, again = (label_pair(found, PairingConfig(), seed=11) for _ in range(2))
    np.testing.assert_array_equal(one.points, again.points)


# --- fusion -----------------------------------------------------------------------------------------------------------

LABELS = st.lists(
    st.lists(st.tuples(*[st.sampled_from([-0.0, 0.0, 1.0, 2.5])] * 4), max_size=8).map(
        lambda rows: np.array(rows, np.float32).reshape(-1, 4)
    ),
    max_size=4,
)


@given(labels=LABELS)
def test_fusion_puts_earlier_matchers_first_and_loses_only_what_is_taken(labels: list[np.ndarray]) -> None:
    together = np.vstack([np.empty((0, 4), np.float32), *labels])
    np.testing.assert_array_equal(fuse_labels(labels, unique=False), together)
    unique = fuse_labels(labels, unique=True)
    np.testing.assert_array_equal(unique, together[one_to_one(together)])
    assert unique.dtype == np.float32
    if labels:
        own = labels[0][one_to_one(labels[0])]
        taken0, taken1 = ({tuple(row) for row in own[:, part].tolist()} for part in (slice(0, 2), slice(2, 4)))
        np.testing.assert_array_equal(unique[: len(own)], own)
        for row in unique[len(own) :].tolist():
            assert tuple(row[:2]) not in taken0
            assert tuple(row[2:]) not in taken1
